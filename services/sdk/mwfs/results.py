"""What a workflow returns: bound to the outputs that it declares, or the error that says what it gave instead."""

from __future__ import annotations

import ast
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeAlias

from mwfs.binding import Mismatch, bind, describe_value
from mwfs.errors import CompileError, ForeignFuture, Site, WrongResult
from mwfs.futures import Future, RecordFuture
from mwfs.graph import CONSTANT, OUTPUT, Graph
from mwfs.locations import definition_node, site_at, site_of_definition, site_of_node
from mwfs.operators import Operator
from mwfs.signatures import Output
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2

if TYPE_CHECKING:
    from mwfs.workflows import Workflow

#: What has a body that calls operators, and declares what it gives: a workflow, or a dynamic operator.
Authored: TypeAlias = "Workflow[..., Any] | Operator[..., Any]"


def bind_outputs(workflow: Authored, graph: Graph, result: Any) -> list[dag_pb2.Output]:
    """One row of `items` for each declared output."""
    if not outputs_of(workflow):
        if result is not None:
            raise _wrong_result(
                workflow, graph, "None", _found(graph, result), "declare the result's type, or return nothing"
            )
        return []
    values = _fields_of(workflow, graph, result) if workflow.signature.record is not None else [result]
    outputs = []
    for output, value in zip(outputs_of(workflow), values, strict=True):
        target = graph.type_index(output.type)
        try:
            item = graph.item_row(*bind(graph, value, target))
        except Mismatch as error:
            where = f"output `{output.name}{error.path}` of {kind_of(workflow)} `{workflow.__name__}`"
            site = _return_site(workflow, graph)
            if error.foreign:
                raise ForeignFuture(
                    f"{where} is a future of another workflow",
                    site=site,
                    expected=error.expected,
                    found=error.found,
                    fix=f"return a future of an operator that this {kind_of(workflow)} calls",
                ) from None
            raise WrongResult(
                f"{where} has the wrong type" + (f": {error.reason}" if error.reason else ""),
                site=site,
                expected=error.expected,
                found=error.found,
                fix=error.fix
                or f"return a value of type {error.expected}, or change the declared type of `{output.name}`",
            ) from None
        outputs.append(dag_pb2.Output(name=output.name, type=target, item=item))
    return outputs


def locate_outputs(workflow: Authored, graph: Graph, outputs: list[dag_pb2.Output]) -> None:
    """Says of outputs that are computed where the body returned: should that fail, it is the user's line."""
    computed = [output for output in outputs if graph.items[0][output.item] not in (OUTPUT, CONSTANT)]
    site = _return_site(workflow, graph) if computed else None
    if site is not None:
        for output in computed:
            output.location = 1 + graph.locate(workflow.function.__code__.co_filename, site.line)


def checked_result(workflow: Workflow[..., Any], graph: Graph, result: Any) -> Any:
    """What a workflow inside a workflow gives, once it is what it declares. Raises WrongResult."""
    bind_outputs(workflow, graph, result)
    record = workflow.signature.record
    if record is None or isinstance(result, (record, Future)):
        return result
    return record(**result)


def kind_of(authored: Authored) -> str:
    return "dynamic operator" if isinstance(authored, Operator) else "workflow"


def outputs_of(workflow: Authored) -> tuple[Output, ...]:
    """Named outputs; a workflow that gives None has none."""
    if isinstance(workflow, Operator):
        return workflow.signature.outputs
    return () if workflow.signature.returns in (None, type(None)) else workflow.signature.outputs


def _fields_of(workflow: Authored, graph: Graph, result: Any) -> list[Any]:
    """The values of the declared fields: of an instance of the declared class, a dict with these keys, or a future of such a record."""
    record = workflow.signature.record
    assert record is not None
    names = [output.name for output in outputs_of(workflow)]
    if isinstance(result, dict):
        if set(result) == set(names):
            return [result[name] for name in names]
        found = f"a dict with {', '.join(f'`{name}`' for name in result) or 'nothing'}"
    elif isinstance(result, record) or _is_future_of(graph, result, workflow.signature.return_type):
        return [getattr(result, name) for name in names]
    else:
        found = _found(graph, result)
    raise _wrong_result(
        workflow,
        graph,
        f"{record.__qualname__}({', '.join(names)})",
        found,
        f"return `{record.__qualname__}({', '.join(f'{name}=…' for name in names)})`, or change the declared result",
    )


def _is_future_of(graph: Graph, result: Any, kind: types_pb2.Type) -> bool:
    return isinstance(result, Future) and result._graph is graph and graph.types[result._type] == kind


def _found(graph: Graph, result: Any) -> str:
    if isinstance(result, RecordFuture):
        names = ", ".join(result._row.output_index)
        return f"{result._graph.describe_future(result)} with {names}"
    if isinstance(result, Future):
        return result._graph.describe_future(result)
    fields = getattr(result, "_fields", None) or getattr(result, "__dataclass_fields__", None)
    if fields:
        return f"{type(result).__qualname__}({', '.join(fields)})"
    return describe_value(result)


def _wrong_result(workflow: Authored, graph: Graph, expected: str, found: str, fix: str) -> CompileError:
    return WrongResult(
        f"{kind_of(workflow)} `{workflow.__name__}` does not return what it declares",
        site=_return_site(workflow, graph),
        expected=expected,
        found=found,
        fix=fix,
    )


def _return_site(workflow: Authored, graph: Graph) -> Site | None:
    """What the `return` that the body ended with gives; the last one in the source, when no operator was called and so no frame was seen."""
    frame: FrameType | None = graph.body_frame
    code = getattr(workflow.function, "__code__", None)
    ended = frame.f_lineno if frame is not None and frame.f_code is code else 0
    definition = definition_node(workflow.function)
    returns = [node for node in ast.walk(definition) if isinstance(node, ast.Return)] if definition is not None else []
    here = [node for node in returns if node.lineno <= ended <= (node.end_lineno or node.lineno)]
    last = here or (returns if not ended else [])
    if last and code is not None:
        node = max(last, key=lambda one: one.lineno)
        return site_of_node(code.co_filename, node.value or node)
    return site_at(code.co_filename, ended) if ended and code is not None else site_of_definition(workflow.function)
