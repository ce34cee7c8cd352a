"""What narrows a type inside `Annotated`: ranges, lengths, patterns, choices, units, and documentation."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from mwfs_api.types.v1 import types_pb2
from mwfs_types.errors import UnsupportedType

#: Longest regular expression that a type may carry.
MAX_PATTERN = 1000


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of a number: `Annotated[float, Range(0.0, 0.5)]`. `minimum` and `maximum` are inclusive."""

    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: float | None = None
    exclusive_maximum: float | None = None


@dataclass(frozen=True, slots=True)
class Length:
    """Bounds of the length of a string or a list, both inclusive."""

    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression that the whole string must match."""

    regex: str


@dataclass(frozen=True, slots=True, init=False)
class Choices:
    """The only values allowed: `Annotated[str, Choices("adam", "sgd")]`; `Literal["adam", "sgd"]` means the same."""

    values: tuple[object, ...]

    def __init__(self, *values: object) -> None:
        object.__setattr__(self, "values", values)


@dataclass(frozen=True, slots=True)
class Unit:
    """What a number counts, such as `Unit("seconds")`. Two different units are never assignable."""

    name: str


@dataclass(frozen=True, slots=True)
class Doc:
    """What a parameter or field is for, shown by forms and `--help`."""

    documentation: str


def documentation_of(metadata: Iterable[object]) -> str:
    """The text of the last `Doc` (or PEP 727 `Doc`) among the metadata of an `Annotated`."""
    found = ""
    for item in metadata:
        text = getattr(item, "documentation", None)
        if isinstance(text, str):
            found = text
    return found


def narrow(type_: types_pb2.Type, item: object, encode_choice: Callable[[object], types_pb2.Value]) -> None:
    """Adds one piece of `Annotated` metadata to `type_`. Metadata that is not about values is left alone, as PEP 593 asks.

    What is said twice, as by an alias that is narrowed further, holds both times.
    Also understands the `annotated-types` vocabulary (Ge, Gt, Le, Lt, Interval, MinLen, MaxLen, Len) by its attributes.
    """
    constraints = type_.constraints if type_.HasField("constraints") else types_pb2.Constraints()
    match item:
        case Range():
            bounds = {
                "minimum": item.minimum,
                "maximum": item.maximum,
                "exclusive_minimum": item.exclusive_minimum,
                "exclusive_maximum": item.exclusive_maximum,
            }
            _set_bounds(type_, constraints, bounds)
        case Length():
            _set_lengths(type_, constraints, item.minimum, item.maximum)
        case Pattern():
            _set_pattern(constraints, item.regex)
        case Choices():
            _set_choices(constraints, list(map(encode_choice, item.values)))
        case Unit():
            if constraints.unit not in ("", item.name):
                raise UnsupportedType(f"A number has one unit, found {constraints.unit!r} and {item.name!r}.")
            constraints.unit = item.name
        case _ if type(item).__module__.startswith("annotated_types"):
            names = {"ge": "minimum", "le": "maximum", "gt": "exclusive_minimum", "lt": "exclusive_maximum"}
            _set_bounds(type_, constraints, {name: getattr(item, key, None) for key, name in names.items()})
            _set_lengths(type_, constraints, getattr(item, "min_length", None), getattr(item, "max_length", None))
        case _:
            return
    if constraints.ByteSize():
        type_.constraints.CopyFrom(constraints)


def _set_bounds(type_: types_pb2.Type, constraints: types_pb2.Constraints, bounds: Mapping[str, object]) -> None:
    for name, bound in bounds.items():
        if bound is None:
            continue
        if type_.scalar not in (types_pb2.SCALAR_KIND_INT, types_pb2.SCALAR_KIND_FLOAT):
            raise UnsupportedType(
                "A range only narrows int and float. Put it on the number itself, inside any list[…]."
            )
        if isinstance(bound, bool) or not isinstance(bound, int | float):
            raise UnsupportedType(f"The bounds of a range are numbers, found {type(bound).__name__}.")
        try:
            number = float(bound)
        except OverflowError:
            raise UnsupportedType(f"The {name} of a range is too large for a float.") from None
        # Rounding does no harm where every int of 64 bits is on the same side of both.
        if number != bound and -(1 << 63) <= bound < (1 << 63) - 1 and not math.isnan(number):
            raise UnsupportedType(f"The {name} of a range is a float, and {bound} is none. Write {int(number)}.")
        if constraints.HasField(name):  # type: ignore[arg-type]
            number = (max if name.endswith("minimum") else min)(number, getattr(constraints, name))
        setattr(constraints, name, number)


def _set_lengths(type_: types_pb2.Type, constraints: types_pb2.Constraints, low: object, high: object) -> None:
    for name, bound in (("min_length", low), ("max_length", high)):
        if bound is None or (name == "min_length" and bound == 0):
            continue
        if type_.scalar != types_pb2.SCALAR_KIND_STRING and type_.WhichOneof("kind") != "list":
            raise UnsupportedType("A length only narrows str and list. Write Annotated[list[…], Length(1)].")
        if isinstance(bound, bool) or not isinstance(bound, int) or not 0 <= bound < 1 << 63:
            raise UnsupportedType(f"The bounds of a length are integers from 0, found {bound!r}.")
        if constraints.HasField(name):  # type: ignore[arg-type]
            bound = (max if name == "min_length" else min)(bound, getattr(constraints, name))
        setattr(constraints, name, bound)


def _set_pattern(constraints: types_pb2.Constraints, regex: object) -> None:
    if not isinstance(regex, str):
        raise UnsupportedType(f"A pattern is a str, found {type(regex).__name__}.")
    if constraints.pattern not in ("", regex):
        raise UnsupportedType(
            f"A text has one pattern, found {constraints.pattern!r} and {regex!r}. Write both as one."
        )
    try:
        re.compile(regex)
        # As JSON Schema has it: inside of a group.
        re.compile(f"^(?:{regex})$")
    except (re.error, RecursionError, OverflowError) as error:
        fix = " Write the flags of a group, as in (?i:…)." if "global flags" in str(error) else ""
        raise UnsupportedType(f"The pattern {regex[:100]!r} is no regular expression: {error}.{fix}") from None
    constraints.pattern = regex


def _set_choices(constraints: types_pb2.Constraints, values: list[types_pb2.Value]) -> None:
    if not values:
        raise UnsupportedType("Choices name at least one value.")
    # Each once; of an alias that is narrowed further, those that both have.
    known = {one.SerializeToString() for one in constraints.choices}
    kept = {one.SerializeToString(): one for one in values if not known or one.SerializeToString() in known}
    if not kept:
        raise UnsupportedType(f"None of the choices is one of {describe_choices(constraints)}.")
    del constraints.choices[:]
    constraints.choices.extend(kept.values())


def problem_in(type_: types_pb2.Type) -> str:
    """Why the constraints of `type_` make no sense, or "". Does not compile the pattern."""
    if not type_.HasField("constraints"):
        return ""
    constraints = type_.constraints
    number = type_.scalar in (types_pb2.SCALAR_KIND_INT, types_pb2.SCALAR_KIND_FLOAT)
    text = type_.scalar == types_pb2.SCALAR_KIND_STRING
    sized = text or type_.WhichOneof("kind") == "list"
    bounds = [name for name in _BOUNDS if constraints.HasField(name)]
    if bounds and not number:
        return "a range only narrows int and float"
    if any(not -_INFINITY < getattr(constraints, name) < _INFINITY for name in bounds):
        return "the bounds of a range must be finite"
    if _is_empty(interval(constraints), whole=type_.scalar == types_pb2.SCALAR_KIND_INT):
        return "the range is empty"
    if (constraints.HasField("min_length") or constraints.HasField("max_length")) and not sized:
        return "a length only narrows str and list"
    if constraints.HasField("max_length") and constraints.min_length > constraints.max_length:
        return "min_length is above max_length"
    if constraints.pattern and not text:
        return "a pattern only narrows str"
    if len(constraints.pattern) > MAX_PATTERN:
        return f"a pattern has at most {MAX_PATTERN} characters"
    if constraints.unit and not number:
        return "only numbers have a unit"
    if len(constraints.unit) > 64 or not (constraints.unit == "" or constraints.unit.isprintable()):
        return "a unit is at most 64 printable characters"
    if constraints.choices and type_.scalar in (0, types_pb2.SCALAR_KIND_NULL):
        return "choices only narrow scalars"
    if not all(math.isfinite(choice.number) for choice in constraints.choices):
        return "choices must be finite"
    return ""


def _is_empty(bounds: tuple[tuple[float, bool], tuple[float, bool]], *, whole: bool) -> bool:
    (low, low_open), (high, high_open) = bounds
    if low >= high:
        return low > high or low_open or high_open
    if not whole or math.isinf(low) or math.isinf(high):
        return False
    first = math.floor(low) + 1 if low_open else math.ceil(low)
    return first > (math.ceil(high) - 1 if high_open else math.floor(high))


_INFINITY = float("inf")
_BOUNDS: Final = ("minimum", "maximum", "exclusive_minimum", "exclusive_maximum")


def interval(constraints: types_pb2.Constraints) -> tuple[tuple[float, bool], tuple[float, bool]]:
    """((low, open), (high, open)) of a range; infinite where there is no bound."""
    lows = [(-_INFINITY, False)]
    highs = [(_INFINITY, False)]
    if constraints.HasField("minimum"):
        lows.append((constraints.minimum, False))
    if constraints.HasField("exclusive_minimum"):
        lows.append((constraints.exclusive_minimum, True))
    if constraints.HasField("maximum"):
        highs.append((constraints.maximum, False))
    if constraints.HasField("exclusive_maximum"):
        highs.append((constraints.exclusive_maximum, True))
    return max(lows), min(highs, key=lambda bound: (bound[0], not bound[1]))


def narrowing_of(type_: types_pb2.Type, *, patterns: bool = True) -> Callable[[object], str] | None:
    """A function from a plain value to what was expected of it ("" when it is fine); None when the type is not narrowed.

    Lists are tested with anything that has a length. `patterns=False` leaves regular expressions out: a server must not run one
    that a stranger wrote, because Python cannot bound the time that it takes.
    """
    if not type_.HasField("constraints"):
        return None
    constraints = type_.constraints
    tests: list[Callable[[object], str]] = []
    if any(constraints.HasField(name) for name in _BOUNDS):
        (low, low_open), (high, high_open) = interval(constraints)
        words = describe_range(constraints)

        def in_range(value: object) -> str:
            number: float = value  # type: ignore[assignment]
            above = number > low if low_open else number >= low
            below = number < high if high_open else number <= high
            return "" if above and below else f"a number {words}"

        tests.append(in_range)
    if constraints.HasField("min_length") or constraints.HasField("max_length"):
        shortest = constraints.min_length
        longest = constraints.max_length if constraints.HasField("max_length") else 1 << 63
        limits = f"at least {shortest}" if longest == 1 << 63 else f"{shortest} to {longest}"
        tests.append(lambda value: "" if shortest <= len(value) <= longest else f"a length of {limits}")  # type: ignore[arg-type]
    if constraints.pattern and patterns:
        try:
            regex = re.compile(constraints.pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise UnsupportedType(f"The pattern {constraints.pattern!r} is no regular expression: {error}.") from None
        tests.append(lambda value: "" if regex.fullmatch(value) else f"text that matches {regex.pattern!r}")  # type: ignore[call-overload]
    if constraints.choices:
        # The kind was checked before, so True cannot pass as 1 here; 1 does pass as 1.0.
        allowed = frozenset(map(plain_choice, constraints.choices))
        listed = describe_choices(constraints)
        tests.append(lambda value: "" if value in allowed else f"one of {listed}")
    if not tests:
        return None
    if len(tests) == 1:
        return tests[0]
    return lambda value: next(filter(None, (test(value) for test in tests)), "")


def plain_choice(value: types_pb2.Value) -> bool | int | float | str | bytes | None:
    """The Python value of a scalar Value; None for anything else."""
    kind = value.WhichOneof("kind")
    if kind in ("boolean", "integer", "number", "text", "data"):
        plain: bool | int | float | str | bytes = getattr(value, kind)
        return plain
    return None


def describe_range(constraints: types_pb2.Constraints) -> str:
    """A range in words, such as `from 0 to below 1`."""
    (low, low_open), (high, high_open) = interval(constraints)
    lower = "" if low == -_INFINITY else f"{'above' if low_open else 'from'} {describe_bound(low)}"
    upper = "" if high == _INFINITY else f"{'below' if high_open else 'up to'} {describe_bound(high)}"
    return " ".join(filter(None, (lower, upper)))


def describe_bound(bound: float) -> str:
    """A bound as one would write it, without losing a digit."""
    return str(int(bound)) if abs(bound) < 1e16 and bound == int(bound) else repr(bound)


def describe_choices(constraints: types_pb2.Constraints) -> str:
    """The choices as the user would write them, shortened after twenty."""
    shown = [repr(plain_choice(choice)) for choice in constraints.choices[:20]]
    return ", ".join(shown) + (", …" if len(constraints.choices) > 20 else "")
