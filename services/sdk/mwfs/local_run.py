"""Running a compiled Dag in this process, node after node: the same code paths as on the platform, without the platform.

Differences: nodes run one at a time, waits between attempts are left out, and timeouts and resources are not enforced.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mwfs.artifacts import Store
from mwfs.compiler import compile
from mwfs.dag import CONSTANT, FIELD, LIST, MAP, OUTPUT, RECORD, Dag
from mwfs.errors import BadResult, NotLoadable, RunFailed
from mwfs.failures import describe_exception
from mwfs.invoke import invoke, load_operator
from mwfs.local_files import LocalFiles
from mwfs_api.types.v1 import types_pb2
from mwfs_types.values import decode, is_spilled, unspill

if TYPE_CHECKING:
    from mwfs.operators import Operator
    from mwfs.workflows import Workflow

Value = types_pb2.Value


def run_local(workflow: Workflow[..., Any], inputs: Mapping[str, Any]) -> Any:
    """What the workflow declares to return. Raises CompileError, InvalidInput, RunFailed."""
    dag = compile(workflow, **inputs)
    store = LocalFiles(dag.local_files, copies=True)
    outputs = run_dag(dag, store)
    decoded = {output.name: decode(outputs[output.name], output.annotation, store) for output in workflow.outputs}
    record = workflow.signature.record
    if record is not None:
        return record(**decoded)
    return next(iter(decoded.values()), None)


def run_dag(dag: Dag, store: Store) -> dict[str, Value]:
    """Runs every node and gives the outputs by name. Raises RunFailed at the first node that fails for good."""
    proto = dag.proto
    operators = dag.operators or tuple(load_operator(row.module, row.qualname) for row in proto.operators)
    run = _Run(dag, store)
    kinds, firsts, seconds = list(proto.arguments.kind), list(proto.arguments.a), list(proto.arguments.b)
    row = 0
    for node, operator_index in enumerate(proto.node_operator):
        operator = operators[operator_index]
        end = row + len(proto.operators[operator_index].parameters)
        arguments = [run.value(kinds[at], firsts[at], seconds[at]) for at in range(row, end)]
        row = end
        run.results.append(_attempt(dag, node, operator, arguments, store))
    return {output.name: run.item(output.item) for output in proto.outputs}


class _Run:
    """What is known so far: the outputs of each node."""

    def __init__(self, dag: Dag, store: Store) -> None:
        self.results: list[list[Value]] = []
        self._constants = list(dag.proto.constants)
        items = dag.proto.items
        self._items = list(zip(items.kind, items.a, items.b, strict=True))
        self._store = store

    def item(self, row: int) -> Value:
        return self.value(*self._items[row])

    def value(self, kind: int, first: int, second: int) -> Value:
        """The value that a binding stands for."""
        if kind == OUTPUT:
            return self.results[first][second]
        if kind == CONSTANT:
            return self._constants[first]
        if kind == FIELD:
            record = self.item(first)
            if is_spilled(record):
                record = unspill(record, self._store)
            return record.record.fields[second]
        elements = [self.item(row) for row in range(first, first + second)]
        if kind == LIST:
            return Value(list=types_pb2.ListValue(items=elements))
        if kind == MAP:
            keys = [key.text for key in elements[::2]]
            return Value(map=types_pb2.MapValue(keys=keys, values=elements[1::2]))
        assert kind == RECORD
        return Value(record=types_pb2.RecordValue(fields=elements))


def _attempt(dag: Dag, node: int, operator: Operator[..., Any], arguments: list[Value], store: Store) -> list[Value]:
    retry = operator.options.retry
    attempt = 1
    while True:
        try:
            return invoke(operator, arguments, store)
        except (Exception, SystemExit) as error:
            hopeless = isinstance(error, (BadResult, NotLoadable))
            if attempt < retry.attempts and not hopeless and retry.covers(error):
                attempt += 1
                continue
            failure = describe_exception(error)
            failure.node = node
            location = dag.proto.node_location[node]
            file = dag.proto.files[dag.proto.location_file[location]]
            called = f"{file}:{dag.proto.location_line[location]}"
            tries = f" after {attempt} attempts" if attempt > 1 else ""
            where = f" ({failure.file}:{failure.line})" if failure.line else ""
            raise RunFailed(
                f"Node {node}, operator `{operator.__name__}` called at {called}, failed{tries}: "
                f"{failure.error_type}: {failure.message}{where}",
                failure.next_step or "The operator's own error is the cause of this one.",
                failure=failure,
            ) from error


__all__ = ["Dag", "run_dag", "run_local"]
