"""A workflow called inside a workflow: checked at the border, then inlined, or called as a body when it recurs on a future, or made a run of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from mwfs.binding import Mismatch, bind, holds_future
from mwfs.call_errors import arrange, wrong_argument
from mwfs.errors import CompileError
from mwfs.futures import Future
from mwfs.graph import PARAMETER, Graph, active_graph
from mwfs.inputs import opened
from mwfs.structure.control import Construct
from mwfs.structure.scopes import body_proto
from mwfs_api.dags.v1 import dag_pb2
from mwfs_types.values import BadValue, decode

if TYPE_CHECKING:
    from mwfs.signatures import Signature
    from mwfs.workflows import Workflow

P = ParamSpec("P")
R = TypeVar("R")


class _Called:
    """A workflow as `call_errors` words the mistakes of its callers."""

    what = "workflow"

    def __init__(self, workflow: Workflow[..., Any]) -> None:
        self.operator = workflow
        self.name = workflow.__name__
        self.signature: Signature = workflow.signature
        self.positional = self.signature.positional


def call_inside(workflow: Workflow[..., Any], graph: Graph, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """One call of a workflow while another is compiled into `graph`. Raises CompileError at the caller's line."""
    checked = _arguments(workflow, graph, args, kwargs)
    recurs = any(one is workflow and place is not graph for one, place in graph.running)
    if recurs and any(holds_future(value) for value in checked):
        return _call_body(workflow, graph, checked)
    return _run(workflow, graph, dict(zip((p.name for p in workflow.parameters), checked, strict=True)))


def child(workflow: Workflow[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Calls a workflow as a run of its own: `mwfs.child(train, data, depth=3)`, with its own id, history and retries. Its result is the call's.

    When the run around it is cancelled, so is the child, and it is waited for. Outside of compiling it is a plain call.
    """
    graph = active_graph.get()
    if graph is None:
        return workflow(*args, **kwargs)
    from mwfs.workflows import Workflow

    use = Construct("child", graph)
    if not isinstance(workflow, Workflow):
        raise use.wrong(
            "a child run is of a workflow",
            argument=0,
            expected="a function under `@mwfs.workflow`",
            found=type(workflow).__qualname__,
            fix="put `@mwfs.workflow` above it, or call it",
        )
    if "<" in workflow.ref:
        raise use.wrong(
            f"workflow `{workflow.__name__}` cannot be a run of its own",
            argument=0,
            expected="a workflow at module level",
            found=f"`{workflow.qualname}`",
            fix="move it out of the function that it is defined in",
        )
    try:
        values = _arguments(workflow, graph, args, kwargs)
    except CompileError as error:
        error.site = use.site  # the arguments of the workflow come after the workflow
        raise
    return cast(R, _call_body(workflow, graph, values, use))


def _arguments(workflow: Workflow[..., Any], graph: Graph, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """Values for the parameters, checked. Raises CompileError."""
    called = _Called(workflow)
    checked: list[Any] = []
    for position, (value, parameter) in enumerate(
        zip(arrange(graph, called, args, kwargs), workflow.parameters, strict=True)
    ):
        try:
            checked.append(_checked(graph, value, parameter.annotation, graph.type_index(parameter.type)))
        except Mismatch as error:
            raise wrong_argument(graph, called, position, error, given=len(args), named=kwargs) from None
    return checked


def _checked(graph: Graph, value: Any, annotation: Any, target: int) -> Any:
    """The value as the body gets it: futures as they are, anything else as if it had been an input of a run. Raises Mismatch."""
    if holds_future(value):
        bind(graph, value, target)
        return value
    try:
        value = opened(value, annotation, lambda earlier, _: earlier)
        return decode(graph.encoders[target](value, graph.files), annotation, graph.files)
    except BadValue as error:
        raise Mismatch(expected=error.expected, found=error.found, path=error.path, fix=error.fix) from None
    except OSError as error:
        raise Mismatch(expected="a file that can be read", found=str(error)) from None


def _run(workflow: Workflow[..., Any], graph: Graph, arguments: dict[str, Any]) -> Any:
    from mwfs.results import checked_result

    graph.running.append((workflow, graph))
    try:
        return checked_result(workflow, graph, workflow.function(**arguments))
    finally:
        graph.running.pop()


def _call_body(
    workflow: Workflow[..., Any], graph: Graph, values: list[Any], child_use: Construct | None = None
) -> Any:
    """A node that calls the workflow's body, which may be one that is being compiled; as a run of its own when `mwfs.child` says so."""
    if workflow not in graph.called:
        _compile_workflow(workflow, graph)
    row, kind = graph.called[workflow]
    use = child_use or Construct(workflow.__name__, graph)
    arguments = [
        (parameter.name, value, graph.type_index(parameter.type))
        for parameter, value in zip(workflow.parameters, values, strict=True)
    ]
    if child_use is None:
        control = dag_pb2.Control(kind=dag_pb2.CONTROL_KIND_CALL, body=row + 1)
    else:
        control = dag_pb2.Control(
            kind=dag_pb2.CONTROL_KIND_CHILD, body=row + 1, name=workflow.ref, options=workflow.options
        )
    what = "call" if child_use is None else "child"
    result = use.record(f"{what}({workflow.__name__})", control, arguments, kind)
    record = workflow.signature.record
    if record is not None and issubclass(record, tuple):
        return record(*(getattr(result, output.name) for output in workflow.outputs))
    return result


def _compile_workflow(workflow: Workflow[..., Any], graph: Graph) -> None:
    kinds = [graph.type_index(parameter.type) for parameter in workflow.parameters]
    kind = graph.type_index(workflow.signature.return_type)
    row = len(graph.bodies)
    graph.bodies.append(dag_pb2.Body())
    graph.called[workflow] = row, kind
    words = f"an input of `{workflow.__name__}`"
    # A graph of its own: nothing around the first call is in reach of the others.
    body = graph.detached(kinds, words)
    futures = {
        parameter.name: Future(body, PARAMETER, index, 0, kinds[index])
        for index, parameter in enumerate(workflow.parameters)
    }
    token = active_graph.set(body)
    try:
        result = _run(workflow, body, futures)
        item = body.item_row(*bind(body, result, kind))
    finally:
        active_graph.reset(token)
    body.is_open = False
    graph.bodies[row].CopyFrom(body_proto(body, workflow.__name__, item, kind))
