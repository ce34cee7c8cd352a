"""A map, branch, loop, race or fallback that is put together wrongly names the user's own line, and says what to write."""
# ruff: noqa: B015 (the mistakes are the point)

import re
from typing import Any, NamedTuple

import pytest
from builders.marked import Marked, pointed_at
from fixtures.sdk_operators import increment, numbers, one

import mwfs
from mwfs.errors import (
    BadOperation,
    BadStructure,
    CompileError,
    ForeignFuture,
    FutureAsValue,
    RunFailed,
    TooLarge,
    UnknownArgument,
    WorkflowRaised,
    WrongType,
)

MARKED = Marked(__file__)


class Pair(NamedTuple):
    a: int
    b: float


@mwfs.operator
def half(x: int) -> float:
    return x / 2


@mwfs.operator
def named(x: int) -> str:
    return str(x)


@mwfs.operator
def joined(x: int, y: int) -> int:
    return x + y


@mwfs.operator
def pair() -> Pair:
    return Pair(1, 2.0)


@mwfs.workflow
def forever(n: int) -> int:
    return forever(increment(n))  # HERE forever


@mwfs.dynamic
def dynamically(n: int) -> int:
    return "text"  # type: ignore[return-value]  # HERE dynamic


@mwfs.workflow
def of_dynamic() -> int:
    return dynamically(one())


