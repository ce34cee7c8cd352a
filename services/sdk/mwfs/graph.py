"""The Dag while it grows: columns and tables that operator calls append to.

This is the compiler's hot path: a hundred thousand calls go through `Graph.call`. Hence arrays and indices instead of objects,
caches by identity, and checks that run once per pair of types. The slow, descriptive half is in `binding.py`.
"""

from __future__ import annotations

from array import array
from contextvars import ContextVar
from types import FrameType
from typing import TYPE_CHECKING, Any

from mwfs.binding import Mismatch, bind, bind_future, encode_constant
from mwfs.call_errors import arrange, check_importable, too_many_nodes, wrong_argument
from mwfs.errors import Site
from mwfs.futures import Future, RecordFuture
from mwfs.locations import BOUNDARY, is_library, is_ours, recorded_file, site_at, user_frame
from mwfs.signatures import Signature
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.dag_functions import arity_of
from mwfs_types.rendering import describe
from mwfs_types.values import Encoder, encoder_for

if TYPE_CHECKING:
    from mwfs.artifacts import Store
    from mwfs.operators import Operator
    from mwfs.structure.control import ControlRow
    from mwfs.structure.scopes import Captures
    from mwfs.workflows import Workflow

CONSTANT = int(dag_pb2.BINDING_KIND_CONSTANT)
OUTPUT = int(dag_pb2.BINDING_KIND_OUTPUT)
RECORD = int(dag_pb2.BINDING_KIND_RECORD)
FIELD = int(dag_pb2.BINDING_KIND_FIELD)
PARAMETER = int(dag_pb2.BINDING_KIND_PARAMETER)
APPLY = int(dag_pb2.BINDING_KIND_APPLY)
TYPED = int(dag_pb2.BINDING_KIND_TYPED)

#: The graph that this thread or task is compiling into; None outside of compiling.
active_graph: ContextVar[Graph | None] = ContextVar("mwfs_active_graph", default=None)

#: More calls than this in one compilation are a mistake, or a job for several runs.
MAX_NODES = 1_000_000

#: Types whose constants are found again by value. Not float: 0.0 == -0.0, and nan != nan.
_BY_VALUE = frozenset((int, str, bool, type(None)))

Rows = tuple["array[int]", "array[int]", "array[int]"]


class OperatorRow:
    """An operator as one graph knows it: its row in the table, and the indices of its types."""

    what = "operator"

    __slots__ = (
        "count",
        "index",
        "is_tuple",
        "name",
        "operator",
        "output_index",
        "outputs",
        "parameters",
        "positional",
        "return_type",
        "signature",
        "single",
    )

    def __init__(self, index: int, operator: Operator[..., Any], signature: Signature, graph: Graph) -> None:
        self.index = index
        self.operator = operator
        self.name: str = operator.__name__
        self.signature = signature
        self.parameters = [graph.type_index(parameter.type) for parameter in signature.parameters]
        self.count = len(self.parameters)
        self.positional = signature.positional
        self.outputs = [graph.type_index(output.type) for output in signature.outputs]
        self.output_index = {output.name: index for index, output in enumerate(signature.outputs)}
        self.return_type = graph.type_index(signature.return_type)
        self.single = signature.record is None
        self.is_tuple = signature.record is not None and issubclass(signature.record, tuple)

    def to_proto(self) -> dag_pb2.Operator:
        return self.operator.to_proto(self.parameters, self.outputs)

    def output_future(self, graph: Graph, node: int, output: int) -> Future:
        return Future(graph, OUTPUT, node, output, self.outputs[output])


