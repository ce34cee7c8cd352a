"""Room that the scheduler wants back: attempts are told, end, and their nodes go on from what was kept."""

import io
from uuid import UUID

import pyarrow.parquet
import pytest

from mwfs_api.action.v1 import action_pb2
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2 as ev
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_orchestrator.model import slot_of

from .conftest import World
from .dags import chain, fanout, layered
from .inside import engine_of, fold_all
from .neighbours import Key, key_of, succeed
from .test_moves import drain, moved
from .test_retention import look


def kept(key: Key, number: int, step: int) -> ev.Checkpoint:
    name = f"checkpoints/{key[0]}/{key[1]}/{key[2]}-{number}"
    return ev.Checkpoint(key=name, digest="sha256:" + "0" * 64, size=9, attempt=key[2], number=number, step=step)


def made_room(key: Key, checkpoint: ev.Checkpoint | None = None) -> action_pb2.Outcome:
    failure = ev.Failure(kind=ev.FAILURE_KIND_PREEMPTED, message="The attempt made room.")
    return action_pb2.Outcome(
        key=action_pb2.AttemptKey(run_id=key[0], node=key[1], attempt=key[2]),
        state=ev.ATTEMPT_STATE_PREEMPTED,
        failure=failure,
        checkpoint=checkpoint,
        worker="w1",
    )


async def begun(world: World, dag: dag_pb2.Dag | None = None, request_id: str = "request") -> tuple[Key, str]:
    """A run whose one node runs on; its attempt and its grant."""
    world.host.answer = lambda launch: None
    (answer,) = await world.submit(dag or layered([]), request_ids=[request_id])
    key = (answer.accepted.run_id, 0, 1)
    await world.host.until(lambda: key in world.host.live)
    return key, world.host.live[key].grant_id


async def told(world: World, key: Key) -> action_pb2.Notice:
    await world.host.until(lambda: any(key_of(one.key) == key for one in world.host.notices))
    return next(one for one in world.host.notices if key_of(one.key) == key)


async def events(world: World, run_id: str) -> list[tuple[int, ev.Detail | None]]:
    found: list[tuple[int, ev.Detail | None]] = []
    for batch in await world.events_of(run_id):
        details = {detail.index: detail for detail in batch.details}
        found += [(kind, details.get(index)) for index, kind in enumerate(batch.kind)]
    return found


async def test_a_preempted_attempt_costs_no_try_and_the_next_one_goes_on_from_what_was_kept(world: World) -> None:
    first, grant = await begun(world)
    world.host.keep(first, kept(first, 1, step=10))
    world.scheduler.revoke(grant, grace_ms=5_000)
    notice = await told(world, first)
    assert 0 < notice.grace_ms <= 5_000
    assert notice.reason == "team blue needs it"
    second = (first[0], 0, 2)
    world.host.finish(first, made_room(first, kept(first, 2, step=20)))
    await world.host.until(lambda: second in world.host.live)
    assert world.host.resumed[second].step == 20
    await world.host.until(lambda: bool(world.host.dropped))
    assert world.host.dropped == [kept(first, 1, 0).key], "one checkpoint of a node is kept, the newest"
    # The node asks anew, under another grant; the first is free.
    await world.scheduler.until(lambda: world.scheduler.held[grant] == 0)
    world.host.finish(second, succeed(world.host.live[second]))
    run = await world.wait(first[0])
    assert run.state == ev.RUN_STATE_SUCCEEDED
    await world.host.until(lambda: len(world.host.dropped) == 2)
    assert world.host.dropped[1] == kept(first, 2, 0).key, "the node needs none any more"
    history = await events(world, first[0])
    kinds = [kind for kind, _ in history]
    assert kinds.count(ev.EVENT_KIND_NODE_CHECKPOINTED) == 2
    assert kinds.count(ev.EVENT_KIND_NODE_RETRIED) == kinds.count(ev.EVENT_KIND_NODE_PREEMPTING) == 1
    preempting = next(detail for kind, detail in history if kind == ev.EVENT_KIND_NODE_PREEMPTING)
    assert preempting is not None
    assert preempting.preempting.reason == "team blue needs it"
    retried = next(detail for kind, detail in history if kind == ev.EVENT_KIND_NODE_RETRIED)
    assert retried is not None
    assert retried.failure.kind == ev.FAILURE_KIND_PREEMPTED


