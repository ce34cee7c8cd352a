"""The pace at which submissions begin: none waits while all is in time, and what is behind comes first."""

import asyncio
import gc
import weakref

import pytest
from builders.clocks import HandClock

from mwfs_chassis.errors import Overloaded
from mwfs_orchestrator.gate import BATCH, LATE_S, LOOK_EVERY_S, MAX_WAIT_S, MAX_WAITING, Gate


class Commits:
    def __init__(self) -> None:
        self.delay = 0.0

    def delay_s(self) -> float:
        return self.delay


async def entering(gate: Gate, count: int) -> list["asyncio.Task[Overloaded | None]"]:
    tasks = [asyncio.create_task(gate.enter()) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def begun(tasks: list["asyncio.Task[Overloaded | None]"]) -> int:
    for _ in range(3):
        await asyncio.sleep(0)
    return sum(task.done() and not task.cancelled() and task.result() is None for task in tasks)


async def test_a_batch_begins_at_once_and_the_next_at_the_next_look() -> None:
    gate = Gate(HandClock(), delay_s=Commits().delay_s)
    tasks = await entering(gate, 2 * BATCH)
    assert await begun(tasks) == BATCH
    gate.look(0.1, late_s=0.0)
    assert await begun(tasks) == 2 * BATCH


@pytest.mark.parametrize(("late_s", "delay_s"), [(2 * LATE_S, 0.0), (0.0, 2 * LATE_S)], ids=["the loop", "a commit"])
async def test_nothing_new_begins_while_something_is_late(late_s: float, delay_s: float) -> None:
    commits = Commits()
    gate = Gate(HandClock(), delay_s=commits.delay_s)
    tasks = await entering(gate, BATCH + 1)
    commits.delay = delay_s
    gate.look(0.1, late_s=late_s)
    assert await begun(tasks) == BATCH
    commits.delay = 0.0
    gate.look(0.2, late_s=0.0)
    assert await begun(tasks) == BATCH + 1


async def test_who_waits_too_long_is_told_when_to_come_again() -> None:
    gate = Gate(HandClock(), delay_s=lambda: 2 * LATE_S)
    tasks = await entering(gate, BATCH + 2)
    gate.look(MAX_WAIT_S - 0.1, late_s=0.0)
    assert await begun(tasks) == BATCH
    gate.look(MAX_WAIT_S + 0.1, late_s=0.0)
    for task in tasks[BATCH:]:
        refused = await task
        assert refused is not None
        assert "more submissions than it can begin" in str(refused)
        assert refused.retry_after_s > 0


async def test_who_was_refused_is_gone_without_a_collection() -> None:
    gate = Gate(HandClock(), delay_s=lambda: 2 * LATE_S)
    tasks = await entering(gate, BATCH + 1)
    gate.look(MAX_WAIT_S + 0.1, late_s=0.0)
    refused = await tasks[-1]
    gone = weakref.ref(refused) if refused is not None else None
    gc.disable()
    try:
        del tasks, refused
        await asyncio.sleep(0)  # the loop lets go of what it has just handed over
        assert gone is not None
        assert gone() is None
    finally:
        gc.enable()


async def test_one_more_than_may_wait_is_refused_unread() -> None:
    gate = Gate(HandClock(), delay_s=lambda: 2 * LATE_S)
    tasks = await entering(gate, BATCH + MAX_WAITING - 1)
    assert gate.refusal() is None
    tasks += await entering(gate, 1)
    refusal = gate.refusal()
    assert refusal is not None
    assert refusal.retry_after_s > 0
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_who_has_gone_takes_no_turn() -> None:
    gate = Gate(HandClock(), delay_s=Commits().delay_s)
    tasks = await entering(gate, 2 * BATCH + 1)
    tasks[BATCH].cancel()
    gate.look(0.1, late_s=0.0)
    assert await begun(tasks[BATCH + 1 :]) == BATCH


async def test_it_looks_by_itself_as_long_as_somebody_waits() -> None:
    gate = Gate(HandClock(), delay_s=Commits().delay_s)
    async with asyncio.timeout(60 * LOOK_EVERY_S + 60):
        await asyncio.gather(*(gate.enter() for _ in range(5 * BATCH)))