@mwfs.workflow
def misuse(how: str) -> None:
    x: Any = one()
    xs: Any = numbers(3)
    leaked: list[Any] = []
    match how:
        case "map arity":
            mwfs.map(lambda: one(), xs)  # HERE map arity
        case "map arity 2":
            mwfs.map(lambda a, b: one(), xs)  # HERE map arity 2
        case "map op arity":
            mwfs.map(joined, xs)  # HERE map op arity
        case "map over int":
            mwfs.map(increment, x)  # HERE map over int
        case "map over record":
            mwfs.map(increment, pair())  # HERE map over record
        case "map over dict":
            mwfs.map(increment, {"a": 1})  # HERE map over dict
        case "map over str":
            mwfs.map(increment, "abc")  # HERE map over str
        case "map over none":
            mwfs.map(increment, None)  # HERE map over none
        case "map not callable":
            mwfs.map(3, xs)  # HERE map not callable
        case "map future callable":
            mwfs.map(x, xs)  # HERE map future callable
        case "map elem type":
            mwfs.map(lambda n: increment(named(n)), xs)  # HERE map elem type
        case "map result not travel":
            mwfs.map(lambda n: object(), xs)  # HERE map result not travel
        case "map fixed unknown":
            mwfs.map(increment, xs, depth=3)  # HERE map fixed unknown
        case "map fixed wrong type":
            mwfs.map(joined, xs, y="a")  # HERE map fixed wrong type
        case "map tolerate":
            mwfs.map(increment, xs, tolerate=2)  # HERE map tolerate
        case "map tolerate future":
            mwfs.map(increment, xs, tolerate=x)  # HERE map tolerate future
        case "zipped one":
            mwfs.map(increment, mwfs.zipped(xs))  # HERE zipped one
        case "zip known lengths":
            mwfs.map(joined, mwfs.zipped([1, 2], [1]))  # HERE zip known lengths
        case "if in map":
            mwfs.map(lambda n: increment(n) if n else n, xs)  # HERE if in map
        case "raise in map":
            mwfs.map(lambda n: 1 / 0, xs)  # HERE raise in map
        case "filter not bool":
            mwfs.filter(lambda n: increment(n), xs)  # HERE filter not bool
        case "filter arity":
            mwfs.filter(lambda: True, xs)  # HERE filter arity
        case "group not str":
            mwfs.group(increment, xs)  # HERE group not str
        case "reduce arity":
            mwfs.reduce(increment, xs)  # HERE reduce arity
        case "reduce type":
            mwfs.reduce(lambda a, b: half(a), xs)  # HERE reduce type
        case "reduce initial type":
            mwfs.reduce(joined, xs, initial="a")  # HERE reduce initial type
        case "flatten":
            mwfs.flatten(xs)  # HERE flatten
        case "when not bool":
            mwfs.when(x, lambda: 1, lambda: 2)  # HERE when not bool
        case "when arity":
            mwfs.when(x > 1, lambda n: 1, lambda: 2)  # HERE when arity
        case "when op arity":
            mwfs.when(x > 1, increment, lambda: 2)  # HERE when op arity
        case "when disagree":
            mwfs.when(x > 1, lambda: one(), lambda: pair())  # HERE when disagree
        case "when eager":
            mwfs.when(x > 1, increment(x), lambda: 2)  # HERE when eager
        case "loop not bool":
            mwfs.repeat_while(lambda n: n, increment, x, limit=3)  # HERE loop not bool
        case "loop type":
            mwfs.repeat_while(lambda n: n < 3, half, x, limit=3)  # HERE loop type
        case "loop arity":
            mwfs.repeat_while(lambda: True, increment, x, limit=3)  # HERE loop arity
        case "loop body arity":
            mwfs.repeat_while(lambda n: n < 3, lambda: 1, x, limit=3)  # HERE loop body arity
        case "loop limit 0":
            mwfs.repeat_while(lambda n: n < 3, increment, x, limit=0)  # HERE loop limit 0
        case "loop limit future":
            mwfs.repeat_while(lambda n: n < 3, increment, x, limit=x)  # HERE loop limit future
        case "loop limit huge":
            mwfs.repeat_while(lambda n: n < 3, increment, x, limit=10**12)  # HERE loop limit huge
        case "loop no limit":
            mwfs.repeat_while(lambda n: n < 3, increment, x)  # HERE loop no limit
        case "loop at_limit":
            mwfs.repeat_while(lambda n: n < 3, increment, x, limit=3, at_limit="explode")  # HERE loop at_limit
        case "race empty":
            mwfs.race([])  # HERE race empty
        case "race first 0":
            mwfs.race(increment, xs, first=0)  # HERE race first 0
        case "race first future":
            mwfs.race(increment, xs, first=x)  # HERE race first future
        case "race too many":
            mwfs.race([lambda: one()], first=2)  # HERE race too many
        case "race not callable":
            mwfs.race([1, 2])  # HERE race not callable
        case "race candidate arity":
            mwfs.race([lambda n: one()])  # HERE race candidate arity
        case "race disagree":
            mwfs.race([lambda: one(), lambda: pair()])  # HERE race disagree
        case "race until not bool":
            mwfs.race(increment, xs, until=lambda r: r)  # HERE race until not bool
        case "race until arity":
            mwfs.race(increment, xs, until=lambda: True)  # HERE race until arity
        case "race operator alone":
            mwfs.race(increment)  # HERE race operator alone
        case "catch eager":
            mwfs.catch(increment(x), ValueError)  # HERE catch eager
        case "catch string":
            mwfs.catch(lambda: increment(x), "ValueError")  # HERE catch string
        case "catch instance":
            mwfs.catch(lambda: increment(x), ValueError("a"))  # HERE catch instance
        case "catch fallback arity":
            mwfs.catch(lambda: increment(x), fallback=lambda a, b: 1)  # HERE catch fallback arity
        case "catch fallback type":
            mwfs.catch(lambda: increment(x), fallback=lambda: pair())  # HERE catch fallback type
        case "cleanup eager":
            mwfs.with_cleanup(increment(x), lambda: increment(x))  # HERE cleanup eager
        case "cleanup eager 2":
            mwfs.with_cleanup(lambda: increment(x), increment(x))  # HERE cleanup eager 2
        case "signal name":
            mwfs.signal("not good", bool)  # HERE signal name
        case "signal type":
            mwfs.signal("s", set)  # HERE signal type
        case "signal timeout":
            mwfs.signal("s", bool, timeout=-1)  # HERE signal timeout
        case "after method":
            increment.after("a")(x)  # HERE after method
        case "arith":
            x + "a"  # HERE arith
        case "arith record":
            pair() + 1  # HERE arith record
        case "item":
            xs["a"]  # HERE item
        case "item of int":
            x[0]  # HERE item of int
        case "compare":
            x < "a"  # HERE compare
        case "output_of":
            increment(mwfs.output_of("abcd", "x"))  # HERE output_of
        case "select":
            mwfs.select(x, 1, 2)  # HERE select
        case "length":
            mwfs.length(x)  # HERE length
        case "contains":
            mwfs.contains(xs, "a")  # HERE contains
        case "all_of":
            mwfs.all_of(x)  # HERE all_of
        case "largest":
            mwfs.largest(pair())  # HERE largest
        case "total":
            mwfs.total([named(x)])  # HERE total
        case "when in f":
            f"{mwfs.when(x > 1, lambda: 1, lambda: 2)}"  # HERE when in f
        case "signal two":
            mwfs.signal("s", bool)
            mwfs.signal("s", int)  # HERE signal two
        case "after value":
            with mwfs.after(3):  # HERE after value
                increment(x)
        case "leak":
            mwfs.map(lambda n: leaked.append(increment(n)) or n, xs)
            increment(leaked[0])  # HERE leak
        case "leak branch":
            mwfs.when(x > 1, lambda: leaked.append(increment(x)) or 1, lambda: 2)
            increment(leaked[0])  # HERE leak branch
        case "leak between":
            mwfs.map(lambda n: leaked.append(increment(n)) or n, xs)
            mwfs.map(lambda n: joined(n, leaked[0]), xs)  # HERE leak between
        case "forever":
            forever(x)


