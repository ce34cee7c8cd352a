"""What has ended is gone from memory at once, and not with some later collection of cycles."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from mwfs_api.events.v1 import events_pb2 as ev
from mwfs_orchestrator.active_run import ActiveRun

from .conftest import World
from .dags import chain, fanout
from .neighbours import fail


@pytest.fixture
def no_collections() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def in_memory() -> int:
    return sum(type(one) is ActiveRun for one in gc.get_objects())


@pytest.mark.usefixtures("no_collections")
async def test_ended_runs_are_gone_from_memory_without_a_collection(world: World) -> None:
    before = in_memory()
    answers = await world.submit(*[chain(3)] * 20, *[fanout(5)] * 20)
    ends = await asyncio.gather(*(world.wait(answer.accepted.run_id) for answer in answers))
    assert {run.state for run in ends} == {ev.RUN_STATE_SUCCEEDED}
    world.host.answer = fail
    failed = await world.run(chain(2), "fails")
    assert failed.state == ev.RUN_STATE_FAILED
    # What the last commits were about may still be in a variable somewhere.
    assert in_memory() - before <= 4
