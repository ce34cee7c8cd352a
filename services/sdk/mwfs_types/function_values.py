"""What the lifted functions do with values. Each is total in time and memory: what would grow beyond a bound fails instead."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from mwfs_api.types.v1 import types_pb2
from mwfs_types.errors import BadValue, TypeSystemError
from mwfs_types.files import is_spilled
from mwfs_types.limits import MAX_TOGETHER_BYTES
from mwfs_types.moments import MOMENTS

Value = types_pb2.Value
Evaluation = Callable[[Sequence[Value]], Value]

#: Elements, or characters, of a result.
MAX_RESULT = 1_000_000


class FunctionFailed(TypeSystemError):
    """A function is not defined for these values: division by zero, no such key."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(error_type, message)
        #: The class that Python would raise: "ZeroDivisionError".
        self.error_type = error_type
        self.message = message

    def __str__(self) -> str:
        return f"{self.error_type}: {self.message}"


class NeedsContent(TypeSystemError):
    """An operand is an artifact whose content is needed: read it, and apply the function again."""


def check_together(sizes: Iterable[int]) -> None:
    """Raises FunctionFailed where serialised values of these sizes are too large to be one."""
    if sum(sizes) > MAX_TOGETHER_BYTES:
        raise FunctionFailed(
            "OverflowError",
            f"the values that are given together have more than {MAX_TOGETHER_BYTES:,} bytes: pass files on, or gather them in steps",
        )


SCALAR_FIELDS = {"null", "boolean", "integer", "number", "text", "data"}


def scalar_of(value: Value) -> Any:
    """A scalar as Python has it; an enum as its member's name."""
    kind = value.WhichOneof("kind")
    if kind == "null":
        return None
    assert kind is not None
    return getattr(value, kind)


def value_of(result: bool | int | float | str) -> Value:
    if isinstance(result, bool):
        return Value(boolean=result)
    if isinstance(result, int):
        if not -(1 << 63) <= result < 1 << 63:
            raise FunctionFailed("OverflowError", "the result does not fit into 64 bits; use floats")
        return Value(integer=result)
    if isinstance(result, float):
        return Value(number=result)
    if len(result) > MAX_RESULT:
        raise FunctionFailed("OverflowError", f"the result has more than {MAX_RESULT:,} characters")
    return Value(text=result)


def list_of(items: Sequence[Value]) -> Value:
    if len(items) > MAX_RESULT:
        raise FunctionFailed("OverflowError", f"the result has more than {MAX_RESULT:,} elements")
    return Value(list=types_pb2.ListValue(items=items))


def _pair(left: Value, right: Value) -> Value:
    return Value(record=types_pb2.RecordValue(fields=(left, right)))


def of_scalars(function: Callable[..., Any]) -> Evaluation:
    """Evaluates by a function of Python scalars."""

    def evaluate(operands: Sequence[Value]) -> Value:
        return value_of(function(*map(scalar_of, operands)))

    return evaluate


def power(base: float, exponent: float) -> float:
    if isinstance(base, int) and isinstance(exponent, int):
        if exponent < 0:
            raise ValueError("a negative exponent of ints gives a float: write mwfs.as_float(x) ** n")
        if abs(base) > 1 and exponent > 63:
            raise OverflowError("the result does not fit into 64 bits")
    result = base**exponent
    if isinstance(result, complex):
        raise ValueError("the result is a complex number")
    return float(result) if isinstance(result, float) else int(result)


def joined(operands: Sequence[Value]) -> Value:
    left, right = operands
    if left.WhichOneof("kind") == "list":
        return list_of([*left.list.items, *right.list.items])
    return value_of(scalar_of(left) + scalar_of(right))


def rounded(number: float, digits: int | None) -> float:
    result: float = round(number) if digits is None else round(number, max(-400, min(400, digits)))
    return result


def equal(left: Value, right: Value) -> bool:
    return scalar_of(left) == scalar_of(right) and (left.WhichOneof("kind") == "null") == (
        right.WhichOneof("kind") == "null"
    )


def _elements(value: Value) -> Sequence[Value]:
    return value.list.items


def element(operands: Sequence[Value]) -> Value:
    container, index = operands
    if container.WhichOneof("kind") == "list":
        return container.list.items[index.integer]
    return value_of(container.text[index.integer])


