"""What fails inside of maps, loops and dynamic operators is typed, and names the user's own line."""

from typing import Any

import pytest
from builders.marked import Marked, pointed_at
from fixtures.sdk_operators import increment, numbers

import mwfs
from mwfs.errors import RunFailed, WrongType
from mwfs_api.events.v1 import events_pb2
from mwfs_types import dag_answers, function_values

MARKED = Marked(__file__)


class NotThatOne(KeyError):
    pass


@mwfs.dynamic
def raises(n: int) -> int:
    if n == 0:
        raise NotThatOne("zero")  # HERE raises
    if increment(n) > 1:  # HERE condition
        return 1
    return n


@mwfs.workflow
def raised(n: int) -> int:
    return raises(n)


@mwfs.workflow
def raised_and_caught(n: int) -> str:
    return mwfs.catch(lambda: mwfs.as_text(raises(n)), LookupError, fallback=lambda failure: mwfs.as_text(failure.line))


@mwfs.dynamic(retry=3)
def forgets(n: int) -> int:
    increment(n)  # type: ignore[return]


@mwfs.workflow
def forgotten(n: int) -> int:
    return forgets(n)


@mwfs.dynamic
def forever(n: int) -> int:
    return forever(n)


@mwfs.workflow
def endless(n: int) -> int:
    return forever(n)


@mwfs.dynamic
def wide(n: int) -> list[int]:
    return [increment(i) for i in range(n)]


@mwfs.workflow
def widened(n: int) -> list[int]:
    return wide(n)  # HERE wide


@mwfs.workflow
def waits(n: int) -> int:
    return mwfs.signal("approved", int, timeout=60)  # HERE waits


@mwfs.workflow
def waits_and_goes_on(n: int) -> int:
    return mwfs.catch(lambda: mwfs.signal("approved", int, timeout=60), TimeoutError, fallback=-1)


@mwfs.workflow
def waits_for_ever(n: int) -> int:
    return mwfs.signal("approved", int)


@mwfs.operator
def hundred(x: int) -> str:
    return "x" * 100


@mwfs.operator
def length_of(texts: list[str]) -> int:
    return len("".join(texts))


@mwfs.workflow
def texts_of_operators(n: int) -> list[str]:
    return mwfs.map(hundred, numbers(n))


@mwfs.workflow
def texts_of_values(n: int) -> list[str]:
    return mwfs.map(lambda x: "x" * 100, numbers(n))


@mwfs.workflow
def gathered(n: int) -> int:
    return length_of([hundred(x) for x in range(n)])  # HERE gathers


def failure_of(workflow: mwfs.Workflow[..., Any], n: int, **options: Any) -> events_pb2.Failure:
    with pytest.raises(RunFailed) as failed:
        mwfs.LocalRun(**options).run(workflow, n=n)
    assert failed.value.failure is not None
    return failed.value.failure


def test_what_the_body_of_a_dynamic_operator_raises_keeps_its_class_and_line() -> None:
    failure = failure_of(raised, 0)
    assert failure.error_type.endswith(".NotThatOne")
    assert failure.kind == events_pb2.FAILURE_KIND_RAISED
    assert "builtins.LookupError" in failure.error_classes
    assert failure.line == MARKED.line_of("raises")
    assert mwfs.LocalRun().run(raised_and_caught, n=0) == str(MARKED.line_of("raises"))


def test_a_misused_future_in_a_dynamic_operator_is_said_at_its_line() -> None:
    failure = failure_of(raised, 1)
    assert failure.error_type == "mwfs.errors.FutureAsValue"
    assert failure.line == MARKED.line_of("condition")


def test_a_dynamic_operator_that_returns_the_wrong_type_is_named_as_one_and_not_tried_again() -> None:
    here = mwfs.LocalRun()
    with pytest.raises(RunFailed, match="of dynamic operator `forgets` has the wrong type"):
        here.run(forgotten, n=1)
    assert here.nodes[0].attempts == 1


@pytest.mark.parametrize(
    ("workflow", "limits", "words"),
    [
        (endless, mwfs.GrowthLimits(), "more than 64 deep"),
        (widened, mwfs.GrowthLimits(patch=3), "by 4 nodes at once; the limit is 3"),
        (widened, mwfs.GrowthLimits(total=3), "more than 3 nodes"),
        (texts_of_values, mwfs.GrowthLimits(rows=3), "by 4 arguments and parts of them at once; the limit is 3"),
        (texts_of_operators, mwfs.GrowthLimits(rows=3), "arguments and parts of them at once; the limit is 3"),
    ],
)
def test_growth_over_a_limit_is_a_typed_failure_with_a_next_step(workflow: Any, limits: Any, words: str) -> None:
    failure = failure_of(workflow, 4, limits=limits)
    assert failure.error_type == "mwfs.GrowthLimit"
    assert words in failure.message
    assert failure.next_step
    if workflow is widened:
        assert failure.line == MARKED.line_of("wide")


def test_results_that_are_too_much_together_are_a_typed_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dag_answers, "MAX_COLLECTED_BYTES", 500)
    for workflow in (texts_of_operators, texts_of_values):
        assert len(workflow.run_local(n=4)) == 4
        failure = failure_of(workflow, 6)
        assert (failure.error_type, failure.kind) == ("mwfs.GrowthLimit", events_pb2.FAILURE_KIND_LIMIT)
        assert failure.message == "its results have more than 500 bytes together"


def test_arguments_that_are_too_much_together_are_a_typed_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(function_values, "MAX_TOGETHER_BYTES", 1000)
    assert gathered.run_local(n=9) == 900
    failure = failure_of(gathered, 10)
    assert (failure.error_type, failure.kind) == ("OverflowError", events_pb2.FAILURE_KIND_ARGUMENTS)
    assert "given together have more than 1,000 bytes: pass files on" in failure.message
    assert failure.line == MARKED.line_of("gathers")


def test_a_signal_that_nobody_sends_in_time_is_a_timeout_error() -> None:
    failure = failure_of(waits, 1)
    assert failure.error_type == "TimeoutError"
    assert failure.kind == events_pb2.FAILURE_KIND_TIMED_OUT
    assert failure.line == MARKED.line_of("waits")
    assert mwfs.LocalRun().run(waits_and_goes_on, n=1) == -1
    assert mwfs.LocalRun(signals={"approved": 7}).run(waits_and_goes_on, n=1) == 7


def test_a_signal_without_a_timeout_must_be_given() -> None:
    failure = failure_of(waits_for_ever, 1)
    assert "nobody sends here" in failure.message
    assert "LocalRun(signals={'approved'" in failure.next_step


@mwfs.operator
def joined(x: int, y: int) -> int:
    return x + y


@mwfs.workflow
def like_python(n: int, known: bool) -> list[int]:
    if known:
        return mwfs.map(joined, [1, 2], [3, 4])  # type: ignore[arg-type]
    return mwfs.map(joined, numbers(n), numbers(n))  # type: ignore[arg-type]


@pytest.mark.parametrize("known", [True, False])
def test_two_lists_as_pythons_own_map_takes_them_lead_to_zipped(known: bool) -> None:
    with pytest.raises(WrongType) as refused:
        like_python.compile(n=2, known=known)
    assert "mwfs.map(joined, mwfs.zipped(xs, ys))" in refused.value.fix
    assert f"mwfs.map(joined, {pointed_at(refused.value)}" in refused.value.site.source  # type: ignore[union-attr]