@pytest.mark.parametrize(
    ("how", "kind", "pointed", "message"),
    [
        (
            "map arity",
            BadStructure,
            "lambda: one()",
            "`mwfs.map`: what is called takes no parameters, but is called with 1 value",
        ),
        (
            "map arity 2",
            BadStructure,
            "lambda a, b: one()",
            "`mwfs.map`: what is called takes 2 parameters, but is called with 1 value",
        ),
        (
            "map op arity",
            BadStructure,
            "joined",
            "`mwfs.map`: what is called takes 2 parameters, but is called with 1 value",
        ),
        ("map over int", BadStructure, "x", "`mwfs.map`: its elements come from a list"),
        ("map over record", BadStructure, "pair()", "`mwfs.map`: its elements come from a list"),
        ("map over dict", BadStructure, '{"a": 1}', "`mwfs.map`: its elements come from a list"),
        ("map over str", BadStructure, '"abc"', "`mwfs.map`: its elements come from a list"),
        ("map over none", BadStructure, "None", "`mwfs.map`: its elements come from a list"),
        ("map not callable", BadStructure, "3", "`mwfs.map`: what is called is not something to call"),
        ("map future callable", BadStructure, "x", "`mwfs.map`: what is called is not something to call"),
        (
            "map elem type",
            WrongType,
            "named(n)",
            "argument `x` of operator `increment` has the wrong type: str is not int",
        ),
        ("map result not travel", WrongType, "mwfs.map(lambda n: object(), xs)", "the type of a value is not known"),
        ("map fixed unknown", UnknownArgument, "depth=3", "operator `increment` has no argument `depth`"),
        ("map fixed wrong type", WrongType, 'y="a"', "argument `y` of operator `joined` has the wrong type"),
        ("map tolerate", BadStructure, "tolerate=2", "`mwfs.map`: the share of elements that may fail is from 0 to 1"),
        (
            "map tolerate future",
            BadStructure,
            "tolerate=x",
            "`mwfs.map`: the share of elements that may fail is from 0 to 1",
        ),
        ("zipped one", BadStructure, "mwfs.zipped(xs)", "`mwfs.zipped` is called with other arguments than it takes"),
        (
            "zip known lengths",
            BadStructure,
            "mwfs.zipped([1, 2], [1])",
            "`mwfs.map`: lists that are zipped have one length",
        ),
        (
            "if in map",
            FutureAsValue,
            "increment(n) if n else n",
            "a future was used as a condition (if, while, and, or, not, bool()), but it has no value until the run",
        ),
        (
            "raise in map",
            WorkflowRaised,
            "1 / 0",
            "workflow `misuse` raised ZeroDivisionError while it was compiled: division by zero",
        ),
        (
            "filter not bool",
            WrongType,
            "lambda n: increment(n)",
            "the result of the condition of `mwfs.filter` has the wrong type: int is not bool",
        ),
        (
            "filter arity",
            BadStructure,
            "lambda: True",
            "`mwfs.filter`: the condition takes no parameters, but is called with an element",
        ),
        (
            "group not str",
            WrongType,
            "increment",
            "the result of the key of `mwfs.group` has the wrong type: int is not str",
        ),
        (
            "reduce arity",
            BadStructure,
            "increment",
            "`mwfs.reduce`: what joins two elements takes 1 parameter, but is called with two elements",
        ),
        (
            "reduce type",
            WrongType,
            "lambda a, b: half(a)",
            "the result of `lambda` in `mwfs.reduce` has the wrong type: float is not int",
        ),
        (
            "reduce initial type",
            WrongType,
            'initial="a"',
            "`initial` of `mwfs.reduce` has another type than the elements",
        ),
        ("flatten", BadOperation, "mwfs.flatten(xs)", "`flatten(…)`: flatten takes a list of lists, found list[int]"),
        ("when not bool", BadStructure, "x", "`mwfs.when`: the condition is not a bool"),
        (
            "when arity",
            BadStructure,
            "lambda n: 1",
            "`mwfs.when`: `then` takes 1 parameter, but is called with no values",
        ),
        (
            "when op arity",
            BadStructure,
            "increment",
            "`mwfs.when`: `then` takes 1 parameter, but is called with no values",
        ),
        (
            "when disagree",
            WrongType,
            "mwfs.when(x > 1, lambda: one(), lambda: pair())",
            "`then` and `otherwise` of `mwfs.when` give different types",
        ),
        ("when eager", BadStructure, "increment(x)", "`mwfs.when`: this branch runs whatever the condition says"),
        (
            "loop not bool",
            WrongType,
            "lambda n: n",
            "the result of the condition of `mwfs.repeat_while` has the wrong type: int is not bool",
        ),
        (
            "loop type",
            WrongType,
            "half",
            "the result of the body of `mwfs.repeat_while` has the wrong type: float is not int",
        ),
        (
            "loop arity",
            BadStructure,
            "lambda: True",
            "`mwfs.repeat_while`: the condition takes no parameters, but is called with the state",
        ),
        (
            "loop body arity",
            BadStructure,
            "lambda: 1",
            "`mwfs.repeat_while`: the body takes no parameters, but is called with the state",
        ),
        ("loop limit 0", BadStructure, "limit=0", "`mwfs.repeat_while`: `limit` is how many rounds there may be"),
        ("loop limit future", BadStructure, "limit=x", "`mwfs.repeat_while`: `limit` is how many rounds there may be"),
        (
            "loop limit huge",
            BadStructure,
            "limit=10**12",
            "`mwfs.repeat_while`: `limit` is how many rounds there may be",
        ),
        (
            "loop no limit",
            BadStructure,
            "mwfs.repeat_while(lambda n: n < 3, increment, x)",
            "`mwfs.repeat_while` is called with other arguments than it takes",
        ),
        (
            "loop at_limit",
            BadStructure,
            'at_limit="explode"',
            "`mwfs.repeat_while`: `at_limit` is what happens after the last round",
        ),
        ("race empty", BadStructure, "mwfs.race([])", "`mwfs.race`: 1 winner wanted of 0 candidates"),
        ("race first 0", BadStructure, "first=0", "`mwfs.race`: `first` is how many winners are wanted"),
        ("race first future", BadStructure, "first=x", "`mwfs.race`: `first` is how many winners are wanted"),
        (
            "race too many",
            BadStructure,
            "mwfs.race([lambda: one()], first=2)",
            "`mwfs.race`: 2 winners wanted of 1 candidate",
        ),
        ("race not callable", BadStructure, "[1, 2]", "`mwfs.race`: a candidate is not something to call"),
        (
            "race candidate arity",
            BadStructure,
            "[lambda n: one()]",
            "`mwfs.race`: a candidate takes 1 parameter, but is called with no values",
        ),
        (
            "race disagree",
            WrongType,
            "mwfs.race([lambda: one(), lambda: pair()])",
            "candidate 0 and candidate 1 of `mwfs.race` give different types",
        ),
        (
            "race until not bool",
            WrongType,
            "until=lambda r: r",
            "the result of the condition of `mwfs.race` has the wrong type: int is not bool",
        ),
        (
            "race until arity",
            BadStructure,
            "until=lambda: True",
            "`mwfs.race`: the condition takes no parameters, but is called with a result",
        ),
        ("race operator alone", BadStructure, "increment", "`mwfs.race`: what runs is not given"),
        ("catch eager", BadStructure, "increment(x)", "`mwfs.catch`: what is tried is not something to call"),
        (
            "catch string",
            BadStructure,
            'mwfs.catch(lambda: increment(x), "ValueError")',
            "`mwfs.catch`: what is caught is not a class of errors",
        ),
        (
            "catch instance",
            BadStructure,
            'mwfs.catch(lambda: increment(x), ValueError("a"))',
            "`mwfs.catch`: what is caught is not a class of errors",
        ),
        (
            "catch fallback arity",
            BadStructure,
            "fallback=lambda a, b: 1",
            "`mwfs.catch`: the fallback takes 2 parameters, but is called with the failure",
        ),
        (
            "catch fallback type",
            WrongType,
            "mwfs.catch(lambda: increment(x), fallback=lambda: pair())",
            "the body and the fallback of `mwfs.catch` give different types",
        ),
        ("cleanup eager", BadStructure, "increment(x)", "`mwfs.with_cleanup`: the body is not something to call"),
        ("cleanup eager 2", BadStructure, "increment(x)", "`mwfs.with_cleanup`: the cleanup is not something to call"),
        ("signal name", BadStructure, '"not good"', "`mwfs.signal`: a signal is named by an identifier"),
        ("signal type", BadStructure, "set", "`mwfs.signal`: its payload cannot travel"),
        ("signal timeout", BadStructure, "timeout=-1", "`mwfs.signal`: `timeout` is how long to wait"),
        ("after method", BadStructure, '"a"', "`mwfs.after`: only what an operator gives can be waited for"),
        (
            "arith",
            BadOperation,
            'x + "a"',
            "`… + 'a'`: + takes two numbers, two strings or two lists, found int and str",
        ),
        (
            "arith record",
            BadOperation,
            "pair() + 1",
            "`… + 1`: + takes two numbers, two strings or two lists, found Pair and int",
        ),
        (
            "item",
            BadOperation,
            'xs["a"]',
            "`…['a']`: indexing takes a list or a string, and an int, found list[int] and str",
        ),
        (
            "item of int",
            BadOperation,
            "x[0]",
            "`…[0]`: indexing takes a list or a string, and an int, found int and int",
        ),
        (
            "compare",
            BadOperation,
            'x < "a"',
            "`… < 'a'`: < takes two numbers, two strings or two dates, found int and str",
        ),
        (
            "output_of",
            WrongType,
            'mwfs.output_of("abcd", "x")',
            "argument `x` of operator `increment` has the wrong type",
        ),
        (
            "select",
            BadOperation,
            "mwfs.select(x, 1, 2)",
            "`(1 if … else 2)`: select takes a bool as its condition, found int",
        ),
        ("length", BadOperation, "mwfs.length(x)", "`len(…)`: length takes a list, a dict or a string, found int"),
        (
            "contains",
            BadOperation,
            'mwfs.contains(xs, "a")',
            "`'a' in …`: contains takes a list of scalars, a dict or a string, and what is looked for, found list[int] and str",
        ),
        ("all_of", BadOperation, "mwfs.all_of(x)", "`… & True`: & takes two bools or two ints, found int and bool"),
        (
            "largest",
            BadOperation,
            "mwfs.largest(pair())",
            "`max(…)`: max takes a list of numbers or strings, found Pair",
        ),
        ("total", BadOperation, "mwfs.total([named(x)])", "`sum([…])`: sum takes a list of numbers, found list[str]"),
        (
            "when in f",
            FutureAsValue,
            'f"{mwfs.when(x > 1, lambda: 1, lambda: 2)}"',
            "a future was formatted (f-string or format()), but it has no value until the run",
        ),
        ("signal two", BadStructure, "int", "`mwfs.signal`: signal `s` is waited for with two types"),
        ("after value", BadStructure, "3", "`mwfs.after`: only what an operator gives can be waited for"),
        ("leak", ForeignFuture, "leaked[0]", "argument `x` of operator `increment` is a future of another branch"),
        (
            "leak branch",
            ForeignFuture,
            "leaked[0]",
            "argument `x` of operator `increment` is a future of another branch",
        ),
        ("leak between", ForeignFuture, "leaked[0]", "argument `y` of operator `joined` is a future of another branch"),
        ("forever", TooLarge, "increment(n)", "workflow `misuse` calls itself without end, or too deep for Python"),
    ],
)
def test_misuse_is_said_at_the_users_line(how: str, kind: type[CompileError], pointed: str, message: str) -> None:
    error = MARKED.error_of(misuse, how, kind, how=how)
    assert (pointed_at(error), error.message) == (pointed, message)
    assert error.found or isinstance(error, WorkflowRaised)