def entry(operands: Sequence[Value]) -> Value:
    container, key = operands
    for index, name in enumerate(container.map.keys):
        if name == key.text:
            return container.map.values[index]
    raise KeyError(key.text)


def part(operands: Sequence[Value]) -> Value:
    container, start, stop, step = operands
    part = slice(scalar_of(start), scalar_of(stop), scalar_of(step))
    if container.WhichOneof("kind") == "list":
        return list_of(list(container.list.items)[part])
    return value_of(container.text[part])


def size(operands: Sequence[Value]) -> Value:
    (container,) = operands
    match container.WhichOneof("kind"):
        case "list":
            return value_of(len(container.list.items))
        case "map":
            return value_of(len(container.map.keys))
    return value_of(len(container.text))


def holds(operands: Sequence[Value]) -> Value:
    container, sought = operands
    match container.WhichOneof("kind"):
        case "list":
            return value_of(any(equal(element, sought) for element in container.list.items))
        case "map":
            return value_of(sought.text in container.map.keys)
    return value_of(sought.text in container.text)


def entries(operands: Sequence[Value]) -> Value:
    entries = operands[0].map
    return list_of([_pair(Value(text=key), value) for key, value in zip(entries.keys, entries.values, strict=True)])


def flattened(operands: Sequence[Value]) -> Value:
    inner = operands[0].list.items
    if any(map(is_spilled, inner)):
        raise NeedsContent("flatten")
    if sum(len(one.list.items) for one in inner) > MAX_RESULT:
        raise FunctionFailed("OverflowError", f"the result has more than {MAX_RESULT:,} elements")
    return list_of([element for one in inner for element in one.list.items])


def folded(fold: Callable[[list[Any]], Any]) -> Evaluation:
    def evaluate(operands: Sequence[Value]) -> Value:
        return value_of(fold([scalar_of(element) for element in operands[0].list.items]))

    return evaluate


def total(numbers: list[Any]) -> Any:
    return sum(numbers)


def number_range(operands: Sequence[Value]) -> Value:
    numbers = range(*(operand.integer for operand in operands))
    if len(numbers) > MAX_RESULT:
        raise FunctionFailed("OverflowError", f"the range has more than {MAX_RESULT:,} numbers")
    return list_of([value_of(number) for number in numbers])


def zipped(operands: Sequence[Value]) -> Value:
    left, right = map(_elements, operands)
    if len(left) != len(right):
        raise ValueError(f"lists that are zipped have one length, found {len(left)} and {len(right)}")
    return list_of([_pair(*pair) for pair in zip(left, right, strict=True)])


def crossed(operands: Sequence[Value]) -> Value:
    left, right = map(_elements, operands)
    if len(left) * len(right) > MAX_RESULT:
        raise FunctionFailed("OverflowError", f"there are more than {MAX_RESULT:,} pairs")
    check_together([operands[0].ByteSize() * len(right), operands[1].ByteSize() * len(left)])
    return list_of([_pair(one, other) for one in left for other in right])


def whole(value: Any) -> int:
    if isinstance(value, str) and len(value) > 4000:
        raise ValueError("a text of more than 4,000 characters is no int")
    return int(value)


def truncated(number: float) -> Any:
    if isinstance(number, float) and (math.isnan(number) or math.isinf(number)):
        raise ValueError(f"{number} has no whole number next to it")
    return number


_DAY = 86_400_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(operands: Sequence[Value]) -> Value:
    text = operands[0].text
    for name in ("Duration", "Date", "Timestamp"):  # no text is two of them
        try:
            moment = MOMENTS[name].parse(text)
        except BadValue:
            continue
        if isinstance(moment, timedelta):
            return value_of(moment // _MICROSECOND)
        if isinstance(moment, datetime):
            return value_of((moment - _EPOCH) // _MICROSECOND)
        return value_of((moment.toordinal() - _EPOCH.toordinal()) * _DAY)
    raise ValueError(f"{text[:40]!r} is no date, timestamp or duration")


def date_at(operands: Sequence[Value]) -> Value:
    return MOMENTS["Date"].encode(date.fromordinal(_EPOCH.toordinal() + operands[0].integer // _DAY))


def timestamp_at(operands: Sequence[Value]) -> Value:
    return MOMENTS["Timestamp"].encode(_EPOCH + timedelta(microseconds=operands[0].integer))


def duration_of(operands: Sequence[Value]) -> Value:
    return MOMENTS["Duration"].encode(timedelta(microseconds=operands[0].integer))
