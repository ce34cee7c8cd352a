"""Teams share a small platform: who borrows makes room for who is promised it, keeps a checkpoint, and goes on from there."""

import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest

from mwfs.client import RunEvent, Submitted
from mwfs.client.async_client import Client
from mwfs.examples import epochs
from mwfs_api.events.v1 import events_pb2 as ev
from mwfs_api.scheduler.v1 import scheduler_pb2

from .conftest import WORKFLOWS, Answer, Mwfs
from .histories import pid_of, violations_of

SUCCEEDED = ev.RUN_STATE_SUCCEEDED


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A platform with one core, which `blue` is promised: `red` borrows it."""
    folder = tmp_path_factory.mktemp("shared")
    command = Mwfs(home=folder / "home", folder=folder)
    command("up", "--detach", "--cpus", "1", check=True, MWFS_SCHEDULER_GRACE_S="600")
    command("quotas", "set", "blue", "--guarantee", "cpu=1", check=True)
    yield command.home
    command("down", "--purge", check=True)


@pytest.fixture
async def red(home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    monkeypatch.syspath_prepend(str(WORKFLOWS))
    async with Client(home=home, team="red", patience_s=120) as client:
        yield client


@pytest.fixture
async def blue(home: Path) -> AsyncIterator[Client]:
    async with Client(home=home, team="blue", patience_s=120) as client:
        yield client


async def event(client: Client, run: Submitted, kind: int) -> RunEvent:
    """The first event of this kind, once it is there."""
    async with aclosing(client.events(run, follow=True)) as events:
        async for one in events:
            if one.kind == kind:
                return one
    raise AssertionError(f"the run has no event of kind {kind}")


async def test_a_training_makes_room_and_goes_on_at_the_epoch_where_it_was(
    home: Path, red: Client, blue: Client
) -> None:
    import roomy

    training = await red.submit(epochs.train, {"epochs": 30, "seconds": 0.1})
    await event(red, training, ev.EVENT_KIND_NODE_CHECKPOINTED)
    needed = await blue.submit(roomy.hurry, {"x": 1})
    assert (await blue.wait(needed)).state == SUCCEEDED
    told = await event(red, training, ev.EVENT_KIND_NODE_PREEMPTING)
    assert isinstance(told.fact, ev.PreemptionFacts)
    assert "blue" in told.fact.reason
    run = await red.wait(training)
    assert run.state == SUCCEEDED
    result = epochs.Fit(**await red.outputs(training))
    assert result[:3] == epochs.train.run_local(epochs=30)[:3], "the same as undisturbed"
    kept = [one.fact async for one in red.events(training) if one.kind == ev.EVENT_KIND_NODE_CHECKPOINTED]
    steps = [fact.step for fact in kept if isinstance(fact, ev.Checkpoint)]
    assert steps == sorted(set(steps)), "no epoch was done twice"
    assert result.first_epoch_here in steps, "the second attempt began at a checkpoint"
    assert 0 < result.first_epoch_here < 30
    (node,) = [node async for node in red.nodes(training)]
    assert (node.attempt, node.state) == (2, ev.NODE_STATE_SUCCEEDED)
    assert await violations_of(home, red, run) == []


async def test_who_watches_a_team_sees_it_borrow_and_what_preemption_takes(
    home: Path, red: Client, blue: Client, tmp_path: Path
) -> None:
    import roomy

    waits = await red.submit(roomy.waits, {"folder": str(tmp_path)})
    await event(red, waits, ev.EVENT_KIND_NODE_CHECKPOINTED)
    watching = Mwfs(home=home, folder=tmp_path).start("teams", "watch", "red", "--output", "json")
    assert watching.stdout is not None
    try:
        before = json.loads(watching.stdout.readline())
        assert (before["usage"], before["guaranteed"], before["borrowed"]) == ({"cpu": 1}, {}, {"cpu": 1})
        needed = await blue.submit(roomy.hurry, {"x": 1})
        await event(red, waits, ev.EVENT_KIND_NODE_PREEMPTING)
        (tmp_path / "go").touch()
        assert (await blue.wait(needed)).state == SUCCEEDED
        await red.wait(waits)
        (node,) = [node async for node in red.nodes(waits)]
        after = before
        while after["usage"] or after["preempted_nodes"] == before["preempted_nodes"]:
            after = json.loads(watching.stdout.readline())
        assert after["preempted_nodes"] == before["preempted_nodes"] + 1
        lost = after["lost_resource_seconds"].get("cpu", 0) - before["lost_resource_seconds"].get("cpu", 0)
        assert lost == pytest.approx(node.interruptions.lost_us / 1e6, abs=0.01), "of one core"
    finally:
        watching.kill()
        watching.communicate()


async def test_what_the_command_line_says_of_it(home: Path, red: Client, blue: Client, project: Path) -> None:
    import roomy

    training = await red.submit(epochs.train, {"epochs": 20, "seconds": 0.1})
    await event(red, training, ev.EVENT_KIND_NODE_CHECKPOINTED)
    await blue.wait(await blue.submit(roomy.hurry, {"x": 1}))
    await red.wait(training)
    said = Mwfs(home=home, folder=project)("events", training.run_id, check=True, MWFS_TEAM="red").out
    assert "NODE_CHECKPOINTED" in said
    assert "step 1, " in said
    assert "NODE_PREEMPTING" in said
    assert "Room is needed for work of blue" in said
    assert "It had kept a checkpoint at step" in said
    shown = Mwfs(home=home, folder=project)("nodes", training.run_id, 0, check=True, MWFS_TEAM="red").out
    assert "Preempted: once" in shown
    assert " checkpoints, the last at step 20, " in shown
    assert "Room is needed for work of blue" in shown
    replayed = Mwfs(home=home, folder=project)("replay", training.run_id, 0, MWFS_TEAM="red")
    assert (replayed.code, "epoch 20: loss" in replayed.err) == (0, True), replayed


@pytest.mark.parametrize("killed", ["nothing", "orchestrator", "scheduler", "action_service", "worker", "cancelled"])
async def test_while_it_has_its_time(home: Path, red: Client, blue: Client, tmp_path: Path, killed: str) -> None:
    import roomy

    waits = await red.submit(roomy.waits, {"folder": str(tmp_path)})
    await event(red, waits, ev.EVENT_KIND_NODE_CHECKPOINTED)
    needed = await blue.submit(roomy.hurry, {"x": 1})
    await event(red, waits, ev.EVENT_KIND_NODE_PREEMPTING)
    if killed == "worker":
        while not (pids := [int(path.name.partition("-")[2]) for path in tmp_path.glob("worker-*")]):
            await event(red, waits, ev.EVENT_KIND_NODE_PREEMPTING)  # a round trip: it will see that it was told
        os.kill(pids[0], signal.SIGKILL)
    elif killed == "cancelled":
        await red.cancel(waits)
    elif killed != "nothing":
        os.kill(pid_of(home, killed), signal.SIGKILL)
    (tmp_path / "go").touch()
    assert (await blue.wait(needed)).state == SUCCEEDED
    run = await red.wait(waits, check=False)
    assert await violations_of(home, red, run) == []
    if killed == "cancelled":
        assert run.state == ev.RUN_STATE_CANCELLED
        return
    assert run.state == SUCCEEDED
    done = (await red.outputs(waits))["result"]
    # Lost with the service or the worker: it goes on from the checkpoint before.
    first = ["began in 1"] if killed in ("action_service", "worker") else ["began in 1", "told in 1"]
    assert done == [*first, "ended in 2"]


async def decided_about(client: Client, run: Submitted) -> scheduler_pb2.WaitingGroup:
    """Why the run's only node waits, once the scheduler has decided that it does."""
    while not (groups := await client.explain_waiting(run)):
        pass  # a round trip
    (group,) = groups
    return group


