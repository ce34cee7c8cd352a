"""The lifted functions do what Python does, on the types that the table says."""

import operator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.annotations import type_of
from mwfs_types.dag_functions import (
    TABLE,
    BadOperands,
    FunctionFailed,
    NeedsContent,
    apply,
    arity_of,
    render,
    result_type,
)
from mwfs_types.function_types import MICROSECONDS_OF_A_DAY, is_moment, moment_steps
from mwfs_types.values import check, decode, encode

INTS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False)
NUMBERS = INTS | FLOATS

BINARY = {
    "ADD": operator.add,
    "SUBTRACT": operator.sub,
    "MULTIPLY": operator.mul,
    "DIVIDE": operator.truediv,
    "FLOOR_DIVIDE": operator.floordiv,
    "MODULO": operator.mod,
    "LESS": operator.lt,
    "LESS_EQUAL": operator.le,
    "GREATER": operator.gt,
    "GREATER_EQUAL": operator.ge,
    "EQUAL": operator.eq,
    "NOT_EQUAL": operator.ne,
}


def number(name: str) -> int:
    return dag_pb2.Function.Value(f"FUNCTION_{name}")


def called(name: str, *operands: tuple[Any, Any]) -> Any:
    """The function applied to (value, annotation) pairs, decoded, once its result has the type that the table says."""
    types = [type_of(annotation) for _, annotation in operands]
    kind = result_type(number(name), types)
    result = apply(number(name), [encode(value, type_) for (value, _), type_ in zip(operands, types, strict=True)])
    check(result, kind)
    return result