async def test_what_was_lost_is_told_to_the_scheduler_and_kept_with_the_node(world: World) -> None:
    first, grant = await begun(world)
    world.scheduler.revoke(grant)
    await told(world, first)
    checkpoint = kept(first, 1, step=10)
    checkpoint.time_us = 2_000_000
    outcome = made_room(first, checkpoint)
    outcome.body_started_us, outcome.body_ended_us = 1_000_000, 4_500_000
    world.host.finish(first, outcome)
    second = (first[0], 0, 2)
    await world.host.until(lambda: second in world.host.live)
    await world.scheduler.until(lambda: world.scheduler.held[grant] == 0)
    assert world.scheduler.lost_ms == {grant: 2_500}
    world.host.finish(second, succeed(world.host.live[second]))
    await world.wait(first[0])
    response = await world.stub.ListNodes(pb.ListNodesRequest(run_id=first[0]), metadata=world.metadata())
    assert [(node.interruptions.preemptions, node.interruptions.lost_us) for node in response.nodes] == [(1, 2_500_000)]


async def test_preemptions_have_no_bound_of_the_nodes(world: World) -> None:
    key, grant = await begun(world)
    for attempt in range(2, 30):
        world.scheduler.revoke(grant)
        await told(world, key)
        world.host.finish(key, made_room(key))
        key = (key[0], 0, attempt)
        await world.host.until(lambda key=key: key in world.host.live)  # type: ignore[misc]
        grant = world.host.live[key].grant_id
    world.host.finish(key, succeed(world.host.live[key]))
    assert (await world.wait(key[0])).state == ev.RUN_STATE_SUCCEEDED


async def test_the_scheduler_hears_how_often_a_node_was_preempted_also_after_a_restart(world: World) -> None:
    key, _ = await begun(world, fanout(2))
    world.host.finish(key, succeed(world.host.live[key]))
    leaves, stays = (key[0], 1, 1), (key[0], 2, 1)
    await world.host.until(lambda: stays in world.host.live and leaves in world.host.live)
    world.scheduler.revoke(world.host.live[leaves].grant_id, count=1)
    await told(world, leaves)
    world.host.finish(leaves, made_room(leaves))
    again = (key[0], 1, 2)
    await world.host.until(lambda: again in world.host.live)
    assert world.scheduler.preemptions[-1] == 1, "it is asked for apart from those that were not preempted"
    assert set(world.scheduler.preemptions[:-1]) == {0}
    await world.stop_orchestrator()
    await world.start_orchestrator()
    await world.scheduler.until(lambda: len(world.scheduler.hellos) == 2)
    assert sorted(held.preemptions for held in world.scheduler.hellos[1].held) == [0, 1]
    world.scheduler.revoke(world.host.live[again].grant_id)
    await told(world, again)
    world.host.finish(again, made_room(again))
    third = (key[0], 1, 3)
    await world.host.until(lambda: third in world.host.live)
    assert world.scheduler.preemptions[-1] == 2
    response = await world.stub.ListNodes(pb.ListNodesRequest(run_id=key[0]), metadata=world.metadata())
    assert [node.interruptions.preemptions for node in response.nodes] == [0, 2, 0, 0]
    world.host.answer = succeed
    for one in (stays, third):
        world.host.finish(one, succeed(world.host.live[one]))
    assert (await world.wait(key[0])).state == ev.RUN_STATE_SUCCEEDED


async def test_unknown_and_ended_grants_and_repeated_revocations_change_nothing(world: World) -> None:
    key, grant = await begun(world, fanout(3))
    world.host.finish(key, succeed(world.host.live[key]))
    nodes = [(key[0], node, 1) for node in (1, 2, 3)]
    await world.host.until(lambda: all(one in world.host.live for one in nodes))
    shared = {world.host.live[one].grant_id for one in nodes}
    assert len(shared) == 1, "one demand, one grant"
    world.scheduler.revoke(grant)  # has ended
    world.scheduler.revoke("9-9-9")
    for _ in range(3):
        world.scheduler.revoke(*shared, count=1)
    world.scheduler.revoke(*shared, count=2)
    world.scheduler.revoke(*shared, count=1)
    await world.host.until(lambda: len(world.host.notices) == 2)
    assert {key_of(one.key) for one in world.host.notices} == {nodes[0], nodes[1]}
    for one in nodes[:2]:
        world.host.finish(one, made_room(one))
    world.host.answer = succeed
    world.host.finish(nodes[2], succeed(world.host.live[nodes[2]]))
    assert (await world.wait(key[0])).state == ev.RUN_STATE_SUCCEEDED
    assert [one for one in world.host.launched if one[2] > 1] == [(key[0], 1, 2), (key[0], 2, 2)]
    assert len(world.host.notices) == 2
    await world.scheduler.until(lambda: not +world.scheduler.held)


