"""Of which type the result of a lifted function is: one rule for each kind of function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.assignability import is_assignable
from mwfs_types.errors import TypeSystemError
from mwfs_types.moments import MOMENTS as MOMENTS_BY_NAME
from mwfs_types.rendering import describe

Type = types_pb2.Type
TypeRule = Callable[[Sequence[Type]], Type]


class BadOperands(TypeSystemError):
    """A function is not defined for operands of these types; the message says what it takes."""

    def __init__(self, message: str, takes: str = "") -> None:
        super().__init__(message)
        #: The operands that it is defined for, in words.
        self.takes = takes


def join_types(left: Type, right: Type) -> Type:
    """The one type that values of both have. Raises BadOperands when there is none."""
    if left == right or is_assignable(right, left):
        return left
    if is_assignable(left, right):
        return right
    if is_null(left) or is_null(right):
        item = right if is_null(left) else left
        return item if item.WhichOneof("kind") == "optional" else _optional(item)
    raise BadOperands(f"{describe(left)} and {describe(right)} have no type in common")


NULL, BOOL, INT, FLOAT, STR = (
    Type(scalar=kind)
    for kind in (
        types_pb2.SCALAR_KIND_NULL,
        types_pb2.SCALAR_KIND_BOOL,
        types_pb2.SCALAR_KIND_INT,
        types_pb2.SCALAR_KIND_FLOAT,
        types_pb2.SCALAR_KIND_STRING,
    )
)


def plain(type_: Type) -> Type:
    """A type without its own constraints: 3 < Range(0, 2) + 1."""
    if not type_.HasField("constraints"):
        return type_
    plain = Type()
    plain.CopyFrom(type_)
    plain.ClearField("constraints")
    return plain


def _optional(item: Type) -> Type:
    return Type(optional=types_pb2.OptionalType(item=item))


def list_of(item: Type) -> Type:
    return Type(list=types_pb2.ListType(item=item))


def tuple_of(*items: Type) -> Type:
    return Type(tuple=types_pb2.TupleType(items=items))


def is_null(type_: Type) -> bool:
    return type_.scalar == types_pb2.SCALAR_KIND_NULL


def is_number(type_: Type) -> bool:
    """Whether it is an int or a float; `int | float` counts, and what is computed with it is a float."""
    if type_.WhichOneof("kind") == "union":
        return all(map(is_number, type_.union.arms))
    return type_.scalar in (types_pb2.SCALAR_KIND_INT, types_pb2.SCALAR_KIND_FLOAT)


def is_int(type_: Type) -> bool:
    return type_.scalar == types_pb2.SCALAR_KIND_INT


def is_bool(type_: Type) -> bool:
    return type_.scalar == types_pb2.SCALAR_KIND_BOOL


def is_str(type_: Type) -> bool:
    return type_.scalar == types_pb2.SCALAR_KIND_STRING


def _is_list(type_: Type) -> bool:
    return type_.WhichOneof("kind") == "list"


def _is_map(type_: Type) -> bool:
    return type_.WhichOneof("kind") == "map"


def _refuse(name: str, takes: str, operands: Sequence[Type]) -> BadOperands:
    found = " and ".join(describe(operand) for operand in operands)
    return BadOperands(f"{name} takes {takes}, found {found}", takes)


def numbers(name: str, *, float_result: bool = False) -> TypeRule:
    def rule(operands: Sequence[Type]) -> Type:
        if not all(map(is_number, operands)):
            raise _refuse(name, "numbers", operands)
        return INT if all(map(is_int, operands)) and not float_result else FLOAT

    return rule


def addition(operands: Sequence[Type]) -> Type:
    left, right = operands
    if is_str(left) and is_str(right):
        return STR
    if _is_list(left) and _is_list(right):
        return list_of(join_types(left.list.item, right.list.item))
    if is_number(left) and is_number(right):
        return INT if is_int(left) and is_int(right) else FLOAT
    raise _refuse("+", "two numbers, two strings or two lists", operands)


def rounding(operands: Sequence[Type]) -> Type:
    number, digits = operands
    if not is_number(number) or not (is_null(digits) or is_int(digits)):
        raise _refuse("round()", "a number and, maybe, a number of digits", operands)
    return INT if is_null(digits) else number


def _comparable(left: Type, right: Type) -> bool:
    left, right = (plain(one.optional.item) if one.WhichOneof("kind") == "optional" else one for one in (left, right))
    if is_null(left) or is_null(right):
        return True
    if left.WhichOneof("kind") == "enum":
        return right.WhichOneof("kind") == "enum" and left.enum.name == right.enum.name
    if is_number(left):
        return is_number(right)
    return left.WhichOneof("kind") == "scalar" and left.scalar == right.scalar


def equality(name: str) -> TypeRule:
    def rule(operands: Sequence[Type]) -> Type:
        if not _comparable(*operands):
            raise _refuse(name, "two scalars of one type", operands)
        return BOOL

    return rule


def ordering(name: str) -> TypeRule:
    def rule(operands: Sequence[Type]) -> Type:
        if not (all(map(is_number, operands)) or all(map(is_str, operands))):
            raise _refuse(name, "two numbers, two strings or two dates", operands)
        return BOOL

    return rule


def logic(name: str) -> TypeRule:
    def rule(operands: Sequence[Type]) -> Type:
        if all(map(is_bool, operands)):
            return BOOL
        if all(map(is_int, operands)):
            return INT
        raise _refuse(name, "two bools or two ints", operands)

    return rule


def takes(name: str, takes: str, gives: Type, *tests: Callable[[Type], bool]) -> TypeRule:
    def rule(operands: Sequence[Type]) -> Type:
        if not all(test(operand) for test, operand in zip(tests, operands, strict=True)):
            raise _refuse(name, takes, operands)
        return gives

    return rule


def choice(operands: Sequence[Type]) -> Type:
    condition, left, right = operands
    if not is_bool(condition):
        raise _refuse("select", "a bool as its condition", [condition])
    return join_types(left, right)


def default(operands: Sequence[Type]) -> Type:
    value, default = operands
    if value.WhichOneof("kind") == "optional":
        return join_types(value.optional.item, default)
    if is_null(value):
        return default
    raise _refuse("coalesce", "a value that may be None", [value])


def element(operands: Sequence[Type]) -> Type:
    container, index = operands
    if is_int(index):
        if _is_list(container):
            return container.list.item
        if is_str(container):
            return STR
    raise _refuse("indexing", "a list or a string, and an int", operands)


def entry(operands: Sequence[Type]) -> Type:
    container, key = operands
    if _is_map(container) and is_str(key):
        return container.map.value
    raise _refuse("indexing", "a dict and a string", operands)


def part(operands: Sequence[Type]) -> Type:
    container, *bounds = operands
    if (_is_list(container) or is_str(container)) and all(is_int(one) or is_null(one) for one in bounds):
        return container
    raise _refuse("slicing", "a list or a string, and ints", operands)


def length(operands: Sequence[Type]) -> Type:
    (container,) = operands
    if _is_list(container) or _is_map(container) or is_str(container):
        return INT
    raise _refuse("length", "a list, a dict or a string", operands)


def search(operands: Sequence[Type]) -> Type:
    container, sought = operands
    fits = (
        (_is_list(container) and _comparable(plain(container.list.item), sought))
        or (_is_map(container) and is_str(sought))
        or (is_str(container) and is_str(sought))
    )
    if not fits:
        raise _refuse("contains", "a list of scalars, a dict or a string, and what is looked for", operands)
    return BOOL


def of_map(name: str, gives: Callable[[Type], Type]) -> TypeRule:
    def rule(operands: Sequence[Type]) -> Type:
        if not _is_map(operands[0]):
            raise _refuse(name, "a dict", operands)
        return list_of(gives(operands[0].map.value))

    return rule


def flattened(operands: Sequence[Type]) -> Type:
    (outer,) = operands
    if _is_list(outer) and _is_list(outer.list.item):
        return plain(outer.list.item)
    raise _refuse("flatten", "a list of lists", operands)


def of_items(name: str, takes: str, *tests: Callable[[Type], bool]) -> TypeRule:
    def rule(operands: Sequence[Type]) -> Type:
        (container,) = operands
        if _is_list(container) and any(test(container.list.item) for test in tests):
            return plain(container.list.item)
        raise _refuse(name, f"a list of {takes}", operands)

    return rule


def pairs(name: str) -> TypeRule:
    def rule(operands: Sequence[Type]) -> Type:
        if not all(map(_is_list, operands)):
            raise _refuse(name, "two lists", operands)
        return list_of(tuple_of(*(operand.list.item for operand in operands)))

    return rule


MOMENTS = {name: MOMENTS_BY_NAME[name].type for name in ("Date", "Timestamp", "Duration")}


def is_moment(type_: Type) -> bool:
    """Whether it is a date, a timestamp or a duration."""
    return type_.semantic.name in MOMENTS


@dataclass(frozen=True, slots=True)
class MomentSteps:
    """How dates are computed with: the function of their microseconds, and what makes a date or duration of the result."""

    function: int
    back: int | None = None
    #: Of durations only the whole days count, rounded down: Python moves a date by `timedelta.days`.
    whole_days: bool = False


MICROSECONDS_OF_A_DAY = 86_400_000_000
_SUMS: dict[tuple[str, ...], str] = {
    ("Date", "Duration"): "Date",
    ("Timestamp", "Duration"): "Timestamp",
    ("Duration", "Duration"): "Duration",
}
_DIFFERENCES: dict[tuple[str, ...], str] = {
    **_SUMS,
    ("Date", "Date"): "Duration",
    ("Timestamp", "Timestamp"): "Duration",
}
_BACK = {
    "Date": dag_pb2.FUNCTION_TO_DATE,
    "Timestamp": dag_pb2.FUNCTION_TO_TIMESTAMP,
    "Duration": dag_pb2.FUNCTION_TO_DURATION,
}
_COMPARISONS = frozenset(
    dag_pb2.Function.Value(f"FUNCTION_{name}")
    for name in ("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL")
)


def moment_steps(function: int, operands: Sequence[Type]) -> MomentSteps | None:
    """How a function of dates, timestamps and durations is computed, as Python does it; None when it is none, or not defined."""
    if not any(map(is_moment, operands)):
        return None
    names = tuple(operand.semantic.name or ("int" if is_int(operand) else "") for operand in operands)
    if function in _COMPARISONS:
        return MomentSteps(function) if names[0] == names[1] else None
    result: str | None = None
    match function:
        case dag_pb2.FUNCTION_ADD:
            result = _SUMS.get(names) or _SUMS.get(names[::-1])
        case dag_pb2.FUNCTION_SUBTRACT:
            result = _DIFFERENCES.get(names)
        case dag_pb2.FUNCTION_MULTIPLY:
            result = "Duration" if sorted(names) == ["Duration", "int"] else None
        case dag_pb2.FUNCTION_DIVIDE:
            return MomentSteps(function) if names == ("Duration", "Duration") else None
        case dag_pb2.FUNCTION_NEGATE | dag_pb2.FUNCTION_ABSOLUTE:
            result = "Duration" if names == ("Duration",) else None
    return MomentSteps(function, _BACK[result], whole_days=result == "Date") if result else None


def is_scalar(type_: Type) -> bool:
    return is_number(type_) or is_bool(type_) or is_str(type_)
