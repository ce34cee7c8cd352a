"""From a workflow and its inputs to a Dag: the body runs once, with futures in place of results."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import mwfs
from mwfs.dag import Dag
from mwfs.errors import (
    BadStructure,
    CompileError,
    FutureAsValue,
    TooLarge,
    WorkflowRaised,
    WrongResult,
)
from mwfs.graph import Graph, active_graph
from mwfs.inputs import check_inputs, encode_inputs
from mwfs.locations import site_of_error
from mwfs.operators import Operator
from mwfs.passes import run_passes
from mwfs.raised_words import fix_of, message_of, way_to
from mwfs.results import Authored, bind_outputs, kind_of, locate_outputs, outputs_of
from mwfs.source_checks import check_source
from mwfs.structure.scopes import fill
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.values import decode

if TYPE_CHECKING:
    from mwfs.artifacts import Store
    from mwfs.local.foresight import EarlierResults
    from mwfs.workflows import Workflow

#: How Python and its libraries say that they were given a future.
_NAMES_A_FUTURE = re.compile(r"'(?:Record)?Future'|\b(?:Record)?Future found|<Future of |type (?:Record)?Future\b")

#: Layout version of dag.proto.
FORMAT = 1


def compile(workflow: Workflow[..., Any], /, **inputs: Any) -> Dag:
    """The Dag of a workflow for these inputs. Needs no platform.

    File-like inputs may be given as paths; they are hashed, and listed in `Dag.local_files`.
    Raises CompileError, which names the user's line, and InvalidInput.
    """
    encoded = encode_inputs(workflow, inputs)
    return compile_values(workflow, encoded.values, encoded.files, encoded.sources)


def compile_values(
    workflow: Workflow[..., Any],
    values: Mapping[str, types_pb2.Value],
    files: Store,
    sources: Mapping[str, str] | None = None,
    *,
    earlier: EarlierResults | None = None,
    seconds: Mapping[str, float] | None = None,
) -> Dag:
    """Compiles with inputs that are already encoded, as workers do. `files` reads and keeps what they refer to.

    sources: by name, where inputs came from that are outputs of earlier runs. earlier, seconds: results and durations of earlier runs, for the
    passes.
    """
    values = check_inputs(workflow, values)
    arguments = {
        parameter.name: decode(values[parameter.name], parameter.annotation, files) for parameter in workflow.parameters
    }
    graph = Graph(workflow.ref, files)
    result = run_workflow_body(workflow, graph, arguments)
    outputs = bind_outputs(workflow, graph, result)
    locate_outputs(workflow, graph, outputs)
    graph.body_frame = None
    proto = _with_inputs(workflow, graph, values, outputs, sources or {})
    return Dag(
        proto,
        report=run_passes(proto, earlier=earlier, seconds=seconds, files=files),
        workflow=workflow,
        operators=tuple(row.operator for row in graph.operators),
        local_files=graph.files.paths,
        files=graph.files,
    )


def compile_body_of(called: Operator[..., Any], arguments: dict[str, Any], files: Store) -> dag_pb2.Dag:
    """The Dag of one call of a dynamic operator, with values for its parameters.

    What its own code raises comes through as it is: it is an operator, so retries and `mwfs.catch` go by the class. Raises CompileError.
    """
    graph = Graph(called.ref, files)
    try:
        result = run_workflow_body(called, graph, arguments)
    except WorkflowRaised as error:
        raise error.__cause__ or error from None
    outputs = bind_outputs(called, graph, result)
    return _proto_of(graph, [], outputs)


def run_workflow_body(workflow: Authored, graph: Graph, arguments: dict[str, Any]) -> Any:
    """Runs the body into a graph. Its name marks the outer end of the user's frames (see `locations.BOUNDARY`)."""
    check_source(workflow.function)
    token = active_graph.set(graph)
    if not isinstance(workflow, Operator):
        graph.running.append((workflow, graph))
    try:
        return workflow.function(**arguments)
    except CompileError:
        raise
    except (Exception, SystemExit) as error:
        raise _explain(workflow, error) from error
    finally:
        active_graph.reset(token)