class Graph:
    """All that one compilation has recorded so far."""

    def __init__(self, workflow: str, files: Store) -> None:
        self.workflow = workflow
        self.files = files
        #: The graph that this one is a body in, and what it takes from there; None for the workflow itself.
        self.parent: Graph | None = None
        self.captures: Captures | None = None
        #: Of a body: the types of the parameters that its kind names. Captured ones follow.
        self.parameters: list[int] = []
        #: What the parameters are, in words, and the frame that made the body.
        self.parameter_words = ""
        self.site: Site | None = None
        #: False once the body is complete: its futures mean nothing any more.
        self.is_open = True
        self.types: list[types_pb2.Type] = []
        #: What encodes a constant of each type.
        self.encoders: list[Encoder] = []
        self.constants: list[types_pb2.Value] = []
        self.operators: list[OperatorRow | ControlRow] = []
        self.bodies: list[dag_pb2.Body] = []
        #: Serialised body → its row.
        self.body_indices: dict[bytes, int] = {}
        #: Serialised control operator → its row.
        self.control_rows: dict[bytes, ControlRow] = {}
        #: Workflows that were called with futures while they were being compiled → the body that is called, and its result type.
        self.called: dict[Workflow[..., Any], tuple[int, int]] = {}
        #: Workflows whose bodies are being run, innermost last, each with the graph that it is run into.
        self.running: list[tuple[Workflow[..., Any], Graph]] = []
        #: Signal name → its type.
        self.signals: dict[str, int] = {}
        self.source_files: list[str] = []
        self.location_file: array[int] = array("I")
        self.location_line: array[int] = array("I")
        self.node_operator: array[int] = array("I")
        self.node_location: array[int] = array("I")
        self.arguments: Rows = (array("I"), array("I"), array("I"))
        self.items: Rows = (array("I"), array("I"), array("I"))
        #: Order without data: (node, a lower node that it waits for).
        self.order: set[tuple[int, int]] = set()
        #: What every node that is added now waits for (`with mwfs.after(…)`).
        self.waiting_for: tuple[int, ...] = ()
        #: The frame of the workflow's body, once an operator was called: it knows where the body returned.
        self.body_frame: FrameType | None = None
        self._rows: dict[int, OperatorRow] = {}
        self._type_indices: dict[bytes, int] = {}
        self._constant_indices: dict[bytes, int] = {}
        self._scalars: dict[tuple[int, type, object], int] = {}
        self._locations: dict[tuple[str, int], int] = {}
        self._file_indices: dict[str, int] = {}
        self._item_indices: dict[tuple[bytes, bytes, bytes], int] = {}
        #: (type of a future, type of a parameter) that fit.
        self.fits: set[tuple[int, int]] = set()

    def body(self, captures: Captures, parameters: list[int], words: str, site: Site | None) -> Graph:
        """A graph for a body: the same tables, columns of its own."""
        inner = self.detached(parameters, words)
        inner.parent, inner.captures, inner.site = self, captures, site
        return inner

    def detached(self, parameters: list[int], words: str) -> Graph:
        """A graph with the same tables that takes nothing from this one: for a body that is called from several places."""
        inner = Graph(self.workflow, self.files)
        inner.parameters, inner.parameter_words = parameters, words
        for table in _TABLES:
            setattr(inner, table, getattr(self, table))
        return inner

    # The hot path.

    def call(
        self, operator: Operator[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], frame: FrameType
    ) -> Future:
        """Records one call of an operator. `frame` is the caller's."""
        if len(self.node_operator) >= MAX_NODES:
            raise too_many_nodes(self.workflow, MAX_NODES)
        row = self._rows.get(id(operator)) or self._add_operator(operator, frame)
        values = args if not kwargs and len(args) == row.count == row.positional else arrange(self, row, args, kwargs)
        location = self._locations.get((frame.f_code.co_filename, frame.f_lineno))
        if location is None:
            location = self._locate(frame)
        kinds, firsts, seconds = self.arguments
        start = len(kinds)
        fits = self.fits
        position = 0
        try:
            for value in values:
                target = row.parameters[position]
                cls = type(value)
                if cls is Future:
                    if value._graph is not self:
                        value = adopt(self, value)
                    if value._type != target and (value._type, target) not in fits:
                        bind_future(self, value, target)
                    kinds.append(value._kind)
                    firsts.append(value._a)
                    seconds.append(value._b)
                elif cls in _BY_VALUE:
                    kinds.append(CONSTANT)
                    constant = self._scalars.get((target, cls, value))
                    if constant is None:
                        constant = self._scalars[target, cls, value] = encode_constant(self, value, target)
                    firsts.append(constant)
                    seconds.append(0)
                else:
                    kind, first, second = bind(self, value, target)
                    kinds.append(kind)
                    firsts.append(first)
                    seconds.append(second)
                position += 1
        except BaseException as error:
            # The user may catch this and go on; the columns must stay aligned.
            for column in self.arguments:
                del column[start:]
            if isinstance(error, Mismatch):
                raise wrong_argument(self, row, position, error, given=len(args), named=kwargs) from None
            raise
        node = len(self.node_operator)
        self.node_operator.append(row.index)
        self.node_location.append(location)
        if self.waiting_for:
            self.order.update((node, earlier) for earlier in self.waiting_for)
        if row.single:
            return Future(self, OUTPUT, node, 0, row.outputs[0])
        return RecordFuture(self, node, row)

    def add_node(self, operator: int, columns: Rows, frame: FrameType | None) -> int:
        """Appends a node whose arguments are bound already."""
        if len(self.node_operator) >= MAX_NODES:
            raise too_many_nodes(self.workflow, MAX_NODES)
        for column, added in zip(self.arguments, columns, strict=True):
            column.extend(added)
        node = len(self.node_operator)
        self.node_operator.append(operator)
        self.node_location.append(self._locate(frame) if frame is not None else 0)
        if self.waiting_for:
            self.order.update((node, earlier) for earlier in self.waiting_for)
        return node

    # Tables.

    def _add_operator(self, operator: Operator[..., Any], frame: FrameType) -> OperatorRow:
        check_importable(operator)
        row = OperatorRow(len(self.operators), operator, operator.signature, self)
        self.operators.append(row)
        self._rows[id(operator)] = row
        if self.body_frame is None:
            self.body_frame = _body_frame(frame)
        return row

    def _locate(self, frame: FrameType) -> int:
        """The location row of the user's line that led to this frame."""
        filename = frame.f_code.co_filename
        known = not (is_ours(filename) or is_library(filename))
        own = frame if known else (user_frame(frame) or frame)
        return self.locate(own.f_code.co_filename, own.f_lineno)

    def locate(self, filename: str, line: int) -> int:
        """The location row of a line."""
        location = self._locations.get((filename, line))
        if location is None:
            file = self._file_indices.get(filename)
            if file is None:
                file = self._file_indices[filename] = len(self.source_files)
                self.source_files.append(recorded_file(filename))
            location = len(self.location_file)
            self.location_file.append(file)
            self.location_line.append(line)
            self._locations[filename, line] = location
        return location

    def type_index(self, kind: types_pb2.Type) -> int:
        key = kind.SerializeToString(deterministic=True)
        index = self._type_indices.get(key)
        if index is None:
            index = self._type_indices[key] = len(self.types)
            self.types.append(kind)
            self.encoders.append(encoder_for(key))
        return index

    def constant_index(self, value: types_pb2.Value) -> int:
        key = value.SerializeToString(deterministic=True)
        index = self._constant_indices.get(key)
        if index is None:
            index = self._constant_indices[key] = len(self.constants)
            self.constants.append(value)
        return index

    def item_rows(self, kinds: array[int], firsts: array[int], seconds: array[int]) -> int:
        """Stores bindings one after another, or finds equal ones; gives the first row."""
        key = kinds.tobytes(), firsts.tobytes(), seconds.tobytes()
        start = self._item_indices.get(key)
        if start is None:
            start = self._item_indices[key] = len(self.items[0])
            for column, added in zip(self.items, (kinds, firsts, seconds), strict=True):
                column.extend(added)
        return start

    def item_row(self, kind: int, first: int, second: int) -> int:
        return self.item_rows(array("I", (kind,)), array("I", (first,)), array("I", (second,)))

    # Futures.

    def apply(self, function: int, operands: list[tuple[int, int, int]], result: types_pb2.Type) -> Future:
        """A lifted function of operands that are bound already."""
        columns = (array("I", column) for column in zip(*operands, strict=True))
        return Future(self, APPLY, self.item_rows(*columns), function, self.type_index(result))

    def binding_of(self, future: Future) -> tuple[int, int, int]:
        """Where a future's value comes from; that of a whole record becomes one when first asked for."""
        if future._kind:
            return future._kind, future._a, future._b
        assert isinstance(future, RecordFuture)
        count = len(future._row.outputs)
        first = self.item_rows(array("I", [OUTPUT] * count), array("I", [future._a] * count), array("I", range(count)))
        return RECORD, first, count

    def field_of(self, future: Future, name: str) -> Any:
        """An attribute of a future that is a record: a field, or else what its class brings."""
        kind = self.types[future._type]
        if kind.record.is_dict or name not in [field.name for field in kind.record.fields]:
            from mwfs.record_members import class_of, member_of

            return member_of(future, None if kind.record.is_dict else class_of(kind), name)
        return self.field(future, name)

    def field(self, future: Future, name: str) -> Future:
        """A field, or the value of a key of a TypedDict, that is there."""
        kind = self.types[future._type]
        names = [field.name for field in kind.record.fields]
        index = names.index(name)
        record = self.item_row(*self.binding_of(future))
        return Future(self, FIELD, record, index, self.type_index(kind.record.fields[index].type))

    def fields_of_tuple(self, future: Future) -> list[Future] | None:
        """The fields of a future that is a NamedTuple, in order; None of others."""
        if isinstance(future, RecordFuture):
            return list(future) if future._row.is_tuple else None
        kind = self.types[future._type]
        if kind.WhichOneof("kind") != "record" or kind.record.is_dict:
            return None
        from mwfs.record_members import class_of

        cls = class_of(kind)
        if cls is None or not issubclass(cls, tuple):
            return None
        return [self.field(future, field.name) for field in kind.record.fields]

    def nodes_of(self, future: Future) -> set[int]:
        """The nodes of this graph whose outputs a future of this graph comes from."""
        found: set[int] = set()
        waiting = [(OUTPUT, future._a, 0) if not future._kind else (future._kind, future._a, future._b)]
        while waiting:
            kind, first, second = waiting.pop()
            if kind == OUTPUT:
                found.add(first)
            elif kind not in (CONSTANT, PARAMETER):
                waiting.extend(self._below(kind, first, second))
        return found

    def _below(self, kind: int, first: int, second: int) -> list[tuple[int, int, int]]:
        count = 1 if kind in (FIELD, TYPED) else arity_of(second) if kind == APPLY else second
        kinds, firsts, seconds = self.items
        return [(kinds[row], firsts[row], seconds[row]) for row in range(first, first + count)]

    def _origin(self, future: Future) -> tuple[int, int]:
        """The kind and index of what a future comes from first: a node, or a parameter of this body."""
        kind, first, second = (future._kind or OUTPUT), future._a, future._b
        while kind not in (OUTPUT, PARAMETER):
            below = [one for one in self._below(kind, first, second) if one[0] != CONSTANT]
            if not below:
                return CONSTANT, first
            kind, first, second = below[0]
        return kind, first

    def _captured(self, index: int) -> Future | None:
        """The future of the enclosing graph that a parameter stands for."""
        own = len(self.parameters)
        return self.captures.futures[index - own] if self.captures is not None and index >= own else None

    def site_of(self, future: Future) -> Site | None:
        """Where the user called the operator that a future comes from."""
        kind, index = self._origin(future)
        if kind == PARAMETER:
            outer = self._captured(index)
            return outer._graph.site_of(outer) if outer is not None else self.site
        if kind == CONSTANT:
            return self.site
        location = self.node_location[index]
        return site_at(self.source_files[self.location_file[location]], self.location_line[location])

    def describe_origin(self, future: Future) -> str:
        """The operator that a future comes from: "`split` (train.py:12)"."""
        kind, index = self._origin(future)
        if kind == PARAMETER:
            outer = self._captured(index)
            if outer is not None:
                return outer._graph.describe_origin(outer)
            return f"{self.parameter_words} ({self.site})" if self.site else self.parameter_words
        if kind == CONSTANT:
            return "constants"
        return f"`{self.operators[self.node_operator[index]].name}` ({self.site_of(future)})"

    def describe_future(self, future: Future) -> str:
        """Type and origin of a future: "Dataset from `split` (train.py:12)"."""
        return f"{describe(self.types[future._type])} from {self.describe_origin(future)}"


#: What the graph of a body shares with the graph that it is in.
_TABLES = (
    "types",
    "encoders",
    "constants",
    "operators",
    "bodies",
    "body_indices",
    "control_rows",
    "called",
    "running",
    "signals",
    "source_files",
    "location_file",
    "location_line",
    "_rows",
    "_type_indices",
    "_constant_indices",
    "_scalars",
    "_locations",
    "_file_indices",
    "fits",
)


def adopt(graph: Graph, future: Future) -> Future:
    """A future of another graph, as this graph may use it. Raises Mismatch."""
    from mwfs.structure.scopes import adopt as adopt_future

    return adopt_future(graph, future)


def _body_frame(frame: FrameType) -> FrameType | None:
    inner: FrameType | None = None
    walked: FrameType | None = frame
    while walked is not None:
        if walked.f_code.co_name == BOUNDARY and is_ours(walked.f_code.co_filename):
            return inner
        inner, walked = walked, walked.f_back
    return None
