"""Futures used as if the workflow ran, and computed with as their types do not allow: what to write instead."""
# ruff: noqa: B015, B018, C416, SIM115 (the mistakes are the point)

import functools
import json
from enum import Enum

import pytest
from builders.marked import Marked
from fixtures.sdk_operators import numbers, one, shape_of

import mwfs
from mwfs.errors import BadOperation, FutureAsValue

error_of = Marked(__file__).error_of


# Futures used as values.


@mwfs.workflow
def misuse(how: str) -> int:
    x = one()
    known = {"a": 1}
    match how:
        case "if":
            if x:  # HERE if
                pass
        case "while":
            while x:  # HERE while
                pass
        case "not":
            not x  # HERE not
        case "and":
            x and 1  # HERE and
        case "bool":
            bool(x)  # HERE bool
        case "assert":
            assert x  # HERE assert
        case "len":
            len(x)  # HERE len
        case "for":
            for _ in x:  # HERE for
                pass
        case "comprehension":
            [y for y in x]  # HERE comprehension
        case "list":
            list(x)  # HERE list
        case "star":
            print(*x)  # HERE star
        case "unpack":
            _, _ = x  # HERE unpack
        case "f-string":
            f"{x}"  # HERE f-string
        case "format":
            f"{x:.2f}"  # HERE format
        case "str":
            str(x)  # HERE str
        case "print":
            print(x)  # HERE print
        case "int":
            int(x)  # HERE int
        case "float":
            float(x)  # HERE float
        case "range":
            range(x)  # HERE range of
        case "index":
            [1, 2][x]  # HERE index
        case "set item":
            x[0] = 1  # HERE set item
        case "set attribute":
            x.name = 1  # HERE set attribute
        case "dict key":
            {x: 1}  # HERE dict key
        case "lookup":
            known[x]  # HERE lookup
        case "set":
            {x}  # HERE set
        case "in future":
            3 in x  # HERE in future
        case "future in":
            x in [1, 2]  # HERE future in
        case "call":
            x()  # HERE call
        case "path":
            open(x)  # HERE path
        case "with":
            with x:  # HERE with
                pass
        case "sorted":
            sorted([x, one()])  # HERE sorted
        case "max":
            max(x, 3)  # HERE max
    return x


@pytest.mark.parametrize(
    "how",
    [
        "if",
        "while",
        "not",
        "and",
        "bool",
        "assert",
        "len",
        "for",
        "comprehension",
        "list",
        "star",
        "unpack",
        "f-string",
        "format",
        "str",
        "print",
        "int",
        "float",
        "index",
        "dict-key",
        "lookup",
        "set",
        "in-future",
        "future-in",
        "call",
        "path",
        "with",
        "sorted",
        "max",
        "set-item",
        "set-attribute",
    ],
)
def test_future_used_as_a_value(how: str) -> None:
    how = how.replace("-", " ") if how != "f-string" else how
    error = error_of(misuse, how, FutureAsValue, how=how)
    assert "no value until the run" in error.message or "cannot be changed" in error.message
    assert " from `one`" in error.found


def test_every_misuse_says_what_to_write_instead() -> None:
    for how, word in (("if", "mwfs.when"), ("and", "mwfs.all_of"), ("for", "mwfs.map"), ("len", "mwfs.length")):
        assert word in error_of(misuse, how, FutureAsValue, how=how).fix
    for how, word in (("in future", "mwfs.contains"), ("str", "mwfs.as_text"), ("int", "mwfs.as_int")):
        assert word in error_of(misuse, how, FutureAsValue, how=how).fix


# Arithmetic, comparison and items that the types do not have.


@mwfs.workflow
def operation(how: str) -> int:
    x, xs, shape = one(), numbers(3), shape_of(1.0)
    match how:
        case "text":
            x + "1"  # HERE text
        case "turned":
            "1" + x  # HERE turned
        case "record":
            shape * 2  # HERE record times
        case "list order":
            xs < 2  # HERE list order
        case "bits":
            (x > 1) & x  # HERE bits
        case "item":
            x[0]  # HERE item
        case "text index":
            xs["a"]  # HERE text index
        case "nested":
            functools.reduce(lambda a, b: a + b, [x, xs])  # HERE nested
        case "negative":
            -xs  # HERE negative
    return x


@pytest.mark.parametrize(
    "how", ["text", "turned", "record", "list-order", "bits", "item", "text-index", "nested", "negative"]
)
def test_operation_that_the_types_do_not_have(how: str) -> None:
    how = how.replace("-", " ")
    error = error_of(operation, "record times" if how == "record" else how, BadOperation, how=how)
    assert "from `" in error.found
    assert error.expected
    assert error.fix


class Level(Enum):
    LOW = "l"


@mwfs.operator
def maybe(x: int) -> int | None:
    return x


@mwfs.operator
def level(x: int) -> Level:
    return Level.LOW


@mwfs.workflow
def nearly_operations(how: str) -> int:
    match how:
        case "none":
            maybe(1) + 1  # HERE with none
        case "enum":
            level(1) == "l"  # HERE with enum
    return one()


def test_operations_that_need_one_thing_more() -> None:
    fix = error_of(nearly_operations, "with none", BadOperation, how="none").fix
    assert "`mwfs.coalesce(…, default) + 1`" in fix
    assert "`Level.LOW`" in error_of(nearly_operations, "with enum", BadOperation, how="enum").fix


def test_future_in_range() -> None:
    error_of(misuse, "range of", FutureAsValue, how="range")


@mwfs.workflow
def dumps_a_future() -> int:
    json.dumps({"x": one()})  # HERE json
    return 1


def test_error_inside_a_library_names_the_users_line() -> None:
    assert "JSON serializable" in error_of(dumps_a_future, "json", FutureAsValue).message
