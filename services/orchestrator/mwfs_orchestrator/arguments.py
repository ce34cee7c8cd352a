"""Puts the arguments of a node together from the serialised outputs of others, without parsing what users computed.

A protobuf message may be written by joining serialised fields, so a list of ten thousand results is a join of byte strings.
Only what lifted functions and fields are read from is parsed: see `computed.py`.
"""

from collections.abc import Callable, Sequence
from typing import Final

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.dag_failures import failure_of_output
from mwfs_types.dag_functions import FunctionFailed, NeedsContent
from mwfs_types.function_values import check_together

from .computed import Read, compute, out_of_reach, pending_argument
from .graph import APPLY, CONSTANT, FIELD, LIST, MAP, OUTPUT, TYPED, Columns, Graph

#: Field 1, length-delimited: the elements of ListValue and RecordValue and the keys of MapValue.
_FIELD_1: Final = b"\x0a"
#: Field 2, length-delimited: the values of MapValue.
_FIELD_2: Final = b"\x12"
#: Fields 7, 8 and 9 of Value.
_LIST: Final = b"\x3a"
_MAP: Final = b"\x42"
_RECORD: Final = b"\x4a"

_NULL: Final = types_pb2.Value(null=True).SerializeToString()

#: Serialised outputs of a node that has succeeded.
Outputs = Callable[[int], Sequence[bytes]]
#: A serialised ListValue with a value for each parameter, and what only a worker can put together.
Arguments = tuple[bytes, Sequence[dag_pb2.PendingArgument]]


def delimited(tag: bytes, data: bytes) -> bytes:
    """A length-delimited field: tag, length as varint, data."""
    size = len(data)
    if size < 128:
        return tag + bytes((size,)) + data
    length = bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    length.append(size)
    return tag + bytes(length) + data


def pack_list(values: Sequence[bytes]) -> bytes:
    """A serialised ListValue of serialised Values."""
    return b"".join([delimited(_FIELD_1, value) for value in values])


def unpack_list(data: bytes) -> tuple[bytes, ...]:
    """Serialised Values of a serialised ListValue."""
    return tuple(value.SerializeToString() for value in types_pb2.ListValue.FromString(data).items)


def arguments_of(graph: Graph, node: int, outputs: Outputs) -> Arguments:
    """What the node's operator is called with. Raises FunctionFailed."""
    first, end = graph.argument_start[node], graph.argument_start[node + 1]
    if not graph.computes:
        return _packed([value_at(graph, graph.arguments, row, outputs) for row in range(first, end)]), ()
    values, pending = [], []
    for row in range(first, end):
        try:
            values.append(value_at(graph, graph.arguments, row, outputs))
        except NeedsContent:
            values.append(_NULL)
            pending.append(pending_argument(graph, row, row - first, outputs))
    return _packed(values), pending


def _packed(values: Sequence[bytes]) -> bytes:
    check_together(map(len, values))
    return pack_list(values)


class OutputFailed(Exception):
    """An output of the run cannot be computed."""

    def __init__(self, error: FunctionFailed, failure: events_pb2.Failure) -> None:
        super().__init__(str(error))
        self.failure = failure


def outputs_of(graph: Graph, outputs: Outputs, read: Read = out_of_reach) -> bytes:
    """A serialised GetOutputsResponse: the named and typed outputs of the Dag. Raises OutputFailed, NeedsContent."""
    answer = orchestrator_pb2.GetOutputsResponse()
    for output in graph.dag.outputs:
        packed = answer.outputs.add(name=output.name, type=graph.dag.types[output.type])
        try:
            packed.value.ParseFromString(value_at(graph, graph.items, output.item, outputs, read))
        except FunctionFailed as error:
            raise OutputFailed(error, failure_of_output(error, graph.dag, output)) from error
    return answer.SerializeToString()


def value_at(graph: Graph, columns: Columns, row: int, outputs: Outputs, read: Read = out_of_reach) -> bytes:
    """The serialised Value that a binding stands for. Raises FunctionFailed, NeedsContent."""
    kind, a = columns.kind[row], columns.a[row]
    if kind == CONSTANT:
        return graph.constants[a]
    if kind == OUTPUT:
        return outputs(a)[columns.b[row]]
    items, b = graph.items, columns.b[row]
    if kind in (FIELD, APPLY, TYPED):
        return compute(graph, kind, a, b, outputs, read).SerializeToString()
    if kind == MAP:
        keys = [
            types_pb2.Value.FromString(value_at(graph, items, row, outputs, read)).text for row in range(a, a + b, 2)
        ]
        values = [value_at(graph, items, row, outputs, read) for row in range(a + 1, a + b, 2)]
        check_together(map(len, (*keys, *values)))
        joined = b"".join([delimited(_FIELD_1, key.encode()) for key in keys])
        return delimited(_MAP, joined + b"".join([delimited(_FIELD_2, value) for value in values]))
    values = [value_at(graph, items, row, outputs, read) for row in range(a, a + b)]
    return delimited(_LIST if kind == LIST else _RECORD, _packed(values))
