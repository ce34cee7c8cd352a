"""Many random lives of a run: crashes, lost attempts, cancellations and revivals between any two steps."""

import pytest
from simulation.run_world import RunWorld


@pytest.mark.parametrize("first_seed", range(0, 1_000, 100))
def test_every_run_ends_with_nothing_lost_and_nothing_doubled(first_seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # A few steps of these worlds: some chains keep their room to the end, others lose it.
    monkeypatch.setattr("mwfs_orchestrator.attempts.ROOM_HELD_US", 3_000)
    for seed in range(first_seed, first_seed + 100):
        try:
            RunWorld(seed).live()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
