"""Whether the arms of a union can be told apart by their values: on the way a value does not carry the name of its class."""

from itertools import combinations, product

from mwfs_api.types.v1 import types_pb2
from mwfs_types.checking import kinds_of
from mwfs_types.constraints import plain_choice
from mwfs_types.moments import MOMENTS
from mwfs_types.semantics import layouts_of

Type = types_pb2.Type

_NULL = Type(scalar=types_pb2.SCALAR_KIND_NULL)
_TEXT = Type(scalar=types_pb2.SCALAR_KIND_STRING)


def confusable_arms(arms: list[Type]) -> tuple[Type, Type] | None:
    """The first two arms of which one value could be either, and another object each time; None when there are none."""
    return next((pair for pair in combinations(arms, 2) if _confusable(*pair)), None)


def _confusable(left: Type, right: Type) -> bool:
    if left == right:
        return False
    mine, yours = _alternatives(left), _alternatives(right)
    if len(mine) > 1 or len(yours) > 1:
        return any(_confusable(one, other) for one, other in product(mine, yours))
    kinds = left.WhichOneof("kind"), right.WhichOneof("kind")
    match kinds:
        case ("list", "list"):
            return _confusable(left.list.item, right.list.item)
        case ("map", "map"):
            return _confusable(left.map.value, right.map.value)
        case ("tuple", "tuple"):
            items = list(zip(left.tuple.items, right.tuple.items, strict=False))
            return share_values(left, right) and any(_confusable(one, other) for one, other in items)
        case ("scalar", "scalar"):
            return False
    # Objects of two classes, or of a class and a plain one.
    return share_values(left, right)


def share_values(left: Type, right: Type) -> bool:
    """Whether some value is of both types; ranges, lengths and patterns are not asked."""
    return any(_share_form(one, other) for one, other in product(_forms(left), _forms(right)))


def _share_form(left: Type, right: Type) -> bool:
    match left.WhichOneof("kind"), right.WhichOneof("kind"):
        case ("scalar", "scalar"):
            choices = [{plain_choice(one) for one in type_.constraints.choices} for type_ in (left, right)]
            alike = not set(kinds_of(left.scalar)).isdisjoint(kinds_of(right.scalar))
            return alike and (not all(choices) or not choices[0].isdisjoint(choices[1]))
        case ("enum", "enum"):
            return not set(left.enum.members).isdisjoint(right.enum.members)
        case ("record" | "tuple", "record" | "tuple"):
            mine, yours = _parts(left), _parts(right)
            return len(mine) == len(yours) and all(
                share_values(one, other) for one, other in zip(mine, yours, strict=True)
            )
        case (one, other):
            return one == other
    raise AssertionError


def _parts(type_: Type) -> list[Type]:
    return list(type_.tuple.items) or [field.type for field in type_.record.fields]


def _alternatives(type_: Type) -> list[Type]:
    match type_.WhichOneof("kind"):
        case "optional":
            return [_NULL, *_alternatives(type_.optional.item)]
        case "union":
            return list(type_.union.arms)
    return [type_]


def _forms(type_: Type) -> list[Type]:
    """What values of the type are made of; a semantic type that is left stands for an artifact."""
    if type_.WhichOneof("kind") in ("optional", "union"):
        return [form for one in _alternatives(type_) for form in _forms(one)]
    if type_.WhichOneof("kind") != "semantic":
        return [type_]
    if type_.semantic.name in MOMENTS:
        return [_TEXT]
    layouts = layouts_of(type_.semantic)
    return [form for layout in layouts for form in _forms(layout)] or [type_]
