"""What has ended is gone from memory at once, and not with some later collection of cycles."""

import asyncio
import gc
from collections.abc import Callable, Iterator

import pytest

from mwfs_api.events.v1 import events_pb2 as ev
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_orchestrator.active_run import ActiveRun
from mwfs_orchestrator.assembly import Assemblies
from mwfs_orchestrator.submissions import _MAX_WORKING

from .conftest import World, parts_of
from .dags import WORKFLOW, chain, fanout
from .inside import gate_of
from .neighbours import fail


@pytest.fixture
def no_collections() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def of_type(kind: type) -> int:
    return sum(type(one) is kind for one in gc.get_objects())


@pytest.mark.usefixtures("no_collections")
async def test_ended_runs_are_gone_from_memory_without_a_collection(world: World) -> None:
    before = of_type(ActiveRun)
    answers = await world.submit(*[chain(3)] * 20, *[fanout(5)] * 20)
    ends = await asyncio.gather(*(world.wait(answer.accepted.run_id) for answer in answers))
    assert {run.state for run in ends} == {ev.RUN_STATE_SUCCEEDED}
    world.host.answer = fail
    failed = await world.run(chain(2), "fails")
    assert failed.state == ev.RUN_STATE_FAILED
    # What the last commits were about may still be in a variable somewhere.
    assert of_type(ActiveRun) - before <= 4


@pytest.mark.usefixtures("no_collections")
async def test_streams_that_were_broken_off_are_gone_from_memory_without_a_collection(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = 0

    async def enter() -> None:
        nonlocal waiting
        waiting += 1
        await asyncio.Event().wait()

    monkeypatch.setattr(gate_of(world), "enter", enter)
    # More than may be worked on at once, so that the stream is not read when it is broken off.
    header = pb.SubmitHeader(request_id="waits", workflow=WORKFLOW)
    dag = chain(2).SerializeToString()
    parts = [part for number in range(_MAX_WORKING + 1) for part in parts_of(number, dag, header)]
    for number in range(1, 4):
        call = world.stub.SubmitRuns(metadata=world.metadata())
        await call.write(pb.SubmitRunsRequest(parts=parts))
        await until(lambda number=number: waiting == number * _MAX_WORKING)  # type: ignore[misc]
        call.cancel()
        del call
        await until(lambda: of_type(Assemblies) == of_type(pb.SubmitRunsRequest) == 0)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - nobody tells what the memory holds
            await asyncio.sleep(0.01)