def python(value: types_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "list":
        return [python(item) for item in value.list.items]
    if kind == "record":
        return tuple(python(item) for item in value.record.fields)
    return None if kind == "null" else getattr(value, kind or "")


@pytest.mark.parametrize("name", BINARY)
@given(left=NUMBERS, right=NUMBERS)
def test_numbers_do_what_python_does_or_fail_like_python(name: str, left: float, right: float) -> None:
    operands = ((left, type(left)), (right, type(right)))
    try:
        expected = BINARY[name](left, right)
    except ArithmeticError as error:
        with pytest.raises(FunctionFailed, match=type(error).__name__):
            called(name, *operands)
        return
    if isinstance(expected, int) and not -(2**63) <= expected < 2**63:
        with pytest.raises(FunctionFailed, match="OverflowError"):
            called(name, *operands)
        return
    result = python(called(name, *operands))
    assert result == expected or (result != result and expected != expected)
    assert type(result) is type(expected)


@given(
    values=st.lists(INTS, max_size=6), start=st.none() | st.integers(-8, 8), step=st.sampled_from([None, 1, 2, -1, 3])
)
def test_slices_are_those_of_python(values: list[int], start: int | None, step: int | None) -> None:
    bounds = [(bound, type(bound)) for bound in (start, None, step)]
    assert python(called("SLICE", (values, list[int]), *bounds)) == values[start::step]


@given(text=st.text(max_size=8), sought=st.text(max_size=2))
def test_strings_join_and_are_searched(text: str, sought: str) -> None:
    assert python(called("ADD", (text, str), (sought, str))) == text + sought
    assert python(called("CONTAINS", (text, str), (sought, str))) == (sought in text)
    assert python(called("LENGTH", (text, str))) == len(text)


def test_collections_give_what_they_hold() -> None:
    ages = {"ada": 36, "bob": 7}
    assert python(called("ENTRY", (ages, dict[str, int]), ("bob", str))) == 7
    assert python(called("KEYS", (ages, dict[str, int]))) == ["ada", "bob"]
    assert python(called("VALUES", (ages, dict[str, int]))) == [36, 7]
    assert python(called("ELEMENT", ([1, 2, 3], list[int]), (-1, int))) == 3
    assert python(called("FLATTEN", ([[1], [], [2, 3]], list[list[int]]))) == [1, 2, 3]
    assert python(called("SUM", ([1.5, 2.0], list[float]))) == 3.5
    assert python(called("MAXIMUM", (["a", "b"], list[str]))) == "b"
    assert python(called("ALL", ([True, False], list[bool]))) is False
    assert python(called("RANGE", (0, int), (6, int), (2, int))) == [0, 2, 4]


def test_choices_between_values() -> None:
    assert python(called("SELECT", (True, bool), (1, int), (2.5, float))) == 1
    assert python(called("COALESCE", (None, int | None), (4, int))) == 4
    assert python(called("IS_NONE", (None, int | None))) is True
    assert python(called("EQUAL", (None, int | None), (4, int))) is False


@pytest.mark.parametrize(
    ("name", "operands", "error"),
    [
        ("DIVIDE", ((1, int), (0, int)), "ZeroDivisionError"),
        ("ELEMENT", (([1], list[int]), (1, int)), "IndexError"),
        ("ENTRY", (({"a": 1}, dict[str, int]), ("b", str)), "KeyError"),
        ("MINIMUM", (([], list[int]),), "ValueError"),
        ("POWER", ((2, int), (64, int)), "OverflowError"),
        ("POWER", ((2, int), (-1, int)), "ValueError"),
        ("POWER", ((-8.0, float), (0.5, float)), "ValueError"),
        ("RANGE", ((0, int), (2**62, int), (1, int)), "OverflowError"),
        ("RANGE", ((0, int), (1, int), (0, int)), "ValueError"),
        ("TO_INT", (("x", str),), "ValueError"),
        ("TO_INT", ((float("nan"), float),), "ValueError"),
    ],
)
def test_values_that_do_not_work_fail_as_in_python(name: str, operands: Any, error: str) -> None:
    with pytest.raises(FunctionFailed) as failed:
        called(name, *operands)
    assert failed.value.error_type == error


@pytest.mark.parametrize(
    ("name", "annotations"),
    [
        ("ADD", (int, str)),
        ("ADD", (bool, int)),
        ("LESS", (str, int)),
        ("EQUAL", (list[int], list[int])),
        ("NOT", (int,)),
        ("FLATTEN", (list[int],)),
        ("SELECT", (bool, int, str)),
        ("ELEMENT", (dict[str, int], int)),
        ("ADD", (int,)),
    ],
)
def test_types_that_do_not_work_are_refused_with_what_is_taken(name: str, annotations: tuple[Any, ...]) -> None:
    with pytest.raises(BadOperands):
        result_type(number(name), [type_of(annotation) for annotation in annotations])


def test_an_artifact_is_asked_for_its_content() -> None:
    spilled = types_pb2.Value(artifact=types_pb2.Artifact(digest="sha256:" + "0" * 64, encoding="value"))
    with pytest.raises(NeedsContent):
        apply(number("LENGTH"), [spilled])


def test_every_function_has_a_row_and_a_form() -> None:
    assert set(TABLE) == {value for value in dag_pb2.Function.values() if value}
    for value in TABLE:
        assert "?" not in render(value, ["x"] * arity_of(value))


def test_constraints_do_not_survive_arithmetic() -> None:
    from typing import Annotated

    from mwfs_types.constraints import Range

    small = type_of(Annotated[int, Range(0, 2)])
    assert result_type(number("ADD"), [small, small]) == type_of(int)
    assert decode(apply(number("ADD"), [encode(2, small), encode(2, small)]), int) == 4


DATES = st.dates()
TIMES = st.datetimes(timezones=st.just(UTC))
SPANS = st.timedeltas(timedelta(days=-100_000), timedelta(days=100_000))


def in_steps(name: str, *operands: tuple[Any, Any]) -> Any:
    """A function of dates as the compiler puts it together."""
    function = number(name)
    steps = moment_steps(function, [type_of(annotation) for _, annotation in operands])
    assert steps is not None
    counted = []
    for operand in operands:
        if is_moment(type_of(operand[1])):
            operand = python(called("MICROSECONDS", operand)), int
            if steps.whole_days and operands[len(counted)][1] is timedelta:
                operand = operand[0] // MICROSECONDS_OF_A_DAY * MICROSECONDS_OF_A_DAY, int
        counted.append(operand)
    result = called(name, *counted)
    if steps.back is None:
        return python(result)
    kind = result_type(steps.back, [type_of(int)])
    classes = {type_of(cls).semantic.name: cls for cls in (date, datetime, timedelta)}
    return decode(apply(steps.back, [result]), classes[kind.semantic.name])


@given(day=DATES, moment=TIMES, other=DATES, later=TIMES, span=SPANS, length=SPANS)
def test_dates_are_computed_with_as_in_python(
    day: date, moment: datetime, other: date, later: datetime, span: timedelta, length: timedelta
) -> None:
    for name in ("LESS", "EQUAL", "GREATER_EQUAL"):
        for left, right, kind in ((day, other, date), (moment, later, datetime), (span, length, timedelta)):
            assert in_steps(name, (left, kind), (right, kind)) == BINARY[name](left, right)
    for left, right, annotations in (
        (day, span, (date, timedelta)),
        (span, day, (timedelta, date)),
        (moment, span, (datetime, timedelta)),
        (span, length, (timedelta, timedelta)),
        (day, other, (date, date)),
        (moment, later, (datetime, datetime)),
    ):
        for name in ("ADD", "SUBTRACT"):
            try:
                expected = BINARY[name](left, right)
            except OverflowError:
                with pytest.raises(FunctionFailed):
                    in_steps(name, (left, annotations[0]), (right, annotations[1]))
                continue
            except TypeError:
                assert moment_steps(number(name), [type_of(one) for one in annotations]) is None
                continue
            assert in_steps(name, (left, annotations[0]), (right, annotations[1])) == expected


def test_a_number_that_may_be_an_int_or_a_float_is_a_number() -> None:
    either = int | float
    assert result_type(number("ADD"), [type_of(either), type_of(int)]) == type_of(float)
    assert python(called("MULTIPLY", (3, either), (2, int))) == 6
    assert python(called("LESS", (3, either), (2.5, either))) is False
