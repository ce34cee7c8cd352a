"""What a body does besides calling operators, wrong inputs, and what is too large."""
# ruff: noqa: SIM115 (the mistakes are the point)

from typing import Any

import pytest
from builders.marked import Marked
from fixtures.sdk_operators import add, increment, one

import mwfs
from mwfs.errors import CompileError, InvalidInput, TooLarge, WorkflowRaised, WrongType

MARKED = Marked(__file__)
error_of = MARKED.error_of


@mwfs.workflow
def raises(n: int) -> int:
    table = {1: one}
    return table[n]()  # HERE raises


def test_exception_in_the_body_names_its_line_and_is_the_cause() -> None:
    error = error_of(raises, "raises", WorkflowRaised, n=2)
    assert isinstance(error.__cause__, KeyError)
    assert (error.expected, error.found) == ("a body that runs to its end", "KeyError")
    assert "correct this line, or the inputs" in error.fix


def lookup(table: dict[str, int], key: str) -> int:
    return table[key]  # HERE looks up


@mwfs.workflow
def raises_below(how: str) -> int:
    if how == "file":
        open("/no/such/file")  # HERE opens
    if how == "import":
        import no_such_module  # type: ignore[import-not-found]  # noqa: F401  # HERE imports
    if how == "long":
        raise RuntimeError("x" * 100_000)  # HERE long
    if how == "silent":
        raise RuntimeError  # HERE silent
    return increment(lookup({}, how))  # HERE calls the helper


def test_error_in_a_helper_names_the_line_of_the_body_that_led_there() -> None:
    error = error_of(raises_below, "looks up", WorkflowRaised, how="key")
    line = MARKED.line_of("calls the helper")
    assert error.found == f"KeyError in `lookup`, called at {error.file}:{line}"


@pytest.mark.parametrize(
    ("how", "where", "fix"),
    [
        ("file", "opens", "a file that the workflow starts from is an input"),
        ("import", "imports", "install the module, or import it inside the operator"),
        ("silent", "silent", "move other work into an operator"),
        ("long", "long", "move other work into an operator"),
    ],
)
def test_what_to_do_depends_on_the_error(how: str, where: str, fix: str) -> None:
    error = error_of(raises_below, where, WorkflowRaised, how=how)
    assert fix in error.fix
    assert len(str(error)) < 3000
    if how == "silent":
        assert error.message == "workflow `raises_below` raised RuntimeError while it was compiled"


def test_caught_error_leaves_the_dag_whole() -> None:
    dag = mwfs.compile(catches)
    assert [node.name for node in dag.nodes] == ["one", "increment"]


@mwfs.workflow
def catches() -> int:
    x = one()
    try:
        return add(x, "two")
    except CompileError:
        return increment(x)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "needs `how: str`"),
        ({"how": 3}, "Input `how` of workflow `raises_below`"),
        ({"how": "x", "hwo": "y"}, "Did you mean `how`?"),
    ],
)
def test_wrong_inputs_are_said_by_name(inputs: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words.replace("?", r"\?")):
        mwfs.compile(raises_below, **inputs)


@mwfs.workflow
def leaves() -> int:
    raise SystemExit(3)  # HERE exit


def test_body_that_exits_does_not_take_the_compiler_with_it() -> None:
    error_of(leaves, "exit", WorkflowRaised)


@mwfs.workflow
def calls_itself(n: int) -> int:
    return calls_itself(n + 1)  # HERE recursion


def test_workflow_that_calls_itself_for_ever() -> None:
    assert "calls itself without end" in error_of(calls_itself, "recursion", TooLarge, n=1).message


@mwfs.workflow
def too_large() -> int:
    return increment(2**70)  # HERE too large


def test_integer_beyond_64_bits() -> None:
    assert "float or str" in error_of(too_large, "too large", WrongType).fix