async def test_one_that_ends_in_time_has_succeeded(world: World) -> None:
    key, grant = await begun(world)
    world.scheduler.revoke(grant)
    await told(world, key)
    outcome = succeed(world.host.live[key])
    outcome.checkpoint.CopyFrom(kept(key, 3, step=30))  # nobody was told of it before
    world.host.finish(key, outcome)
    assert (await world.wait(key[0])).state == ev.RUN_STATE_SUCCEEDED
    await world.host.until(lambda: bool(world.host.dropped))
    assert world.host.dropped == [kept(key, 3, 0).key]
    response = await world.stub.ListNodes(pb.ListNodesRequest(run_id=key[0]), metadata=world.metadata())
    (node,) = response.nodes
    told_of = (node.interruptions.checkpoints, node.interruptions.checkpoint_step, node.interruptions.preemptions)
    assert told_of == (3, 30, 0), "the number says how many there were before it"


async def test_a_run_that_is_cancelled_meanwhile_is_cancelled(world: World) -> None:
    key, grant = await begun(world)
    world.scheduler.revoke(grant)
    await told(world, key)
    world.host.stops = False
    await world.stub.CancelRun(pb.CancelRunRequest(run_id=key[0]), metadata=world.metadata())
    await world.host.until(lambda: key in world.host.stopped)
    world.scheduler.revoke(grant, count=1)
    world.host.finish(key, made_room(key, kept(key, 1, step=1)))
    run = await world.wait(key[0])
    assert run.state == ev.RUN_STATE_CANCELLED
    assert {one.state: one.count for one in run.node_counts} == {ev.NODE_STATE_CANCELLED: 1}
    assert len(world.host.launched) == 1


async def test_an_orchestrator_that_is_restarted_meanwhile_goes_on_from_the_checkpoint(world: World) -> None:
    first, grant = await begun(world)
    world.host.keep(first, kept(first, 1, step=10))
    world.scheduler.revoke(grant)
    await told(world, first)
    await world.stop_orchestrator()
    await world.start_orchestrator()
    # The host is told again; it may not have heard. The scheduler wants the room still.
    await world.host.until(lambda: len(world.host.notices) == 2)
    assert world.host.notices[1].reason == "team blue needs it"
    await world.scheduler.until(lambda: len(world.scheduler.hellos) == 2)
    (held,) = world.scheduler.hellos[1].held
    assert (held.grant_id, held.count, held.not_preemptible) == (grant, 1, False)
    assert held.age_s < 3600
    assert 0 < held.leaving_ms <= 600_000, "it leaves already"
    world.scheduler.revoke(grant)
    world.host.finish(first, made_room(first))
    second = (first[0], 0, 2)
    await world.host.until(lambda: second in world.host.live)
    assert world.host.resumed[second].step == 10
    world.host.finish(second, succeed(world.host.live[second]))
    assert (await world.wait(first[0])).state == ev.RUN_STATE_SUCCEEDED
    assert len(world.host.launched) == 2
    assert len(world.host.notices) == 2
    kinds = [kind for kind, _ in await events(world, first[0])]
    assert kinds.count(ev.EVENT_KIND_NODE_PREEMPTING) == 1, "one notice is one event, whoever was restarted"


async def test_a_host_that_comes_back_is_told_again(world: World) -> None:
    key, grant = await begun(world)
    world.scheduler.revoke(grant, grace_ms=600_000)
    await told(world, key)
    live = dict(world.host.live)
    world.host.restart()
    world.host.live.update(live)  # only the stream was cut
    await world.host.until(lambda: len(world.host.notices) == 2)
    assert key_of(world.host.notices[1].key) == key
    assert 0 < world.host.notices[1].grace_ms <= 600_000
    world.host.answer = succeed
    world.host.finish(key, made_room(key))
    assert (await world.wait(key[0])).state == ev.RUN_STATE_SUCCEEDED


