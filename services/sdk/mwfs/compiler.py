"""From a workflow and its inputs to a Dag: the body runs once, with futures in place of results."""

from __future__ import annotations

import ast
import linecache
import re
from collections.abc import Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any

from mwfs.binding import Mismatch, bind
from mwfs.dag import Dag
from mwfs.errors import CompileError, ForeignFuture, Site, WorkflowRaised, WrongResult
from mwfs.futures import Future, RecordFuture
from mwfs.graph import Graph, active_graph
from mwfs.inputs import check_inputs, encode_inputs
from mwfs.locations import site_at, site_of_definition, site_of_error
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.values import decode

if TYPE_CHECKING:
    from mwfs.artifacts import Store
    from mwfs.workflows import Workflow

#: Layout version of dag.proto.
FORMAT = 1


def compile(workflow: Workflow[..., Any], /, **inputs: Any) -> Dag:
    """The Dag of a workflow for these inputs. Needs no platform.

    File-like inputs may be given as paths; they are hashed, and listed in `Dag.local_files`.
    Raises CompileError, which names the user's line, and InvalidInput.
    """
    encoded = encode_inputs(workflow, inputs)
    return compile_values(workflow, encoded.values, encoded.files)


def compile_values(workflow: Workflow[..., Any], values: Mapping[str, types_pb2.Value], files: Store) -> Dag:
    """Compiles with inputs that are already encoded, as workers do. `files` reads and keeps what they refer to."""
    values = check_inputs(workflow, values)
    arguments = {
        parameter.name: decode(values[parameter.name], parameter.annotation, files) for parameter in workflow.parameters
    }
    graph = Graph(workflow.ref, files)
    result = run_workflow_body(workflow, graph, arguments)
    outputs = _bind_outputs(workflow, graph, result)
    graph.body_frame = None
    return _finish(workflow, graph, values, outputs)


def run_workflow_body(workflow: Workflow[..., Any], graph: Graph, arguments: dict[str, Any]) -> Any:
    """Runs the body into a graph. Its name marks the outer end of the user's frames (see `locations.BOUNDARY`)."""
    token = active_graph.set(graph)
    try:
        return workflow.function(**arguments)
    except CompileError:
        raise
    except (Exception, SystemExit) as error:
        raise _explain(workflow, error) from error
    finally:
        active_graph.reset(token)


def _explain(workflow: Workflow[..., Any], error: BaseException) -> CompileError:
    site = site_of_error(error)
    record = workflow.signature.record
    if record is not None and isinstance(error, TypeError):
        wrong = re.match(rf"{re.escape(record.__name__)}\.__(?:new|init)__\(\) (.*)", str(error)) or re.match(
            rf"{re.escape(record.__qualname__)}\.__(?:new|init)__\(\) (.*)", str(error)
        )
        if wrong:
            unknown = re.search(r"unexpected keyword argument '(\w+)'", wrong[1])
            declared = [output.name for output in workflow.outputs]
            return WrongResult(
                f"workflow `{workflow.__name__}` does not return what it declares: {wrong[1]}",
                site=site,
                expected=f"{record.__qualname__}({', '.join(declared)})",
                found=f"`{unknown[1]}=`" if unknown else "other fields",
                fix=f"return one value for each of {', '.join(f'`{name}`' for name in declared)}, "
                f"or change the fields of `{record.__qualname__}`",
            )
    return WorkflowRaised(
        f"workflow `{workflow.__name__}` raised {type(error).__qualname__} while it was compiled: {error}",
        site=site,
        fix="the body runs once while compiling, on the inputs' values and on futures; move other work into an operator",
    )


