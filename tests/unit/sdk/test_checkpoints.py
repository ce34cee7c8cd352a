"""`mwfs.ctx`: what an operator keeps for the next attempt of its node, in this process."""

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import mwfs
from mwfs import ctx, testing
from mwfs.artifacts import ArtifactStore
from mwfs.attempt_context import CurrentAttempt, Preempted, entered
from mwfs.checkpoints import CheckpointShelf
from mwfs.errors import ArtifactDamaged, ArtifactMissing, BadCheckpoint, CheckpointTooLarge, OutsideOperator
from mwfs.examples import epochs
from mwfs_api.events.v1 import events_pb2


@dataclass
class Weights:
    step: int
    values: list[float]


@mwfs.operator(retry=2)
def count(steps: int, breaks_at: int) -> list[str]:
    resumed = ctx.resume_from
    seen: list[str] = [] if resumed is None else list(resumed.value)
    first = 0 if resumed is None else resumed.step
    for step in range(first, steps):
        seen.append(f"{ctx.attempt}:{step}")
        ctx.checkpoint(seen, step=step + 1)
        if step == breaks_at and first <= breaks_at and ctx.attempt == 1:
            raise ConnectionError("cut")
    return seen


@mwfs.workflow
def counting(steps: int, breaks_at: int = -1) -> list[str]:
    return count(steps, breaks_at)


@mwfs.operator
def keeps_all_it_is_given(ignored: int) -> int:
    ctx.checkpoint({"a": 1})
    assert ctx.resume_from is None
    assert not ctx.preempted
    assert ctx.seconds_left is None
    return ignored


@pytest.fixture
def shelf(tmp_path: Path) -> CheckpointShelf:
    return CheckpointShelf(ArtifactStore(tmp_path / "store"), max_bytes=50_000)


def attempt_on(shelf: CheckpointShelf, kept: list[events_pb2.Checkpoint], **changed: Any) -> CurrentAttempt:
    given: dict[str, Any] = {
        "run_id": "run",
        "node": 3,
        "number": 2,
        "shelf": shelf,
        "resume_from": None,
        "deadline": lambda: None,
        "kept": kept.append,
    }
    return CurrentAttempt(**given | changed)


# What a checkpoint gives back.


@pytest.mark.parametrize("value", [None, 0, "text", b"\0\1", [1.5], {"w": {1, 2}}, Weights(3, [0.5]), (ctx.__class__,)])
def test_any_plain_value_comes_back_as_it_was(shelf: CheckpointShelf, value: Any) -> None:
    kept: list[events_pb2.Checkpoint] = []
    with entered(attempt_on(shelf, kept)):
        ctx.checkpoint(value, step=7)
    (checkpoint,) = kept
    assert (checkpoint.key, checkpoint.step, checkpoint.attempt, checkpoint.number) == (
        "checkpoints/run/3/2-1",
        7,
        2,
        1,
    )
    with entered(attempt_on(shelf, [], number=3, resume_from=checkpoint)):
        resumed = ctx.resume_from
        assert resumed is not None
        assert (resumed.step, resumed.attempt) == (7, 2)
        assert resumed.value == value
        assert resumed.value is resumed.value, "it is fetched once"


