"""What narrows a type: nonsense is refused where it is written, and what is said twice holds both times."""

import math
from typing import Annotated, Any

import pytest

from mwfs_types.annotations import type_of
from mwfs_types.constraints import Choices, Length, Pattern, Range, Unit
from mwfs_types.errors import BadValue, UnsupportedType
from mwfs_types.json_schema import value_from_json
from mwfs_types.rendering import describe
from mwfs_types.values import encode

Share = Annotated[float, Range(0, 1)]


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (Annotated[str, Pattern("(")], "'\\(' is no regular expression: missing \\)"),
        (Annotated[str, Pattern("a)(b")], "is no regular expression: unbalanced parenthesis"),
        (Annotated[str, Pattern("(?i)abc")], r"Write the flags of a group, as in \(\?i:…\)\."),
        (Annotated[str, Pattern(b"a")], "A pattern is a str, found bytes"),  # type: ignore[arg-type]
        (Annotated[str, Pattern("a"), Pattern("b")], "A text has one pattern, found 'a' and 'b'"),
        (Annotated[float, Choices(1, math.nan)], "choices must be finite"),
        (Annotated[int, Choices()], "at least one value"),
        (Annotated[str, Choices("a", "b"), Choices("c")], "None of the choices is one of 'a', 'b'"),
        (Annotated[int, Range(0.2, 0.8)], "the range is empty"),
        (Annotated[int, Range(exclusive_minimum=0, exclusive_maximum=1)], "the range is empty"),
        (Annotated[Share, Range(2, 3)], "the range is empty"),
        (Annotated[int, Range(0, 2**53 + 1)], "9007199254740993 is none. Write 9007199254740992"),
        (Annotated[Annotated[str, Length(3)], Length(maximum=2)], "min_length is above max_length"),
        (Annotated[float, Unit("s"), Unit("ms")], "one unit, found 's' and 'ms'"),
    ],
)
def test_constraints_that_nothing_could_meet_are_refused(annotation: Any, message: str) -> None:
    with pytest.raises(UnsupportedType, match=message):
        type_of(annotation)


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (Annotated[Share, Range(0.5, 9)], "Annotated[float, Range(minimum=0.5, maximum=1)]"),
        (
            Annotated[Share, Range(exclusive_maximum=1)],
            "Annotated[float, Range(minimum=0, maximum=1, exclusive_maximum=1)]",
        ),
        (Annotated[Annotated[str, Length(1, 5)], Length(3, 9)], "Annotated[str, Length(minimum=3, maximum=5)]"),
        (Annotated[str, Choices("a", "b"), Choices("b", "b", "c")], "Literal['b']"),
        (Annotated[float, Unit("s"), Unit("s")], "Annotated[float, Unit('s')]"),
        (Annotated[str, Pattern("a"), Pattern("a")], "Annotated[str, Pattern('a')]"),
        (Annotated[int, Range(0, 1_234_567)], "Annotated[int, Range(minimum=0, maximum=1234567)]"),
        (Annotated[int, Range(0, 2**63 - 1)], "Annotated[int, Range(minimum=0, maximum=9.223372036854776e+18)]"),
    ],
)
def test_an_alias_that_is_narrowed_further_keeps_what_it_was(annotation: Any, words: str) -> None:
    assert describe(type_of(annotation)) == words


def test_bounds_are_told_to_the_last_digit() -> None:
    with pytest.raises(BadValue, match="expected a number from 0 up to 1234567, found 1234568"):
        encode(1_234_568, type_of(Annotated[int, Range(0, 1_234_567)]))


@pytest.mark.parametrize("annotation", [int | float, int | str | None, dict[str, bool | int | float]])
def test_a_long_int_does_not_become_a_float_where_ints_are_taken(annotation: Any) -> None:
    given: Any = {"a": 2**64 + 1} if annotation == dict[str, bool | int | float] else 2**64 + 1
    for read in (encode, value_from_json):
        with pytest.raises(BadValue, match="an int of 64 bits"):
            read(given, type_of(annotation))
    assert encode(2**64, type_of(float | str)).number == 2.0**64