def _explain(workflow: Authored, error: BaseException) -> CompileError:
    site = site_of_error(error)
    if isinstance(error, RecursionError):
        return TooLarge(
            f"{kind_of(workflow)} `{workflow.__name__}` calls itself without end, or too deep for Python",
            site=site,
            expected=f"at most {sys.getrecursionlimit()} calls inside each other",
            found="more",
            fix="stop at some depth; to decide by a future, write `mwfs.when(…, lambda: …, lambda: …)`",
        )
    record = workflow.signature.record
    if record is not None and isinstance(error, TypeError):
        wrong = re.match(rf"{re.escape(record.__name__)}\.__(?:new|init)__\(\) (.*)", str(error)) or re.match(
            rf"{re.escape(record.__qualname__)}\.__(?:new|init)__\(\) (.*)", str(error)
        )
        if wrong:
            unknown = re.search(r"unexpected keyword argument '(\w+)'", wrong[1])
            declared = [output.name for output in outputs_of(workflow)]
            return WrongResult(
                f"{kind_of(workflow)} `{workflow.__name__}` does not return what it declares: {wrong[1]}",
                site=site,
                expected=f"{record.__qualname__}({', '.join(declared)})",
                found=f"`{unknown[1]}=`" if unknown else "other fields",
                fix=f"return one value for each of {', '.join(f'`{name}`' for name in declared)}, "
                f"or change the fields of `{record.__qualname__}`",
            )
    if isinstance(error, TypeError) and (call := re.match(r"(\w+)\(\) ((?:missing|got|takes) .*)", str(error))):
        ours = getattr(mwfs, call[1], None)
        if inspect.isfunction(ours):
            return BadStructure(
                f"`mwfs.{call[1]}` is called with other arguments than it takes",
                site=site,
                expected=_call_words(ours),
                found=call[2],
                fix=f"call it as expected; help(mwfs.{call[1]}) says more",
            )
    if isinstance(error, (TypeError, ValueError)) and _NAMES_A_FUTURE.search(str(error)):
        return FutureAsValue(
            f"a future was given to Python code that needs a value: {error}",
            site=site,
            expected="a value",
            found="a future",
            fix="do this inside an operator that takes the future",
        )
    return WorkflowRaised(
        f"{kind_of(workflow)} `{workflow.__name__}` raised {type(error).__qualname__} while it was compiled{message_of(error)}",
        site=site,
        expected="a body that runs to its end",
        found=way_to(error),
        fix=fix_of(error),
    )


def _call_words(function: Callable[..., Any]) -> str:
    """`mwfs.repeat_while(condition, body, state, limit=…)`: the call with what it needs."""
    words = []
    for parameter in inspect.signature(function).parameters.values():
        if (
            parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            or parameter.default is not parameter.empty
        ):
            continue
        words.append(f"{parameter.name}=…" if parameter.kind is parameter.KEYWORD_ONLY else parameter.name)
    return f"mwfs.{function.__name__}({', '.join(words)})"


def _with_inputs(
    workflow: Workflow[..., Any],
    graph: Graph,
    values: Mapping[str, types_pb2.Value],
    outputs: list[dag_pb2.Output],
    sources: Mapping[str, str],
) -> dag_pb2.Dag:
    inputs = [
        dag_pb2.Input(
            name=parameter.name,
            type=graph.type_index(parameter.type),
            constant=graph.constant_index(values[parameter.name]),
            source=sources.get(parameter.name, ""),
        )
        for parameter in workflow.parameters
    ]
    proto = _proto_of(graph, inputs, outputs)
    from mwfs.code_closure import digest_parts

    proto.options.CopyFrom(workflow.options)
    proto.digest_parts.extend(digest_parts(row.operator for row in graph.operators if row.operator is not None))
    return proto


def _proto_of(graph: Graph, inputs: list[dag_pb2.Input], outputs: list[dag_pb2.Output]) -> dag_pb2.Dag:
    proto = dag_pb2.Dag(
        format=FORMAT,
        workflow=graph.workflow,
        operators=[row.to_proto() for row in graph.operators],
        types=graph.types,
        constants=graph.constants,
        files=graph.source_files,
        inputs=inputs,
        outputs=outputs,
        bodies=graph.bodies,
    )
    proto.location_file.extend(graph.location_file)
    proto.location_line.extend(graph.location_line)
    proto.node_operator.extend(graph.node_operator)
    proto.node_location.extend(graph.node_location)
    fill(proto.arguments, graph.arguments)
    fill(proto.items, graph.items)
    for node, earlier in sorted(graph.order):
        proto.order_node.append(node)
        proto.order_after.append(earlier)
    return proto
