"""The table of states says all that happens to runs and nodes, and nothing that never does."""

import random

import pytest
from simulation.growing_world import GrowingWorld
from simulation.run_world import CheckedRun, RunWorld
from simulation.test_growing_worlds import growing

from mwfs_orchestrator.states import NODE_TRANSITIONS, RUN_TRANSITIONS


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
