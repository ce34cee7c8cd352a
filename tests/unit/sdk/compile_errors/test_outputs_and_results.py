"""What is asked of an operator's result, and what a workflow returns."""

from dataclasses import dataclass
from typing import NamedTuple

import pytest
from builders.marked import Marked, pointed_at
from fixtures.sdk_operators import double, numbers, one, shape_of, split, total

import mwfs
from mwfs.errors import UndeclaredOutput, WrongResult

error_of = Marked(__file__).error_of


# Outputs.


@mwfs.workflow
def undeclared_output() -> int:
    parts = split(numbers(4))
    return total(parts.trian)  # HERE undeclared


def test_undeclared_output_suggests_the_nearest() -> None:
    error = error_of(undeclared_output, "undeclared", UndeclaredOutput)
    assert error.expected == "one of `train`, `test`, `label`"
    assert error.fix == "write `.train`"
    assert pointed_at(error) == "parts.trian"


@mwfs.workflow
def undeclared_field_of_a_single_result() -> float:
    return double(one().real)  # HERE field of int


def test_field_of_a_scalar() -> None:
    error_of(undeclared_field_of_a_single_result, "field of int", UndeclaredOutput)


@mwfs.workflow
def undeclared_field_of_a_record() -> float:
    return double(shape_of(1.0).depth)  # HERE field of record


def test_undeclared_field_of_a_dataclass_result() -> None:
    error = error_of(undeclared_field_of_a_record, "field of record", UndeclaredOutput)
    assert error.expected == "one of `width`, `height`"


# Results.


class Iris(NamedTuple):
    model: int
    mse: float


@mwfs.workflow
def returns_undeclared_name() -> Iris:
    model = one()
    return Iris(model=model, logloss=double(model))  # HERE logloss


def test_sample_that_declares_mse_and_returns_logloss() -> None:
    error = error_of(returns_undeclared_name, "logloss", WrongResult)
    assert error.expected == "Iris(model, mse)"
    assert error.found == "`logloss=`"


@mwfs.workflow
def returns_dict_with_wrong_names() -> Iris:
    model = one()
    if len(Iris._fields) > 2:
        return Iris(1, 2.0)
    return {"model": model, "logloss": double(model)}  # HERE dict


def test_dict_with_undeclared_names() -> None:
    error = error_of(returns_dict_with_wrong_names, "dict", WrongResult)
    assert error.found == "a dict with `model`, `logloss`"


@dataclass
class Other:
    model: int
    logloss: float


@mwfs.workflow
def returns_another_record() -> Iris:
    return Other(one(), 0.5)  # HERE another record


def test_record_of_another_class() -> None:
    error = error_of(returns_another_record, "another record", WrongResult)
    assert error.found == "Other(model, logloss)"


@mwfs.workflow
def returns_wrong_type() -> Iris:
    return Iris(model=one(), mse=numbers(3))  # HERE result type


def test_output_of_the_wrong_type() -> None:
    error = error_of(returns_wrong_type, "result type", WrongResult)
    assert "output `mse`" in error.message
    assert (error.expected, error.found.split(" from ")[0]) == ("float", "list[int]")


@mwfs.workflow
def returns_nothing() -> int:
    one()  # HERE nothing
    # There is no return: the body ends here.


def test_workflow_that_forgets_to_return() -> None:
    with pytest.raises(WrongResult) as caught:
        mwfs.compile(returns_nothing)
    assert caught.value.found == "None"


@mwfs.workflow
def returns_something_unasked() -> None:
    return one()  # HERE unasked


def test_result_of_a_workflow_that_declares_none() -> None:
    error_of(returns_something_unasked, "unasked", WrongResult)


@mwfs.workflow
def returns_a_constant_of_the_wrong_type() -> int:
    return "four"  # HERE no operator


def test_wrong_result_of_a_workflow_without_operators() -> None:
    assert pointed_at(error_of(returns_a_constant_of_the_wrong_type, "no operator", WrongResult)) == '"four"'


@mwfs.workflow
def returns_over_lines(early: bool) -> int:
    if early:
        return one()
    return (
        double(1.5)  # HERE over lines
    )


def test_the_return_that_the_body_ended_with_is_marked() -> None:
    assert pointed_at(error_of(returns_over_lines, "over lines", WrongResult, early=False)) == "double(1.5)"
