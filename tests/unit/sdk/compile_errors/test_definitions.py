"""Operators that cannot be what they are: the error is at their `def`."""

from typing import Any

import pytest
from builders.marked import Marked

import mwfs
from mwfs.errors import BadDefinition

error_of = Marked(__file__).error_of


def test_operator_inside_a_function() -> None:
    @mwfs.operator
    def local(x: int) -> int:  # HERE local operator
        return x

    error = error_of(calls, "local operator", BadDefinition, operator=_register(local))
    assert "move `local` out of" in error.fix


_registered: dict[str, Any] = {}


def _register(operator: Any) -> str:
    _registered["now"] = operator
    return "now"


@mwfs.workflow
def calls(operator: str) -> int:
    result: int = _registered[operator](1)
    return result


@mwfs.operator
def without_annotation(x) -> int:  # HERE no type
    return 1


@mwfs.operator
def without_result(x: int):  # HERE no result
    return 1


@mwfs.operator
def with_stars(*values: int) -> int:  # HERE stars
    return 1


@mwfs.operator
async def with_async(x: int) -> int:  # HERE async
    return 1


@mwfs.operator
def with_generator(x: int) -> int:  # HERE generator
    yield 1


@mwfs.operator
def with_unsupported(x: complex) -> int:  # HERE unsupported
    return 1


@mwfs.operator
def with_unsupported_result(x: int) -> set[int]:  # HERE unsupported result
    return {x}


@mwfs.operator
def with_unknown_name(x: "Nowhere") -> int:  # noqa: F821  # HERE unknown name
    return 1


@pytest.mark.parametrize(
    ("operator", "mark"),
    [
        (without_annotation, "no type"),
        (without_result, "no result"),
        (with_stars, "stars"),
        (with_async, "async"),
        (with_generator, "generator"),
        (with_unsupported, "unsupported"),
        (with_unsupported_result, "unsupported result"),
        (with_unknown_name, "unknown name"),
    ],
)
def test_signature_that_cannot_travel_names_the_def(operator: Any, mark: str) -> None:
    error_of(calls, mark, BadDefinition, operator=_register(operator))


def _plain(x: int) -> int:  # HERE other name
    return x


renamed = mwfs.operator(_plain)


def test_operator_that_is_not_found_under_its_own_name() -> None:
    error = error_of(calls, "other name", BadDefinition, operator=_register(renamed))
    assert "decorator" in error.fix


@mwfs.operator
def with_wrong_default(x: int, y: int = "two") -> int:  # HERE default
    return x


def test_default_of_the_wrong_type_names_the_def() -> None:
    assert error_of(calls, "default", BadDefinition, operator=_register(with_wrong_default)).expected == "int"


class Tools:
    @staticmethod
    @mwfs.operator
    def static(x: int) -> int:
        return x

    @mwfs.operator
    def method(self, x: int) -> int:  # HERE method
        return x


def test_static_method_is_an_operator_and_a_method_is_not() -> None:
    assert mwfs.compile(calls, operator=_register(Tools.static)).nodes[0].name == "Tools.static"
    assert "@staticmethod" in error_of(calls, "method", BadDefinition, operator=_register(Tools.method)).fix
