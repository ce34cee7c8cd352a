"""The table of states says all that happens to runs and nodes, and nothing that never does."""

import random

import pytest
from simulation.growing_world import GrowingWorld
from simulation.kept_world import KeptWorld
from simulation.run_world import CheckedRun, RunWorld
from simulation.test_growing_worlds import growing

from mwfs_orchestrator.states import NODE_TRANSITIONS, RUN_TRANSITIONS, AttemptState, NodeState


def test_every_move_that_the_table_has_is_made_in_some_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CheckedRun, "taken", set())
    monkeypatch.setattr("mwfs_orchestrator.attempts.MAX_LOST_ATTEMPTS", 1_000_000)
    tables = (RUN_TRANSITIONS, NODE_TRANSITIONS)
    wanted = {(before, after) for table in tables for before, row in table.items() for after in row}
    every = growing()
    for seed in range(10_000, 12_000):
        dice = random.Random(seed)
        RunWorld(seed).live()
        if seed % 10 == 0:
            workflow = dice.choice(every)
            GrowingWorld(seed, workflow, {workflow.parameters[0].name: dice.randint(0, 4)}).live()
        if CheckedRun.taken == wanted:
            return
    missing = sorted(f"{before.name} → {after.name}" for before, after in wanted - CheckedRun.taken)
    raise AssertionError(f"never seen: {', '.join(missing)}")


def test_attempts_that_have_to_make_room_end_in_every_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeptWorld, "ends", set())
    wanted = {
        (AttemptState.PREEMPTED, NodeState.READY),
        (AttemptState.PREEMPTED, NodeState.PENDING),  # of a paused run
        (AttemptState.PREEMPTED, NodeState.CANCELLED),
        (AttemptState.SUCCEEDED, NodeState.SUCCEEDED),
        (AttemptState.FAILED, NodeState.FAILED),
        (AttemptState.FAILED, NodeState.WAITING),
        (AttemptState.LOST, NodeState.READY),
    }
    for seed in range(20_000, 22_000):
        RunWorld(seed).live()
        if wanted <= KeptWorld.ends:
            never = {(AttemptState.PREEMPTED, NodeState.FAILED), (AttemptState.PREEMPTED, NodeState.WAITING)}
            assert not never & KeptWorld.ends, "a preemption used up a try"
            return
    raise AssertionError(f"never seen: {wanted - KeptWorld.ends}")