async def kinds_of(client: Client, run: Submitted) -> list[int]:
    """The kinds of the events that there are by now."""
    last, kinds = (await client.get_run(run)).last_event_number, list[int]()
    async with aclosing(client.events(run)) as events:
        async for one in events:
            kinds.append(one.kind)
            if one.number >= last:
                break
    return kinds


async def start_of(client: Client, run: Submitted) -> int:
    (node,) = [node async for node in client.nodes(run)]
    return node.start_time_us


async def test_what_is_not_preemptible_goes_on_and_who_is_promised_the_room_waits_for_its_end(
    home: Path, red: Client, blue: Client, tmp_path: Path
) -> None:
    import roomy

    stays = await red.submit(roomy.stays, {"folder": str(tmp_path)})
    await event(red, stays, ev.EVENT_KIND_NODE_STARTED)
    needed = await blue.submit(roomy.hurry, {"x": 1})
    waiting = await decided_about(blue, needed)
    assert (waiting.waiting, waiting.permanent) == (1, False)
    assert waiting.reason == scheduler_pb2.WAITING_REASON_WAITING_FOR_CAPACITY, waiting.message
    command = Mwfs(home=home, folder=tmp_path)
    (node,) = command.json("nodes", needed.run_id, MWFS_TEAM="blue")["nodes"]
    assert (node["state"], node["waiting"]["reason"]) == ("READY", "waiting_for_capacity")
    assert command.json("explain", needed.run_id, 0, MWFS_TEAM="blue")["waiting"][0]["message"] == waiting.message
    assert ev.EVENT_KIND_NODE_PREEMPTING not in await kinds_of(red, stays)
    (tmp_path / "go").touch()
    run = await red.wait(stays)
    assert (run.state, (await red.outputs(stays))["result"]) == (SUCCEEDED, "ended in 1, told: False")
    assert (await blue.wait(needed)).state == SUCCEEDED
    assert ev.EVENT_KIND_NODE_PREEMPTING not in await kinds_of(red, stays)
    assert await violations_of(home, red, run) == []


