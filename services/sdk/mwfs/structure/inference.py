"""The type of a value that no parameter declares: the state of a loop, the result of a lambda, an operand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mwfs.errors import Site, WrongType
from mwfs.futures import Future
from mwfs.signatures import record_class
from mwfs_api.types.v1 import types_pb2
from mwfs_types.annotations import UnsupportedType, type_of
from mwfs_types.dag_functions import BadOperands, join_types

if TYPE_CHECKING:
    from mwfs.graph import Graph

Type = types_pb2.Type

#: Deeper nesting is a cycle or a mistake.
_MAX_DEPTH = 100
#: The item of an empty list: it takes the type of whatever it meets.
_UNKNOWN = Type()


def infer(graph: Graph, value: Any, site: Site | None) -> Type:
    """The type of a Python value that may hold futures. Raises WrongType."""
    return settled(guess(value, site, 0), site)


def guess(value: Any, site: Site | None, depth: int = 0) -> Type:
    """Like `infer`, but the items of an empty list or dict stay unknown, to be joined with another type."""
    if isinstance(value, Future):
        return value._graph.types[value._type]
    if depth > _MAX_DEPTH:
        raise _unknown(
            "a value nested more than 100 deep, or in a cycle", site, "give its parts names, as a NamedTuple"
        )
    cls = type(value)
    if isinstance(value, (list, tuple)) and record_class(cls) is None:
        items = [guess(item, site, depth + 1) for item in value]
        if cls is tuple and value:
            return Type(tuple=types_pb2.TupleType(items=items))
        return Type(list=types_pb2.ListType(item=_joined(items, "list", site)))
    if isinstance(value, dict):
        values = [guess(item, site, depth + 1) for item in value.values()]
        return Type(map=types_pb2.MapType(value=_joined(values, "dict", site)))
    try:
        return type_of(_plain_class(value))
    except UnsupportedType as error:
        reason, _, fix = str(error).partition(". ")
        raise _unknown(f"{cls.__qualname__}: {reason}", site, fix or "use another type") from None


def _plain_class(value: Any) -> type:
    """The class that a value counts as: numpy's numbers are taken as Python's, as they are for arguments."""
    cls = type(value)
    if cls.__module__ == "numpy" and hasattr(value, "item") and not getattr(value, "shape", None):
        return type(value.item())
    return cls


def join(left: Type, right: Type) -> Type:
    """The one type that values of both have. Raises BadOperands when there is none."""
    if not left.WhichOneof("kind"):
        return right
    if not right.WhichOneof("kind"):
        return left
    if left.WhichOneof("kind") == right.WhichOneof("kind") == "list":
        return Type(list=types_pb2.ListType(item=join(left.list.item, right.list.item)))
    if left.WhichOneof("kind") == right.WhichOneof("kind") == "map":
        return Type(map=types_pb2.MapType(value=join(left.map.value, right.map.value)))
    if left.WhichOneof("kind") == right.WhichOneof("kind") == "tuple" and len(left.tuple.items) == len(
        right.tuple.items
    ):
        items = [join(mine, theirs) for mine, theirs in zip(left.tuple.items, right.tuple.items, strict=True)]
        return Type(tuple=types_pb2.TupleType(items=items))
    return join_types(left, right)


def settled(type_: Type, site: Site | None) -> Type:
    """The type, once nothing in it is unknown. Raises WrongType."""
    if is_known(type_):
        return type_
    raise _unknown("an empty list or dict, whose items have no type", site, "take it from a typed input or operator")


def is_known(type_: Type) -> bool:
    """Whether nothing in a type is unknown."""
    match type_.WhichOneof("kind"):
        case None:
            return False
        case "list":
            return is_known(type_.list.item)
        case "map":
            return is_known(type_.map.value)
        case "tuple":
            return all(map(is_known, type_.tuple.items))
    return True


def _joined(types: list[Type], what: str, site: Site | None) -> Type:
    joined = _UNKNOWN
    for other in types:
        try:
            joined = join(joined, other)
        except BadOperands as error:
            raise _unknown(
                f"a {what} of different types: {error}", site, "give its parts names, as a NamedTuple"
            ) from None
    return joined


def _unknown(found: str, site: Site | None, fix: str) -> WrongType:
    return WrongType(
        "the type of a value is not known", site=site, expected="a value of one type", found=found, fix=fix
    )