def test_a_file_and_a_folder_come_back_as_copies(shelf: CheckpointShelf, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.bin").write_bytes(b"abc")
    kept: list[events_pb2.Checkpoint] = []
    with entered(attempt_on(shelf, kept)):
        ctx.checkpoint(tmp_path / "model")
        ctx.checkpoint(tmp_path / "model" / "weights.bin")
    (tmp_path / "model" / "weights.bin").write_bytes(b"changed later")
    folder, file = (shelf.read(checkpoint) for checkpoint in kept)
    assert (folder.name, (folder / "weights.bin").read_bytes()) == ("model", b"abc")
    assert (file.name, file.read_bytes()) == ("weights.bin", b"abc")


def test_a_value_of_another_class_is_refused_by_name(shelf: CheckpointShelf) -> None:
    kept: list[events_pb2.Checkpoint] = []
    with entered(attempt_on(shelf, kept)):
        ctx.checkpoint([1])
    with entered(attempt_on(shelf, [], resume_from=kept[0])):
        assert ctx.resume_from is not None
        assert ctx.resume_from.value_as(list) == [1]
        with pytest.raises(BadCheckpoint, match="is list, not Weights"):
            ctx.resume_from.value_as(Weights)


# What cannot be kept changes nothing.


class Hostile:
    def __reduce__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "error", "says"),
    [
        (lambda: 0, BadCheckpoint, "function cannot be kept"),
        (threading.Lock(), BadCheckpoint, "lock cannot be kept"),
        (Hostile(), BadCheckpoint, "Hostile cannot be kept .*RuntimeError: no"),
        (mwfs.File("a.txt"), BadCheckpoint, "A File cannot be kept .*file of this machine"),
        ({"best": mwfs.Checkpoint("a.txt")}, BadCheckpoint, "A Checkpoint cannot be kept .*inside of one"),
        (Path("no-such-file"), BadCheckpoint, "no-such-file is not there"),
        (b"x" * 60_000, CheckpointTooLarge, "more than the 50,000 bytes"),
        ([b"x" * 30_000, b"y" * 30_000], CheckpointTooLarge, "more than the 50,000 bytes"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_what_was_kept_stays(
    shelf: CheckpointShelf, value: Any, error: type[Exception], says: str
) -> None:
    kept: list[events_pb2.Checkpoint] = []
    with entered(attempt_on(shelf, kept)):
        ctx.checkpoint("good", step=1)
        with pytest.raises(error, match=says):
            ctx.checkpoint(value, step=2)
    assert [shelf.read(one) for one in kept] == ["good"]


def test_files_and_folders_have_the_same_bound(shelf: CheckpointShelf, tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "file").write_bytes(b"x" * 60_000)
    with entered(attempt_on(shelf, [])):
        for path in (tmp_path / "large", tmp_path / "large" / "file"):
            with pytest.raises(CheckpointTooLarge):
                ctx.checkpoint(path)


@pytest.mark.parametrize("step", [-1, 1.5, True, "3", 1 << 63])
def test_a_step_is_a_whole_number(shelf: CheckpointShelf, step: Any) -> None:
    with entered(attempt_on(shelf, [])), pytest.raises(BadCheckpoint, match="is not a step"):
        ctx.checkpoint(1, step=step)


def test_damaged_and_missing_bytes_are_never_unpickled(shelf: CheckpointShelf, tmp_path: Path) -> None:
    kept: list[events_pb2.Checkpoint] = []
    with entered(attempt_on(shelf, kept)):
        ctx.checkpoint("good")
    stored = tmp_path / "store" / kept[0].key
    stored.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(ArtifactDamaged, match="do not match its digest"):
        shelf.read(kept[0])
    shelf.drop(kept[0])
    shelf.drop(kept[0])
    with pytest.raises(ArtifactMissing):
        shelf.read(kept[0])


# Where there is an attempt.


def test_outside_of_an_operator_there_is_none() -> None:
    for ask in (lambda: ctx.checkpoint(1), lambda: ctx.resume_from, lambda: ctx.attempt, lambda: ctx.seconds_left):
        with pytest.raises(OutsideOperator, match="where no operator runs"):
            ask()
    assert not ctx.preempted


def test_an_operator_can_still_be_called_as_a_function() -> None:
    assert keeps_all_it_is_given(5) == 5
    assert count(2, -1) == ["1:0", "1:1"]


def test_threads_of_an_operator_share_its_attempt(shelf: CheckpointShelf) -> None:
    kept: list[events_pb2.Checkpoint] = []
    with entered(attempt_on(shelf, kept)):
        threads = [threading.Thread(target=ctx.checkpoint, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(one.number for one in kept) == list(range(1, 9))
    assert sorted(shelf.read(one) for one in kept) == list(range(8))


def test_a_forked_child_keeps_nothing(shelf: CheckpointShelf, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = attempt_on(shelf, [])
    monkeypatch.setattr(os, "getpid", lambda: attempt.pid + 1)
    with entered(attempt), pytest.raises(OutsideOperator, match="process that the operator has started"):
        ctx.checkpoint(1)


# Making room.


def test_once_asked_the_checkpoint_is_kept_and_the_attempt_ends(shelf: CheckpointShelf) -> None:
    kept: list[events_pb2.Checkpoint] = []
    with entered(attempt_on(shelf, kept, deadline=lambda: 1e12)):
        assert ctx.preempted
        assert (ctx.seconds_left or 0) > 1e9
        try:
            with pytest.raises(Preempted):
                ctx.checkpoint("last")
        except Exception:
            raise AssertionError("`except Exception` of an operator would swallow it") from None
    assert shelf.read(kept[0]) == "last"


def test_a_preempted_node_goes_on_where_it_was_and_costs_no_try() -> None:
    with testing.preempted(count, after=2, times=2) as preemption:
        assert counting.run_local(steps=5) == ["1:0", "1:1", "2:2", "2:3", "3:4"]
    assert preemption.preempted == [("local", 0, 1), ("local", 0, 2)]


def test_a_retried_attempt_goes_on_where_the_failed_one_was() -> None:
    assert counting.run_local(steps=4, breaks_at=1) == ["1:0", "1:1", "2:2", "2:3"]


def test_an_operator_that_raises_preempted_unasked_fails() -> None:
    with pytest.raises(mwfs.RunFailed, match="Preempted"):
        mwfs.LocalRun(replace={count: _gives_up}).run(counting, steps=1)


def _gives_up(steps: int, breaks_at: int) -> list[str]:
    raise Preempted


def test_another_operator_is_not_disturbed() -> None:
    with testing.preempted(keeps_all_it_is_given, after=0) as preemption:
        assert counting.run_local(steps=2) == ["1:0", "1:1"]
    assert not preemption.preempted


def test_the_example_gives_the_same_however_often_it_is_interrupted() -> None:
    undisturbed = epochs.train.run_local(epochs=6)
    with testing.preempted(epochs.fit, after=2, times=2) as preemption:
        disturbed = epochs.train.run_local(epochs=6)
    assert len(preemption.preempted) == 2
    assert disturbed[:3] == undisturbed[:3]
    assert (undisturbed.first_epoch_here, disturbed.first_epoch_here) == (0, 4)
    assert disturbed.losses[-1] < disturbed.losses[0]


def test_whether_it_may_be_preempted_is_an_option() -> None:
    assert not count.to_proto([0, 0], [0]).not_preemptible
    assert count.with_options(preemptible=False).to_proto([0, 0], [0]).not_preemptible
    with pytest.raises(ValueError, match="preemptible="):
        count.with_options(preemptible="no")  # type: ignore[arg-type]
