"""Runs that grow, with crashes and lost attempts between any two steps, end as `run_local` says."""

import random
from typing import Any

import pytest
from simulation.cleaning_world import CleaningWorld
from simulation.growing_world import GrowingWorld
from unit.sdk.structure import cleaning_workflows, policies, waiting_workflows, workflows

import mwfs
from mwfs.local_files import LocalFiles
from mwfs_types.annotations import type_of
from mwfs_types.values import encode


def growing() -> list[mwfs.Workflow[..., Any]]:
    found = []
    for one in (*vars(workflows).values(), *vars(policies).values()):
        if isinstance(one, mwfs.Workflow) and [parameter.name for parameter in one.parameters] in (["n"], ["x"]):
            found.append(one)
    return found


def expected(workflow: mwfs.Workflow[..., Any], inputs: dict[str, Any], **signals: Any) -> Any:
    try:
        return mwfs.LocalRun(signals=signals).run(workflow, **inputs)
    except mwfs.RunFailed as error:
        return error.failure.error_type if error.failure is not None else None


@pytest.mark.parametrize("first_seed", range(0, 400, 50))
def test_a_growing_run_ends_as_in_one_process_whatever_dies(first_seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Hosts are lost so often here that the usual bound would end runs.
    monkeypatch.setattr("mwfs_orchestrator.attempts.MAX_LOST_ATTEMPTS", 1_000_000)
    every = growing()
    assert len(every) > 40
    for seed in range(first_seed, first_seed + 50):
        dice = random.Random(seed)
        workflow = dice.choice(every)
        inputs = {workflow.parameters[0].name: dice.randint(0, 4)}
        world = GrowingWorld(seed, workflow, inputs)
        try:
            world.live()
            found, wanted = world.result(), expected(workflow, inputs)
            if workflow.__name__.startswith("raced"):  # whoever is first
                assert world.cancelled or type(found) is type(wanted)
            else:
                assert world.cancelled or found == wanted
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, {workflow.__name__}{inputs}: {error}") from error


@pytest.mark.parametrize("first_seed", range(0, 400, 50))
def test_what_waits_for_signals_and_time_ends_as_told_whatever_dies(
    first_seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mwfs_orchestrator.attempts.MAX_LOST_ATTEMPTS", 1_000_000)
    files = LocalFiles()
    payloads = {
        name: encode(payload, type_of(int | None if payload is None else type(payload)), files)
        for name, payload in waiting_workflows.SIGNALS.items()
    }
    every = list(waiting_workflows.EXPECTED.items())
    for seed in range(first_seed, first_seed + 50):
        dice = random.Random(seed)
        workflow, wanted = every[seed % len(every)]
        n = dice.randint(0, 4)
        world = GrowingWorld(seed, workflow, {"n": n}, payloads)
        try:
            world.live()
            assert world.cancelled or world.result() == wanted(n)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, {workflow.__name__}({n}): {error}") from error


@pytest.mark.parametrize("first_seed", range(0, 160, 40))
def test_what_had_begun_is_cleaned_up_whatever_cuts_it_short(first_seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mwfs_orchestrator.attempts.MAX_LOST_ATTEMPTS", 1_000_000)
    every = [one for one in vars(cleaning_workflows).values() if isinstance(one, mwfs.Workflow)]
    cleaned = skipped = 0
    for seed in range(first_seed, first_seed + 40):
        dice = random.Random(seed)
        workflow = every[seed % len(every)]
        n = dice.randint(0, 4)
        world = CleaningWorld(seed, workflow, {"n": n}, {"clean": encode(1, type_of(int), LocalFiles())})
        try:
            world.live()
            found, wanted = world.result(), expected(workflow, {"n": n}, clean=1)
            if workflow.__name__.startswith("raced"):  # whoever is first
                assert world.cancelled or type(found) is type(wanted)
            else:
                assert world.cancelled or found == wanted
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, {workflow.__name__}({n}): {error}") from error
        cleaned += world.cleaned
        skipped += world.skipped
    assert cleaned > 20
    assert skipped
