"""What fails in a local run fails as on the platform: typed, with the user's line."""

from pathlib import Path

import fixtures.sdk_operators
import pytest
from builders.marked import Marked
from fixtures.sdk_operators import fail, increment, lie, lie_in_parts, one

import mwfs
from mwfs.errors import ArtifactMissing, BadResult, NotLoadable, RunFailed
from mwfs.failures import FailureKind, describe_exception
from mwfs.invoke import load_operator, load_workflow

MARKED = Marked(__file__)
RAISE_LINE = next(
    number
    for number, text in enumerate(Path(fixtures.sdk_operators.__file__).read_text().splitlines(), 1)
    if text.endswith("# HERE raise")
)


@mwfs.workflow
def fails(n: int) -> int:
    return increment(fail(increment(n)))


@mwfs.workflow
def lies() -> int:
    return lie(1)


@mwfs.workflow
def lies_in_parts() -> int:
    lie_in_parts(1)
    return one()


def test_operator_that_raises_is_a_typed_failure_with_the_users_line() -> None:
    with pytest.raises(RunFailed) as caught:
        fails.run_local(n=1)
    failure = caught.value.failure
    assert failure is not None
    assert (failure.kind, failure.error_type, failure.message) == (
        FailureKind.FAILURE_KIND_RAISED,
        "ValueError",
        "no 2 here",
    )
    assert (Path(failure.file).name, failure.line, failure.node) == ("sdk_operators.py", RAISE_LINE, 1)
    assert isinstance(caught.value.__cause__, ValueError)
    assert caught.value.exit_code == 1


@mwfs.workflow
def divided(n: int) -> list[float]:
    zero = increment(-1)
    ratio = increment(n) / zero
    return [
        1.0,
        ratio,
    ]  # HERE return


def test_an_output_that_cannot_be_computed_names_the_line_that_returns_it() -> None:
    with pytest.raises(RunFailed) as caught:
        divided.run_local(n=1)
    failure = caught.value.failure
    assert failure is not None
    assert (failure.error_type, failure.node) == ("ZeroDivisionError", -1)
    returned = MARKED.line_of("return") - 3
    assert (Path(failure.file).name, failure.line) == (MARKED.file.name, returned)
    assert f"{MARKED.file.name}:{returned}" in str(caught.value)


def test_traceback_has_the_users_frames_only() -> None:
    with pytest.raises(RunFailed) as caught:
        fails.run_local(n=1)
    assert caught.value.failure is not None
    lines = caught.value.failure.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert sum(line.startswith("  File ") for line in lines) == 1
    assert f'sdk_operators.py", line {RAISE_LINE}, in fail' in lines[1]
    assert lines[-1] == "ValueError: no 2 here"


def test_result_of_the_wrong_type_is_a_bad_result() -> None:
    with pytest.raises(RunFailed) as caught:
        lies.run_local()
    assert isinstance(caught.value.__cause__, BadResult)
    failure = caught.value.failure
    assert failure is not None
    assert failure.kind == FailureKind.FAILURE_KIND_BAD_RESULT
    assert "declares its result as int, but returned '1' (str)" in failure.message
    assert failure.line > 0
    assert failure.expected_type.scalar


def test_result_with_undeclared_names_is_a_bad_result() -> None:
    with pytest.raises(
        RunFailed, match=r"declares Parts\(train, test, label\), but returned a dict with `train`, `log"
    ):
        lies_in_parts.run_local()


attempts: list[int] = []


@mwfs.operator(retry=3)
def third_time(x: int) -> int:
    attempts.append(x)
    if len(attempts) < 3:
        raise OSError("not yet")
    return x


@mwfs.operator(retry=mwfs.Retry(attempts=5, except_errors=(LookupError,)))
def never_again(x: int) -> int:
    attempts.append(x)
    raise KeyError(x)


@mwfs.workflow
def retries() -> int:
    return third_time(1)


@mwfs.workflow
def does_not_retry() -> int:
    return never_again(1)


def test_retry_policy_holds_in_a_local_run() -> None:
    attempts.clear()
    assert retries.run_local() == 1
    assert len(attempts) == 3


def test_excepted_errors_and_their_subclasses_are_not_tried_again() -> None:
    attempts.clear()
    with pytest.raises(RunFailed):
        does_not_retry.run_local()
    assert len(attempts) == 1


@mwfs.operator
def exits(x: int) -> int:
    raise SystemExit(3)


@mwfs.workflow
def leaves() -> int:
    return exits(1)


def test_sys_exit_in_an_operator_is_a_failure() -> None:
    with pytest.raises(RunFailed) as caught:
        leaves.run_local()
    assert caught.value.failure is not None
    assert caught.value.failure.kind == FailureKind.FAILURE_KIND_EXITED


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Unprintable(), "cannot be shown"),
        (ValueError("x" * 10_000_000), "characters left out"),
        (ValueError("lone \ud800 surrogate"), "lone ? surrogate"),
        (ExceptionGroup("several", [ValueError("a"), KeyError("b")]), "several"),
        (ArtifactMissing("Gone.", "Look."), "Gone."),
    ],
)
def test_any_exception_can_be_described(error: Exception, words: str) -> None:
    failure = describe_exception(error)
    assert words in failure.message
    assert len(failure.SerializeToString()) < 100_000


def test_cause_is_in_the_traceback() -> None:
    try:
        try:
            raise KeyError("inner")
        except KeyError as inner:
            raise ValueError("outer") from inner
    except ValueError as error:
        text = describe_exception(error).traceback
    assert "KeyError: 'inner'" in text
    assert "direct cause" in text


@pytest.mark.parametrize(
    ("module", "qualname", "words"),
    [
        ("no_such_module_here", "f", "no module `no_such_module_here`"),
        ("fixtures.sdk_operators", "nowhere", "has no `nowhere`"),
        ("fixtures.sdk_operators", "Parts", "not an operator"),
    ],
)
def test_operator_that_cannot_be_loaded(module: str, qualname: str, words: str) -> None:
    with pytest.raises(NotLoadable, match=words):
        load_operator(module, qualname)


def test_operator_is_loaded_by_name() -> None:
    assert load_operator("fixtures.sdk_operators", "increment") is increment


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        ("fixtures.sdk_operators", "MODULE:WORKFLOW"),
        ("fixtures.sdk_operators:increment", "is an operator, not a workflow"),
        ("fixtures.sdk_operators:Parts", "not a workflow"),
    ],
)
def test_workflow_that_cannot_be_loaded(ref: str, words: str) -> None:
    with pytest.raises(NotLoadable) as caught:
        load_workflow(ref)
    assert words in str(caught.value)


def test_module_that_does_not_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_module_of_theirs.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(NotLoadable, match="needs `not_installed_anywhere`"):
        load_workflow("broken_module_of_theirs:f")


@mwfs.operator(retry=3)
def lies_each_time(x: int) -> int:
    attempts.append(x)
    return str(x)


@mwfs.workflow
def lies_on() -> int:
    return lies_each_time(1)


def test_bad_result_is_not_tried_again() -> None:
    attempts.clear()
    with pytest.raises(RunFailed):
        lies_on.run_local()
    assert len(attempts) == 1
