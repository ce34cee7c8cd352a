"""Lists of runs: every filter, in pages that hold on to their place, across shards."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from mwfs_api.events.v1 import events_pb2 as ev
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb

from .conftest import World
from .dags import WORKFLOW, chain
from .neighbours import fail, succeed


async def listed(world: World, *, team: str = "red", page_size: int = 0, **about: Any) -> list[pb.Run]:
    """All pages."""
    found: list[pb.Run] = []
    request = pb.ListRunsRequest(page_size=page_size, **about)
    while True:
        page = await world.stub.ListRuns(request, metadata=world.metadata(team))
        assert len(page.runs) <= (page_size or 50)
        found += page.runs
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def names(world: World, **about: Any) -> list[str]:
    return [run.request_id for run in await listed(world, **about)]


@pytest.fixture
async def populated(world: World) -> World:
    """Twelve runs: every third fails, every fourth goes on; tagged by number."""

    def answer(launch: Any) -> Any:
        number = int(world.tags[launch.key.run_id])  # type: ignore[attr-defined]
        return fail(launch) if number % 3 == 0 else None if number % 4 == 1 else succeed(launch)

    world.tags = {}  # type: ignore[attr-defined]
    world.host.answer = lambda launch: None
    ids = []
    for number in range(12):
        tags = {"number": str(number), "parity": "even" if number % 2 == 0 else "odd"}
        (accepted,) = await world.submit(chain(1), request_ids=[f"run-{number}"], tags=tags)
        ids.append(accepted.accepted.run_id)
        world.tags[ids[-1]] = str(number)  # type: ignore[attr-defined]
    await world.host.until(lambda: len(world.host.live) == 12)
    for key, launch in list(world.host.live.items()):
        outcome = answer(launch)
        if outcome is not None:
            world.host.finish(key, outcome)
    for number, run_id in enumerate(ids):
        if number % 3 == 0 or number % 4 != 1:
            await world.wait(run_id)
    return world


def expected(wanted: Callable[[int], bool]) -> list[str]:
    return [f"run-{number}" for number in reversed(range(12)) if wanted(number)]


async def test_each_filter_alone_and_together(populated: World) -> None:
    world = populated
    everything = await listed(world)
    times = {run.request_id: run.create_time_us for run in everything}
    assert [run.request_id for run in everything] == expected(lambda n: True)
    failed, running = ev.RUN_STATE_FAILED, ev.RUN_STATE_RUNNING
    assert await names(world, states=[failed]) == expected(lambda n: n % 3 == 0)
    assert await names(world, states=[failed, running]) == expected(lambda n: n % 3 == 0 or n % 4 == 1)
    assert await names(world, workflow=WORKFLOW) == expected(lambda n: True)
    assert await names(world, workflow="other:run") == []
    assert await names(world, workflow=WORKFLOW, states=[failed]) == expected(lambda n: n % 3 == 0)
    assert await names(world, tags={"number": "7"}) == ["run-7"]
    assert await names(world, tags={"parity": "even", "number": "4"}) == ["run-4"]
    assert await names(world, tags={"parity": "even", "number": "5"}) == []
    assert await names(world, tags={"parity": "odd"}, states=[failed]) == expected(lambda n: n % 2 == 1 and n % 3 == 0)
    assert await names(world, text="ValueError") == expected(lambda n: n % 3 == 0)
    assert await names(world, text="valueerr no") == expected(lambda n: n % 3 == 0)
    assert await names(world, text="alueError") == []
    assert await names(world, text="parity odd", states=[running]) == expected(lambda n: n % 4 == 1 and n % 3 > 0)
    assert await names(world, text="sample:run tester") == expected(lambda n: True)
    assert await names(world, text="run-11") == ["run-11"]
    assert await names(world, text="it's (a) 'query' & !b | :*") == []
    since, until = times["run-3"], times["run-8"]
    for about in ({}, {"states": [failed, running, 6]}, {"workflow": WORKFLOW}, {"text": "tester"}):
        in_time = await names(world, created_after_us=since, created_before_us=until, **about)
        assert in_time == expected(lambda n: 3 <= n < 8), about
    assert await names(world, created_after_us=since, created_before_us=until, tags={"parity": "odd"}) == expected(
        lambda n: 3 <= n < 8 and n % 2 == 1
    )
    assert await listed(world, team="blue", text="tester") == []


@pytest.mark.parametrize(
    "about",
    [{}, {"states": [3, 6, 7]}, {"workflow": WORKFLOW}, {"tags": {"parity": "even"}}, {"text": "tester"}],
)
async def test_pages_hold_on_to_their_place(populated: World, about: dict[str, Any]) -> None:
    world = populated
    whole = await names(world, **about)
    assert await names(world, page_size=1, **about) == whole
    first = await world.stub.ListRuns(pb.ListRunsRequest(page_size=3, **about), metadata=world.metadata())
    await world.submit(chain(1), request_ids=["newer"], tags={"parity": "even", "number": "99"})
    rest = await listed(world, page_token=first.next_page_token, **about)
    assert [run.request_id for run in [*first.runs, *rest]] == whole


async def test_a_revived_run_is_found_by_its_new_state(populated: World) -> None:
    world = populated
    world.host.answer = succeed
    (failed,) = await listed(world, tags={"number": "3"})
    await world.stub.RetryRun(pb.RetryRunRequest(run_id=failed.run_id), metadata=world.metadata())
    await world.wait(failed.run_id)
    assert "run-3" in await names(world, states=[ev.RUN_STATE_SUCCEEDED])
    assert "run-3" not in await names(world, text="ValueError")


async def test_a_malformed_filter_is_refused(world: World) -> None:
    malformed: list[dict[str, Any]] = [
        {"states": [0]},
        {"states": [99]},
        {"states": [-1]},
        {"workflow": "no colon"},
        {"workflow": "a:b\0"},
        {"tags": {"": "x"}},
        {"tags": {"a": "\0"}},
        {"tags": {str(number): "x" for number in range(33)}},
        {"text": "\0"},
        {"text": "x" * 201},
        {"text": "- ' &"},
        {"created_after_us": -1},
        {"created_before_us": -1},
        {"created_before_us": (1 << 63) - 1},
        {"page_token": "x"},
        {"page_token": "AAAA"},
        {"page_size": 1_001},
    ]
    for about in malformed:
        call = world.stub.ListRuns(pb.ListRunsRequest(**about), metadata=world.metadata())
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT, about
