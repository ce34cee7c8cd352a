"""What an operator is called with: a mistake names the user's own line, what was expected, what was found, and what to write."""

from typing import Any

import pytest
from builders.marked import Marked, pointed_at
from fixtures.sdk_operators import add, area, double, increment, keep, numbers, one, split, total, total_of_map

import mwfs
from mwfs.errors import CompileError, MissingArgument, UnknownArgument, WrongType

MARKED = Marked(__file__)
line_of, error_of = MARKED.line_of, MARKED.error_of


# Wrong types.


@mwfs.workflow
def wrong_edge() -> int:
    parts = split(numbers(4))
    return increment(parts.label)  # HERE wrong edge


def test_wrong_edge_shows_both_types_and_where_the_future_came_from() -> None:
    error = error_of(wrong_edge, "wrong edge", WrongType)
    assert error.expected == "int"
    assert error.found.startswith("str from `split` (")
    assert pointed_at(error) == "parts.label"
    assert "argument `x` of operator `increment`" in str(error)
    assert str(error).startswith(f"{error.file}:{error.line}: ")


@mwfs.workflow
def wrong_edge_over_several_lines() -> int:
    return add(
        one(),
        b=double(  # HERE several lines
            1.5,
        ),
    )


def test_wrong_argument_of_a_call_over_several_lines_names_the_arguments_own_line() -> None:
    error = error_of(wrong_edge_over_several_lines, "several lines", WrongType)
    assert (error.expected, error.found.split()[0]) == ("int", "float")


@mwfs.workflow
def wrong_constant() -> int:
    return increment("three")  # HERE wrong constant


def test_wrong_constant() -> None:
    error = error_of(wrong_constant, "wrong constant", WrongType)
    assert error.expected == "int"
    assert "three" in error.found
    assert pointed_at(error) == '"three"'


@mwfs.workflow
def out_of_range() -> float:
    return keep(1.5)  # HERE range


def test_constant_out_of_the_declared_range() -> None:
    assert "1.5" in error_of(out_of_range, "range", WrongType).found


@mwfs.workflow
def wrong_element() -> int:
    return total([one(), double(2.0), one()])  # HERE element


def test_wrong_element_of_a_list_names_its_place() -> None:
    error = error_of(wrong_element, "element", WrongType)
    assert "`values[1]`" in error.message


@mwfs.workflow
def wrong_map_value() -> int:
    return total_of_map({"a": one(), "b": double(1.0)})  # HERE map


def test_wrong_value_of_a_map_names_its_key() -> None:
    assert "`values['b']`" in error_of(wrong_map_value, "map", WrongType).message


@mwfs.workflow
def wrong_map_key() -> int:
    return total_of_map({1: one()})  # HERE key


def test_map_key_that_is_no_string() -> None:
    assert "int 1" in error_of(wrong_map_key, "key", WrongType).found


@mwfs.workflow
def list_for_a_scalar() -> int:
    return increment([one()])  # HERE list for scalar


def test_list_of_futures_where_a_scalar_is_expected() -> None:
    error = error_of(list_for_a_scalar, "list for scalar", WrongType)
    assert (error.expected, error.found) == ("int", "list with futures in it")


@mwfs.workflow
def cyclic() -> int:
    values: list[Any] = []
    values.append(values)
    return total(values)  # HERE cycle


def test_list_that_contains_itself() -> None:
    assert "cycle" in error_of(cyclic, "cycle", WrongType).found


def test_errors_survive_pickling() -> None:
    import pickle

    with pytest.raises(WrongType) as caught:
        mwfs.compile(wrong_edge)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value)


# Arguments.


@mwfs.workflow
def missing_argument() -> int:
    return add(b=2)  # HERE missing


def test_missing_argument() -> None:
    error = error_of(missing_argument, "missing", MissingArgument)
    assert "`a: int`" in error.message
    assert error.expected == "add(a: int, b: int = 10, *, negate: bool = False)"
    assert "a=…" in error.fix


@mwfs.workflow
def unknown_argument() -> int:
    return add(1, negated=True)  # HERE unknown


def test_unknown_argument_suggests_the_nearest() -> None:
    error = error_of(unknown_argument, "unknown", UnknownArgument)
    assert error.fix == "write `negate=`"
    assert pointed_at(error) == "negated=True"


@mwfs.workflow
def misspelt_required_argument() -> int:
    return increment(X=1)  # HERE misspelt


def test_misspelt_required_argument_is_unknown_or_missing() -> None:
    with pytest.raises(CompileError) as caught:
        mwfs.compile(misspelt_required_argument)
    assert caught.value.line == line_of("misspelt")


@mwfs.workflow
def too_many_arguments() -> int:
    return add(1, 2, True)  # HERE too many


def test_keyword_only_argument_by_position() -> None:
    error = error_of(too_many_arguments, "too many", UnknownArgument)
    assert "negate" in error.fix
    assert pointed_at(error) == "True"


@mwfs.workflow
def argument_twice() -> int:
    return add(1, a=2)  # HERE twice


def test_argument_by_position_and_by_name() -> None:
    assert "twice" in error_of(argument_twice, "twice", UnknownArgument).message


@mwfs.operator
def placed(x: int, /, y: int = 2) -> int:
    return x + y


@mwfs.workflow
def positional_by_name() -> int:
    return placed(x=1)  # HERE positional only


@mwfs.workflow
def by_position() -> int:
    return placed(one(), y=3)


def test_positional_only_argument_by_name() -> None:
    error = error_of(positional_by_name, "positional only", UnknownArgument)
    assert error.expected == "placed(x: int, /, y: int = 2)"
    assert by_position.run_local() == by_position() == 4


@mwfs.workflow
def other_case() -> int:
    return increment(X=one())  # HERE other case


def test_argument_that_differs_by_case() -> None:
    assert error_of(other_case, "other case", UnknownArgument).fix == "write `x=`"


@mwfs.workflow
def nearly(how: str) -> float:
    match how:
        case "operator":
            increment(one)  # HERE operator itself
        case "generator":
            total(increment(n) for n in range(3))  # HERE generator given
        case "range":
            total(range(3))  # HERE range given
        case "set":
            total({1, 2})  # HERE set given
        case "dict":
            area({"width": 1.0})  # HERE dict given
    return 1.0


@pytest.mark.parametrize(
    ("how", "mark", "fix"),
    [
        ("operator", "operator itself", "call it: `one(…)`"),
        ("generator", "generator given", "square brackets"),
        ("range", "range given", "`list(…)`"),
        ("set", "set given", "`sorted(…)`"),
        ("dict", "dict given", "`Shape(…)` with the fields `width`, `height`"),
    ],
)
def test_values_that_only_need_another_form(how: str, mark: str, fix: str) -> None:
    assert fix in error_of(nearly, mark, WrongType, how=how).fix
