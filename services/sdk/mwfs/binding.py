"""From the Python value of an argument to where the Dag takes it from."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from mwfs.futures import Future, RecordFuture
from mwfs.signatures import record_class
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.assignability import explain_mismatch
from mwfs_types.rendering import describe
from mwfs_types.values import BadValue

if TYPE_CHECKING:
    from mwfs.graph import Graph

CONSTANT = int(dag_pb2.BINDING_KIND_CONSTANT)
LIST = int(dag_pb2.BINDING_KIND_LIST)
MAP = int(dag_pb2.BINDING_KIND_MAP)
RECORD = int(dag_pb2.BINDING_KIND_RECORD)

Binding = tuple[int, int, int]
#: Deeper nesting is a cycle or a mistake.
MAX_DEPTH = 100


class Mismatch(Exception):
    """A value or a future does not fit a type. The caller knows whose argument it is and turns it into a CompileError."""

    def __init__(
        self,
        *,
        expected: str,
        found: str,
        path: str = "",
        reason: str = "",
        fix: str = "",
        foreign: bool = False,
        branch: bool = False,
    ) -> None:
        super().__init__(expected, found)
        self.expected = expected
        self.found = found
        #: Where inside the argument: `[3].score`.
        self.path = path
        self.reason = reason
        #: What to do, when that is more than passing another value.
        self.fix = fix
        #: The value is a future of another compilation.
        self.foreign = foreign
        #: It is one of a body that is complete.
        self.branch = branch


def bind(graph: Graph, value: Any, target: int, depth: int = 0) -> Binding:
    """The binding of any value for a parameter of type row `target`. Raises Mismatch."""
    if isinstance(value, Future):
        return bind_future(graph, value, target)
    if depth > MAX_DEPTH:
        raise Mismatch(expected="a value", found=f"lists or dicts nested more than {MAX_DEPTH} deep, or in a cycle")
    if holds_future(value):
        return _bind_collection(graph, value, target, depth)
    return CONSTANT, encode_constant(graph, value, target), 0


def bind_future(graph: Graph, future: Future, target: int) -> Binding:
    """The binding of a future, once its type is known to fit."""
    if future._graph is not graph:
        from mwfs.structure.scopes import adopt

        future = adopt(graph, future)
    source = future._type
    if source != target and (source, target) not in graph.fits:
        reason = explain_mismatch(graph.types[source], graph.types[target])
        if reason is not None:
            raise Mismatch(expected=describe(graph.types[target]), found=graph.describe_future(future), reason=reason)
        graph.fits.add((source, target))
    return graph.binding_of(future)


def encode_constant(graph: Graph, value: Any, target: int) -> int:
    """The row of a constant. Raises Mismatch when the value does not have the type."""
    try:
        encoded = graph.files.spill(graph.encoders[target](value, graph.files))
    except BadValue as error:
        fix = error.fix or getattr(value, "fix_as_argument", "") or _nearly(value, graph.types[target], error.path)
        raise Mismatch(expected=error.expected, found=error.found, path=error.path, fix=fix) from None
    return graph.constant_index(encoded)


def _nearly(value: object, kind: types_pb2.Type, path: str) -> str:
    """What to write when a value only needs another form; empty for others."""
    shape = kind.WhichOneof("kind")
    if path:
        return ""
    if shape == "list" and isinstance(value, Iterable) and not isinstance(value, (str, bytes, dict, list, tuple)):
        if isinstance(value, Iterator):
            return "put square brackets around it, or `list(…)`"
        return "write `sorted(…)`: a set has no order" if isinstance(value, (set, frozenset)) else "write `list(…)`"
    if shape == "record" and isinstance(value, dict) and not kind.record.is_dict:
        return f"write `{describe(kind)}(…)` with the fields {', '.join(f'`{field.name}`' for field in kind.record.fields)}"
    return ""


def describe_value(value: object) -> str:
    """A value as found: its type and a short repr."""
    if value is None:
        return "None"
    text = repr(value)
    if len(text) > 60:
        text = f"{text[:57]}…"
    return f"{type(value).__qualname__} {text}"


def holds_future(value: Any, depth: int = 0) -> bool:
    """Whether a future is anywhere in it. Raises Mismatch for what is nested too deep, or in a cycle."""
    if isinstance(value, Future):
        return True
    if depth > MAX_DEPTH:
        raise Mismatch(expected="a value", found=f"lists or dicts nested more than {MAX_DEPTH} deep, or in a cycle")
    if isinstance(value, (list, tuple)):
        return any(holds_future(element, depth + 1) for element in value)
    if isinstance(value, dict):
        return any(holds_future(element, depth + 1) for element in value.values())
    fields = getattr(value.__class__, "__dataclass_fields__", ())
    return any(holds_future(getattr(value, name, None), depth + 1) for name in fields)


def _bind_collection(graph: Graph, value: Any, target: int, depth: int) -> Binding:
    kind = graph.types[target]
    shape = kind.WhichOneof("kind")
    if shape == "optional":
        return bind(graph, value, graph.type_index(kind.optional.item), depth)
    if shape == "union":
        return _bind_union(graph, value, kind, depth)
    cls = type(value)
    if shape == "list" and isinstance(value, (list, tuple)) and record_class(cls) is None:
        item = graph.type_index(kind.list.item)
        length = kind.constraints
        if length.min_length > len(value) or (length.HasField("max_length") and length.max_length < len(value)):
            raise Mismatch(expected=describe(kind), found=f"a list of {len(value)}")
        rows = _elements(graph, [(f"[{index}]", element, item) for index, element in enumerate(value)], depth)
        return LIST, graph.item_rows(*rows), len(value)
    if shape == "tuple" and isinstance(value, (list, tuple)) and record_class(cls) is None:
        kinds = kind.tuple.items
        if len(kinds) != len(value):
            raise Mismatch(expected=describe(kind), found=f"a tuple of {len(value)}")
        parts = [
            (f"[{index}]", element, graph.type_index(item))
            for index, (element, item) in enumerate(zip(value, kinds, strict=True))
        ]
        return RECORD, graph.item_rows(*_elements(graph, parts, depth)), len(value)
    if shape == "map" and isinstance(value, dict):
        return _bind_map(graph, value, kind, depth)
    if shape == "record" and kind.record.is_dict and isinstance(value, dict):
        return _bind_typed_dict(graph, value, kind, depth)
    name = kind.record.name.partition("[")[0]
    if shape == "record" and any(name == f"{base.__module__}.{base.__qualname__}" for base in cls.__mro__):
        members = [
            (f".{field.name}", getattr(value, field.name), graph.type_index(field.type)) for field in kind.record.fields
        ]
        return RECORD, graph.item_rows(*_elements(graph, members, depth)), len(members)
    raise Mismatch(expected=describe(kind), found=f"{cls.__qualname__} with futures in it")


def _bind_typed_dict(graph: Graph, value: dict[Any, Any], kind: types_pb2.Type, depth: int) -> Binding:
    fields = {field.name: field.type for field in kind.record.fields}
    unknown = next((key for key in value if key not in fields), None)
    if unknown is not None:
        raise Mismatch(expected=f"a key of {describe(kind)}: {', '.join(fields)}", found=describe_value(unknown))
    lacking = [name for name, type_ in fields.items() if name not in value and type_.WhichOneof("kind") != "optional"]
    if lacking:
        raise Mismatch(expected=f"{describe(kind)} with a key {lacking[0]!r}", found="a dict without it")
    members = [(f".{name}", value.get(name), graph.type_index(type_)) for name, type_ in fields.items()]
    return RECORD, graph.item_rows(*_elements(graph, members, depth)), len(members)


def _bind_map(graph: Graph, value: dict[Any, Any], kind: types_pb2.Type, depth: int) -> Binding:
    item = graph.type_index(kind.map.value)
    text = graph.type_index(types_pb2.Type(scalar=types_pb2.SCALAR_KIND_STRING))
    members = []
    for key in value:
        if not isinstance(key, str):
            raise Mismatch(expected=f"{describe(kind)}, whose keys are str", found=f"the key {describe_value(key)}")
    for key in sorted(value):
        members.append(("", key, text))
        members.append((f"[{key!r}]", value[key], item))
    return MAP, graph.item_rows(*_elements(graph, members, depth)), len(members)


def _bind_union(graph: Graph, value: Any, kind: types_pb2.Type, depth: int) -> Binding:
    for arm in kind.union.arms:
        try:
            return bind(graph, value, graph.type_index(arm), depth + 1)
        except Mismatch:
            continue
    raise Mismatch(expected=describe(kind), found=f"{type(value).__qualname__} with futures in it")


def _elements(
    graph: Graph, members: list[tuple[str, Any, int]], depth: int
) -> tuple[array[int], array[int], array[int]]:
    """Bindings of (path, value, type) one after another. What an element refers to is stored before it."""
    kinds, firsts, seconds = array("I"), array("I"), array("I")
    for path, value, target in members:
        if type(value) is Future and value._graph is graph and value._type == target:
            kind, first, second = value._kind, value._a, value._b
        else:
            try:
                kind, first, second = bind(graph, value, target, depth + 1)
            except Mismatch as error:
                error.path = path + error.path
                raise
        kinds.append(kind)
        firsts.append(first)
        seconds.append(second)
    return kinds, firsts, seconds


__all__ = ["Binding", "Mismatch", "RecordFuture", "bind", "bind_future", "describe_value", "encode_constant"]