def test_every_misuse_of_this_file_is_tested() -> None:
    lines = MARKED.file.read_text().splitlines()
    marks = {found[1] for line in lines if (found := re.search(r"  # HERE ([\w ]+)$", line))}
    assert marks - {"dynamic"} == {case[0] for case in test_misuse_is_said_at_the_users_line.pytestmark[0].args[1]}  # type: ignore[attr-defined]


def test_a_dynamic_operator_that_returns_another_type_fails_at_its_return() -> None:
    with pytest.raises(RunFailed) as failed:
        of_dynamic.run_local()
    assert "WrongResult" in str(failed.value)
    assert failed.value.failure is not None
    assert failed.value.failure.line == MARKED.line_of("dynamic")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: mwfs.repeat_while(lambda x: x < 3, increment, 0, limit=0), "whole number"),
        (lambda: mwfs.map(increment, [1], tolerate=2), "0 to 1"),
        (lambda: mwfs.race(increment, [1], first=0), "whole number"),
        (lambda: mwfs.catch(lambda: 1, "ValueError"), "classes of errors"),
        (lambda: mwfs.signal("approved", bool), "outside of a workflow"),
    ],
)
def test_the_same_mistakes_outside_of_workflows_are_typed_too(call: Any, words: str) -> None:
    with pytest.raises(BadStructure) as refused:
        call()
    assert words in str(refused.value)