async def test_a_run_of_higher_priority_has_the_room_of_one_of_its_own_team_and_one_of_the_same_has_not(
    home: Path, red: Client, tmp_path: Path
) -> None:
    import roomy

    low = await red.submit(roomy.waits, {"folder": str(tmp_path)})
    await event(red, low, ev.EVENT_KIND_NODE_CHECKPOINTED)
    same = await red.submit(roomy.hurry, {"x": 1})
    await decided_about(red, same)
    assert ev.EVENT_KIND_NODE_PREEMPTING not in await kinds_of(red, low)
    high = await red.submit(roomy.hurry, {"x": 2}, priority=1)
    told = await event(red, low, ev.EVENT_KIND_NODE_PREEMPTING)
    assert isinstance(told.fact, ev.PreemptionFacts)
    assert "red" in told.fact.reason
    (tmp_path / "go").touch()
    runs = [await red.wait(one) for one in (low, same, high)]
    assert [run.state for run in runs] == [SUCCEEDED] * 3
    assert (await red.outputs(low))["result"] == ["began in 1", "told in 1", "ended in 2"]
    assert await start_of(red, high) < await start_of(red, same), "the room was made for it"
    assert (await kinds_of(red, low)).count(ev.EVENT_KIND_NODE_PREEMPTING) == 1
    for run in runs:
        assert await violations_of(home, red, run) == []


async def test_while_the_database_stands_still_explain_says_that_nothing_starts(
    home: Path, red: Client, tmp_path: Path, assert_one_paragraph: Callable[[Answer], str]
) -> None:
    import roomy

    stays = await red.submit(roomy.stays, {"folder": str(tmp_path)})
    await event(red, stays, ev.EVENT_KIND_NODE_STARTED)
    next_one = await red.submit(roomy.hurry, {"x": 1})
    await decided_about(red, next_one)
    command = Mwfs(home=home, folder=tmp_path)
    server = psutil.Process(pid_of(home, "postgres"))
    stopped = [server, *server.children(recursive=True)]
    for process in stopped:
        process.suspend()
    try:
        while (await decided_about(red, next_one)).reason != scheduler_pb2.WAITING_REASON_PAUSED:
            pass  # a round trip: the lease has to run out
        for asked in ([next_one.run_id], [next_one.run_id[:12]], [next_one.run_id[:12], 0]):
            (waiting,) = command.json("explain", *asked, MWFS_TEAM="red")["waiting"]
            assert (waiting["reason"], waiting["starts_in_s"]) == ("paused", None)
            assert "cannot reach the catalogue" in waiting["message"]
        unknown = command("explain", "feed" * 3, MWFS_TEAM="red")
        assert "The database is away. Try again in a moment. `mwfs status" in assert_one_paragraph(unknown)
        assert unknown.code == 3
        states = {service["name"]: service["state"] for service in command.json("status")["services"]}
        assert (states["postgres"], states["scheduler"]) == ("NOT_ANSWERING", "SERVING")
    finally:
        for process in reversed(stopped):
            process.resume()
    (tmp_path / "go").touch()
    runs = [await red.wait(one) for one in (stays, next_one)]
    assert [run.state for run in runs] == [SUCCEEDED] * 2
    for run in runs:
        assert await violations_of(home, red, run) == []


async def test_the_object_store_keeps_one_checkpoint_and_none_of_what_has_succeeded(
    home: Path, red: Client, blue: Client, tmp_path: Path
) -> None:
    import roomy

    waits = await red.submit(roomy.waits, {"folder": str(tmp_path)})
    await event(red, waits, ev.EVENT_KIND_NODE_CHECKPOINTED)

    def stored() -> list[Path]:
        return [path for path in (home / "artifacts" / "checkpoints" / waits.run_id).rglob("*") if path.is_file()]

    assert [path.name for path in stored()] == ["1-1"]
    (tmp_path / "go").touch()
    await blue.wait(await blue.submit(roomy.hurry, {"x": 1}))
    await red.wait(waits)
    while stored():  # removed in the background: the test's time limit is the bound
        await red.wait(waits)
