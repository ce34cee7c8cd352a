"""In one process, too, a cleanup runs whatever cuts its body short, and after all that it is for."""

import pytest
from unit.sdk.structure import cleaning_workflows
from unit.sdk.structure.workflows import add, double

import mwfs

#: What was called, in order.
CALLS: list[str] = []


@mwfs.operator
def called(name: str) -> int:
    CALLS.append(name)
    if name.startswith("interrupted"):
        raise KeyboardInterrupt
    return 1


@mwfs.operator
def failing(name: str) -> int:
    CALLS.append(name)
    raise ValueError(name)


@mwfs.operator(on_failure="cancel_run")
def fatal(name: str) -> int:
    CALLS.append(name)
    raise ValueError(name)


def _late(depth: int) -> int:
    """What is inside of more control nodes has its turn later."""
    return double(double(1)) if not depth else mwfs.catch(lambda: _late(depth - 1), fallback=0)


def _nested(name: str) -> int:
    return mwfs.with_cleanup(
        lambda: mwfs.reduce(
            add,
            mwfs.map(
                lambda x: mwfs.with_cleanup(lambda: add(called(name), _late(9)) + x, lambda: called("inner")), [1, 2]
            ),
        ),
        lambda: called("outer"),
    )


@mwfs.workflow
def lost() -> list[int]:
    return mwfs.race([lambda: _nested("body"), lambda: _late(4)])


@mwfs.workflow
def lost_and_fails() -> list[int]:
    return mwfs.race([lambda: mwfs.with_cleanup(lambda: _late(9), lambda: failing("cleanup")), lambda: _late(4)])


def late_called(name: str) -> int:
    return mwfs.catch(lambda: mwfs.catch(lambda: mwfs.catch(lambda: called(name), fallback=0), fallback=0), fallback=0)


@mwfs.workflow
def cut_short(name: str) -> int:
    return mwfs.with_cleanup(lambda: add(_nested("body"), late_called(name)), lambda: called("last"))


@mwfs.workflow
def stopped() -> int:
    return mwfs.with_cleanup(lambda: add(_nested("body"), fatal("fatal")), lambda: called("last"))


@mwfs.workflow
def interrupted_again() -> int:
    return mwfs.with_cleanup(lambda: called("interrupted"), lambda: called("interrupted again") + called("never"))


@pytest.fixture(autouse=True)
def calls() -> list[str]:
    CALLS.clear()
    return CALLS


def states(run: mwfs.LocalRun, name: str) -> list[str]:
    return [node.state for node in run.nodes if node.operator.rpartition(":")[2].startswith(name)]


def test_who_loses_a_race_cleans_up_inner_before_outer(calls: list[str]) -> None:
    run = mwfs.LocalRun()
    assert run.run(lost) == [4]
    assert calls == ["body", "body", "inner", "inner", "outer"]
    assert states(run, "with_cleanup") == ["CANCELLED"] * 3
    assert not {"PENDING", "WAITING"} & {node.state for node in run.nodes}


def test_a_loser_whose_cleanup_fails_harms_nobody(calls: list[str]) -> None:
    run = mwfs.LocalRun()
    assert run.run(lost_and_fails) == [4]
    assert (calls[-1], states(run, "failing"), states(run, "with_cleanup")) == ("cleanup", ["FAILED"], ["CANCELLED"])


def test_ctrl_c_in_a_body_runs_the_cleanups_of_what_had_begun(calls: list[str]) -> None:
    run = mwfs.LocalRun()
    with pytest.raises(KeyboardInterrupt):
        run.run(cut_short, name="interrupted")
    assert calls[-5:] == ["interrupted", "inner", "inner", "outer", "last"]
    assert not {"PENDING", "WAITING"} & {node.state for node in run.nodes}


def test_ctrl_c_in_a_cleanup_ends_the_run_at_once(calls: list[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted_again.run_local()
    assert calls == ["interrupted", "interrupted again"]


def test_a_failure_that_cancels_the_run_is_cleaned_up_after(calls: list[str]) -> None:
    with pytest.raises(mwfs.RunFailed, match="fatal"):
        stopped.run_local()
    assert calls[-1] == "last"
    assert calls.index("outer") < calls.index("last")


def test_what_failed_deep_inside_and_cancelled_the_run_is_its_failure() -> None:
    with pytest.raises(mwfs.RunFailed, match="odd"):
        cleaning_workflows.stopped_by_its_own_body.run_local(n=1)