async def test_lost_and_failed_attempts_go_on_from_what_was_kept(world: World) -> None:
    first, _ = await begun(world, layered([], attempts=2))
    world.host.keep(first, kept(first, 1, step=10))
    world.host.keep(first, kept(first, 2, step=20))
    await world.host.until(lambda: bool(world.host.dropped))  # so the second one is committed
    world.host.restart()
    second = (first[0], 0, 2)
    await world.host.until(lambda: second in world.host.live)
    assert world.host.resumed[second].step == 20
    failure = ev.Failure(kind=ev.FAILURE_KIND_RAISED, error_type="ValueError", message="no")
    failed = action_pb2.Outcome(key=world.host.live[second].key, state=ev.ATTEMPT_STATE_FAILED, failure=failure)
    world.host.finish(second, failed)
    third = (first[0], 0, 3)
    await world.host.until(lambda: third in world.host.live)
    assert world.host.resumed[third].step == 20
    world.host.finish(third, failed_of(third))
    assert (await world.wait(first[0])).state == ev.RUN_STATE_FAILED
    # Another round goes on there as well.
    await world.stub.RetryRun(pb.RetryRunRequest(run_id=first[0], request_id="again"), metadata=world.metadata())
    fourth = (first[0], 0, 4)
    await world.host.until(lambda: fourth in world.host.live)
    assert world.host.resumed[fourth].step == 20
    world.host.finish(fourth, succeed(world.host.live[fourth]))
    assert (await world.wait(first[0])).state == ev.RUN_STATE_SUCCEEDED


def failed_of(key: Key) -> action_pb2.Outcome:
    failure = ev.Failure(kind=ev.FAILURE_KIND_RAISED, error_type="ValueError", message="no")
    proto = action_pb2.AttemptKey(run_id=key[0], node=key[1], attempt=key[2])
    return action_pb2.Outcome(key=proto, state=ev.ATTEMPT_STATE_FAILED, failure=failure)


async def test_a_chain_gives_its_room_back(world: World) -> None:
    dag = chain(2)
    dag.node_group.extend([1, 1])
    key, grant = await begun(world, dag)
    world.scheduler.revoke(grant)
    await told(world, key)
    world.host.finish(key, succeed(world.host.live[key]))
    after = (key[0], 1, 1)
    await world.host.until(lambda: after in world.host.live)
    assert world.host.live[after].grant_id != grant
    await world.scheduler.until(lambda: world.scheduler.held[grant] == 0)
    world.host.finish(after, succeed(world.host.live[after]))
    assert (await world.wait(key[0])).state == ev.RUN_STATE_SUCCEEDED


@pytest.mark.parametrize("pinned", [False, True])
async def test_the_scheduler_hears_what_may_be_preempted(world: World, pinned: bool) -> None:
    dag = layered([], [0])
    dag.operators[0].not_preemptible = pinned
    dag.operators[0].priority = 3
    key, _ = await begun(world, dag)
    await world.stop_orchestrator()
    await world.start_orchestrator()
    await world.scheduler.until(lambda: len(world.scheduler.hellos) == 2)
    (held,) = world.scheduler.hellos[1].held
    assert (held.not_preemptible, held.priority) == (pinned, 3)
    assert world.scheduler.pinned == ({key[0]} if pinned else set())
    world.host.answer = succeed
    world.host.finish(key, succeed(world.host.live[key]))
    await world.wait(key[0])


async def test_what_was_kept_moves_with_the_slot(world: World) -> None:
    first, _ = await begun(world)
    world.host.keep(first, kept(first, 1, step=10))
    world.host.keep(first, kept(first, 2, step=20))
    await world.host.until(lambda: bool(world.host.dropped))
    shard = engine_of(world).shards.holder_of(slot_of(UUID(first[0])))
    await drain(world, shard)
    await moved(world, shard)
    await world.stop_orchestrator()
    await world.start_orchestrator()
    world.host.restart()
    second = (first[0], 0, 2)
    await world.host.until(lambda: second in world.host.live)
    assert world.host.resumed[second].step == 20
    world.host.finish(second, succeed(world.host.live[second]))
    assert (await world.wait(first[0])).state == ev.RUN_STATE_SUCCEEDED


async def test_what_a_failed_run_has_kept_goes_when_it_is_archived(world: World) -> None:
    key, _ = await begun(world)
    world.host.finish(key, failed_of(key))
    await world.wait(key[0])
    other, _ = await begun(world, layered([]), request_id="keeps")
    outcome = failed_of(other)
    outcome.checkpoint.CopyFrom(kept(other, 1, step=1))
    world.host.finish(other, outcome)
    await world.wait(other[0])
    await fold_all(world)
    assert world.host.dropped == []
    assert await look(world, 100) == 2
    assert world.host.dropped == [other[0]], "of runs that kept nothing nothing is looked for"
    tables = [pyarrow.parquet.read_table(io.BytesIO(data)) for data in world.host.artifacts.values()]
    archived = [row for table in tables if "interruptions" in table.column_names for row in table.to_pylist()]
    kept_by = {row["run_id"]: ev.Interruptions.FromString(row["interruptions"] or b"").checkpoints for row in archived}
    assert kept_by == {key[0]: 0, other[0]: 1}
