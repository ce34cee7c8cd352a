"""Whose line it is, wherever the call is, and futures from elsewhere."""

import functools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from builders.marked import Marked, pointed_at
from fixtures.sdk_operators import increment, one, total

import mwfs
from mwfs.errors import ForeignFuture, WrongType

MARKED = Marked(__file__)
line_of, error_of = MARKED.line_of, MARKED.error_of


# The line, wherever the call is.


def call_increment(value: Any) -> int:
    return increment(value)  # HERE inner function


@mwfs.workflow
def in_a_function_of_theirs() -> int:
    return call_increment("x")


def test_call_in_the_users_own_function() -> None:
    error_of(in_a_function_of_theirs, "inner function", WrongType)


@mwfs.workflow
def in_a_comprehension() -> int:
    return total(
        [
            increment(name)  # HERE inside comprehension
            for name in ("a", "b")
        ]
    )


def test_call_in_a_comprehension() -> None:
    error_of(in_a_comprehension, "inside comprehension", WrongType)


@mwfs.workflow
def through_a_partial() -> int:
    return functools.partial(increment, x="x")()  # HERE partial


def test_call_through_a_partial() -> None:
    error_of(through_a_partial, "partial", WrongType)


@functools.wraps(increment)
def _wrapped(*args: Any, **kwargs: Any) -> Any:
    return increment(*args, **kwargs)  # HERE starred


@mwfs.workflow
def through_stars() -> int:
    result: int = _wrapped("x")
    return result


def test_call_with_starred_arguments() -> None:
    error_of(through_stars, "starred", WrongType)


@mwfs.workflow
def in_a_lambda() -> int:
    return (lambda: increment("ä"))()  # HERE lambda


def test_call_in_a_lambda_with_characters_beyond_ascii() -> None:
    assert pointed_at(error_of(in_a_lambda, "lambda", WrongType)) == '"ä"'


# Futures from elsewhere.

_kept: list[Any] = []


@mwfs.workflow
def keeps_a_future() -> int:
    _kept[:] = [one()]
    return one()


@mwfs.workflow
def uses_a_kept_future() -> int:
    return increment(_kept[0])  # HERE foreign


@mwfs.workflow
def uses_a_kept_future_in_a_list() -> int:
    return total([one(), _kept[0]])  # HERE foreign in list


@mwfs.workflow
def returns_a_kept_future() -> int:
    one()
    return _kept[0]  # HERE foreign result


@pytest.mark.parametrize(
    ("workflow", "mark"),
    [
        (uses_a_kept_future, "foreign"),
        (uses_a_kept_future_in_a_list, "foreign in list"),
        (returns_a_kept_future, "foreign result"),
    ],
)
def test_future_of_another_workflow(workflow: Any, mark: str) -> None:
    mwfs.compile(keeps_a_future)
    error = error_of(workflow, mark, ForeignFuture)
    assert "keeps_a_future" in error.found


def test_future_used_after_compiling() -> None:
    mwfs.compile(keeps_a_future)
    with pytest.raises(ForeignFuture) as caught:
        increment(_kept[0])  # HERE afterwards
    assert caught.value.line == line_of("afterwards")


def test_a_future_can_be_looked_at_with_repr() -> None:
    mwfs.compile(keeps_a_future)
    assert repr(_kept[0]).startswith("<Future of int from `one` (")


@mwfs.workflow
def on_threads() -> int:
    x = one()  # HERE thread
    with ThreadPoolExecutor(1) as pool:
        return next(pool.map(increment, [x]))


def test_call_on_another_thread_names_the_line_of_the_future() -> None:
    error_of(on_threads, "thread", ForeignFuture)