def _bind_outputs(workflow: Workflow[..., Any], graph: Graph, result: Any) -> list[dag_pb2.Output]:
    """One row of `items` for each declared output."""
    if not workflow.outputs:
        if result is not None:
            raise _wrong_result(
                workflow, graph, "None", _found(graph, result), "declare the result's type, or return nothing"
            )
        return []
    values = _fields_of(workflow, graph, result) if workflow.signature.record is not None else [result]
    outputs = []
    for output, value in zip(workflow.outputs, values, strict=True):
        target = graph.type_index(output.type)
        try:
            item = graph.item_row(*bind(graph, value, target))
        except Mismatch as error:
            where = f"output `{output.name}{error.path}` of workflow `{workflow.__name__}`"
            site = _return_site(workflow, graph)
            if error.foreign:
                raise ForeignFuture(
                    f"{where} is a future of another workflow",
                    site=site,
                    expected=error.expected,
                    found=error.found,
                    fix="return a future of an operator that this workflow calls",
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


def _fields_of(workflow: Workflow[..., Any], graph: Graph, result: Any) -> list[Any]:
    """The values of the declared fields: of an instance of the declared class, a dict with these keys, or a future of such a record."""
    record = workflow.signature.record
    assert record is not None
    names = [output.name for output in workflow.outputs]
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
    from mwfs.binding import describe_value

    if isinstance(result, RecordFuture):
        names = ", ".join(result._row.output_index)
        return f"{result._graph.describe_future(result)} with {names}"
    if isinstance(result, Future):
        return result._graph.describe_future(result)
    fields = getattr(result, "_fields", None) or getattr(result, "__dataclass_fields__", None)
    if fields:
        return f"{type(result).__qualname__}({', '.join(fields)})"
    return describe_value(result)


def _wrong_result(workflow: Workflow[..., Any], graph: Graph, expected: str, found: str, fix: str) -> CompileError:
    return WrongResult(
        f"workflow `{workflow.__name__}` does not return what it declares",
        site=_return_site(workflow, graph),
        expected=expected,
        found=found,
        fix=fix,
    )


def _return_site(workflow: Workflow[..., Any], graph: Graph) -> Site | None:
    """The `return` that the body ended with."""
    frame: FrameType | None = graph.body_frame
    code = getattr(workflow.function, "__code__", None)
    if frame is not None and frame.f_code is code:
        return site_at(frame.f_code.co_filename, frame.f_lineno)
    # No operator was called, so no frame was seen: the last `return` in the source.
    definition = site_of_definition(workflow.function)
    if code is None or definition is None:
        return definition
    try:
        tree = ast.parse("".join(linecache.getlines(code.co_filename)))
    except (SyntaxError, ValueError):
        return definition
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.FunctionDef)
            and node.name == workflow.function.__name__
            and node.lineno == definition.line
        ):
            returns = [inner.lineno for inner in ast.walk(node) if isinstance(inner, ast.Return)]
            return site_at(code.co_filename, max(returns)) if returns else definition
    return definition


def _finish(
    workflow: Workflow[..., Any], graph: Graph, values: Mapping[str, types_pb2.Value], outputs: list[dag_pb2.Output]
) -> Dag:
    inputs = [
        dag_pb2.Input(
            name=parameter.name,
            type=graph.type_index(parameter.type),
            constant=graph.constant_index(values[parameter.name]),
        )
        for parameter in workflow.parameters
    ]
    proto = dag_pb2.Dag(
        format=FORMAT,
        workflow=graph.workflow,
        operators=[row.operator.to_proto(row.parameters, row.outputs) for row in graph.operators],
        types=graph.types,
        constants=graph.constants,
        files=graph.source_files,
        inputs=inputs,
        outputs=outputs,
    )
    proto.location_file.extend(graph.location_file)
    proto.location_line.extend(graph.location_line)
    proto.node_operator.extend(graph.node_operator)
    proto.node_location.extend(graph.node_location)
    for bindings, (kinds, firsts, seconds) in ((proto.arguments, graph.arguments), (proto.items, graph.items)):
        # The enum's wrapper type is static only: these are its numbers.
        bindings.kind.extend(kinds)  # type: ignore[arg-type]
        bindings.a.extend(firsts)
        bindings.b.extend(seconds)
    return Dag(
        proto,
        workflow=workflow,
        operators=tuple(row.operator for row in graph.operators),
        local_files=graph.files.paths,
        files=graph.files,
    )
