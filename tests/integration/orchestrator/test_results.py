"""Results of cached operators: kept when their node succeeds, taken by later runs, and never taken when they should not be."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from hashlib import sha256
from uuid import UUID

import asyncpg
import grpc
import pytest
from invariants.run_invariants import check_run

from mwfs_api.action.v1 import action_pb2
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2 as ev
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_api.types.v1 import types_pb2
from mwfs_chassis.postgres import open_pool
from mwfs_orchestrator.catalogue.results import Result, ResultStore

from .conftest import World
from .dags import chain, fanout, layered
from .neighbours import fail, succeed


def cached(dag: dag_pb2.Dag, code: str = "1") -> dag_pb2.Dag:
    """The same Dag, whose operator may be answered from earlier runs."""
    operator = dag.operators[0]
    operator.pure = operator.cached = True
    operator.code_digest = "sha256:" + code * 64
    return dag


def total(launch: action_pb2.Launch) -> action_pb2.Outcome:
    """One more than the sum of the inputs: a host must be pure for its results to be taken."""
    (numbers,) = types_pb2.ListValue.FromString(launch.arguments).items
    given = types_pb2.Value(integer=1 + sum(number.integer for number in numbers.list.items))
    return action_pb2.Outcome(
        key=launch.key, state=ev.ATTEMPT_STATE_SUCCEEDED, outputs=[given.SerializeToString()], worker="w1"
    )


async def nodes_of(world: World, run_id: str) -> list[pb.Node]:
    answer = await world.stub.ListNodes(pb.ListNodesRequest(run_id=run_id), metadata=world.metadata())
    return list(answer.nodes)


async def outputs_of(world: World, run_id: str) -> list[int]:
    answer = await world.stub.GetOutputs(pb.GetOutputsRequest(run_id=run_id), metadata=world.metadata())
    return [output.value.integer for output in answer.outputs]


async def assert_invariants(world: World, run_id: str, dag: dag_pb2.Dag) -> None:
    rows = {node.node: (int(node.state), node.attempt) for node in await nodes_of(world, run_id)}
    assert check_run(await world.events_of(run_id), nodes=rows, dag=dag) == []


async def test_a_second_run_takes_the_results_of_the_first(world: World) -> None:
    world.host.answer = total
    dag = cached(fanout(20))
    first = await world.run(dag, "first")
    launched = len(world.host.launched)
    second = await world.run(dag, "second")
    assert second.state == ev.RUN_STATE_SUCCEEDED
    assert len(world.host.launched) == launched
    assert await outputs_of(world, second.run_id) == await outputs_of(world, first.run_id)
    nodes = await nodes_of(world, second.run_id)
    assert {node.state for node in nodes} == {ev.NODE_STATE_SUCCEEDED}
    assert {node.origin.run_id for node in nodes} == {first.run_id}
    assert {node.attempt for node in nodes} == {0}
    await assert_invariants(world, second.run_id, dag)


async def test_the_event_names_the_run_and_node_that_computed_it(world: World) -> None:
    first = await world.run(cached(chain(2)), "first")
    second = await world.run(cached(chain(2)), "second")
    found = {
        (batch.node[detail.index], detail.reused.run_id, detail.reused.node)
        for batch in await world.events_of(second.run_id)
        for detail in batch.details
        if detail.HasField("reused")
    }
    assert found == {(0, first.run_id, 0), (1, first.run_id, 1)}


async def test_other_code_other_inputs_and_other_operators_are_run(world: World) -> None:
    await world.run(cached(chain(2)), "first")
    for request_id, dag in (
        ("other code", cached(chain(2), code="2")),
        ("not cached", chain(2)),
        ("one more", cached(chain(3))),
    ):
        before = len(world.host.launched)
        assert (await world.run(dag, request_id.replace(" ", "-"))).state == ev.RUN_STATE_SUCCEEDED
        assert len(world.host.launched) - before == (1 if request_id == "one more" else 2)


async def test_a_cached_operator_that_is_not_pure_is_refused(world: World) -> None:
    dag = cached(chain(2))
    dag.operators[0].pure = False
    (answer,) = await world.submit(dag)
    assert answer.refused.code == "INVALID_ARGUMENT"
    assert "only pure operators are cached" in answer.refused.message


async def test_failures_are_not_kept(world: World) -> None:
    world.host.answer = fail
    assert (await world.run(cached(chain(1)), "first")).state == ev.RUN_STATE_FAILED
    world.host.answer = succeed
    assert (await world.run(cached(chain(1)), "second")).state == ev.RUN_STATE_SUCCEEDED
    assert len(world.host.launched) == 2


async def test_another_team_computes_for_itself(world: World) -> None:
    await world.run(cached(chain(2)), "first")
    catalogue = await asyncpg.connect(world.catalogue)
    await catalogue.execute("UPDATE results SET team = 'blue'")
    await catalogue.close()
    await world.run(cached(chain(2)), "second")
    assert len(world.host.launched) == 4


def giving(world: World, data: bytes):  # type: ignore[no-untyped-def]
    """A host whose operators give a file."""
    digest = "sha256:" + sha256(data).hexdigest()
    value = types_pb2.Value(artifact=types_pb2.Artifact(digest=digest, size=len(data), encoding="value"))

    def answer(launch: action_pb2.Launch) -> action_pb2.Outcome:
        world.host.artifacts[digest] = data
        return action_pb2.Outcome(
            key=launch.key, state=ev.ATTEMPT_STATE_SUCCEEDED, outputs=[value.SerializeToString()], worker="w1"
        )

    return answer


async def test_a_result_whose_artifact_is_gone_is_computed_again_and_kept_again(world: World) -> None:
    world.host.answer = giving(world, b"model")
    await world.run(cached(chain(1)), "first")
    await world.run(cached(chain(1)), "second")
    assert len(world.host.launched) == 1
    world.host.artifacts.clear()
    await world.run(cached(chain(1)), "third")
    assert len(world.host.launched) == 2
    await world.run(cached(chain(1)), "fourth")
    assert len(world.host.launched) == 2


async def test_results_outlive_the_orchestrator_and_a_run_taken_up_looks_for_them_too(world: World) -> None:
    await world.run(cached(chain(5)), "first")
    world.host.answer = lambda launch: None if launch.key.node == 0 else succeed(launch)
    (answer,) = await world.submit(cached(layered([], *[[0]] * 3), code="2"), request_ids=["open"])
    await world.host.until(lambda: len(world.host.launched) == 6)
    await world.stop_orchestrator()
    await world.start_orchestrator()
    world.host.answer = succeed
    world.host.finish(world.host.launched[-1], succeed(next(iter(world.host.live.values()))))
    assert (await world.wait(answer.accepted.run_id)).state == ev.RUN_STATE_SUCCEEDED
    launched = len(world.host.launched)
    await world.run(cached(chain(5)), "second")
    await world.run(cached(layered([], *[[0]] * 3), code="2"), "third")
    assert len(world.host.launched) == launched


async def test_a_catalogue_that_is_away_means_computing_not_waiting(world: World) -> None:
    catalogue = await asyncpg.connect(world.catalogue)
    await catalogue.execute("ALTER TABLE results RENAME TO elsewhere")
    run = await world.run(cached(chain(3)))
    assert run.state == ev.RUN_STATE_SUCCEEDED
    assert len(world.host.launched) == 3
    await catalogue.execute("ALTER TABLE elsewhere RENAME TO results")
    await catalogue.close()


async def test_a_run_cancelled_while_it_looks_ends(world: World) -> None:
    catalogue = await asyncpg.connect(world.catalogue)
    async with catalogue.transaction():
        await catalogue.execute("LOCK TABLE results IN ACCESS EXCLUSIVE MODE")
        (answer,) = await world.submit(cached(chain(3)), request_ids=["r"])
        run_id = answer.accepted.run_id
        await world.stub.CancelRun(pb.CancelRunRequest(run_id=run_id), metadata=world.metadata())
        assert (await world.wait(run_id)).state == ev.RUN_STATE_CANCELLED
    await catalogue.close()
    assert world.host.launched == []


async def test_a_revived_run_looks_again(world: World) -> None:
    world.host.answer = lambda launch: fail(launch) if launch.key.node == 1 else succeed(launch)
    failed = await world.run(cached(chain(3)), "first")
    world.host.answer = succeed
    await world.run(cached(chain(3)), "second")
    launched = len(world.host.launched)
    await world.stub.RetryRun(pb.RetryRunRequest(run_id=failed.run_id, request_id="again"), metadata=world.metadata())
    run = await world.wait(failed.run_id)
    assert run.state == ev.RUN_STATE_SUCCEEDED
    assert len(world.host.launched) == launched
    await assert_invariants(world, failed.run_id, cached(chain(3)))


# What clients ask.


async def test_results_are_found_by_key_and_listed_by_operator(world: World) -> None:
    run = await world.run(cached(chain(2)), "first")
    listed = await world.stub.ListResults(pb.ListResultsRequest(operator="sample:total"), metadata=world.metadata())
    assert {(result.run_id, result.node) for result in listed.results} == {(run.run_id, 0), (run.run_id, 1)}
    parts = dict(listed.results[0].parts)
    assert set(parts) == {"code", "environment", "signature", "input:xs"}
    assert not listed.results[0].outputs
    keys = [result.key for result in listed.results] + ["sha256:" + "0" * 64]
    found = await world.stub.LookupResults(pb.LookupResultsRequest(keys=keys), metadata=world.metadata())
    assert found.answered == 3
    assert {result.key: result.outputs[0].integer for result in found.results} == {
        result.key: result.node for result in listed.results
    }
    other = await world.stub.LookupResults(pb.LookupResultsRequest(keys=keys), metadata=world.metadata("blue"))
    assert not other.results


@pytest.mark.parametrize("keys", [["sha256:12"], ["sha256:" + "0" * 64] * 1_001])
async def test_malformed_lookups_are_refused(world: World, keys: list[str]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await world.stub.LookupResults(pb.LookupResultsRequest(keys=keys), metadata=world.metadata())
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


# The rows.


@pytest.fixture
async def store(databases: Callable[..., list[str]]) -> AsyncIterator[ResultStore]:
    (dsn,) = databases(1, package="mwfs_orchestrator.catalogue")
    pool = await open_pool(dsn)
    yield ResultStore(pool)
    await pool.close()


def entry(number: int, *, team: str = "red", node: int = 0) -> Result:
    return Result(
        team=team,
        key=f"sha256:{number:064x}",
        operator="m:f",
        parts={"code": "sha256:1"},
        outputs=b"",
        artifacts=["sha256:2", "sha256:3"],
        run_id=UUID(int=number),
        node=node,
        create_us=number,
        used_us=number,
    )


async def test_an_entry_that_is_there_stays_as_it_is(store: ResultStore) -> None:
    await store.keep([entry(1), entry(1)], now_us=1)
    await store.keep([entry(1, node=7)], now_us=2)
    (found,) = (await store.find([("red", entry(1).key)] * 2)).values()
    assert found == entry(1)


async def test_what_nobody_uses_is_removed_a_little_at_a_time(store: ResultStore) -> None:
    for number in range(1, 6):
        await store.keep([entry(number)], now_us=number)
    await store.use([("red", entry(1).key)], now_us=100)
    assert [await store.trim(before_us=5, limit=2) for _ in range(3)] == [2, 1, 0]
    assert {result.run_id.int for result in await store.newest("red", "m:f", 10)} == {1, 5}


async def test_only_the_very_entry_is_forgotten(store: ResultStore) -> None:
    await store.keep([entry(1)], now_us=1)
    await store.forget([replace(entry(1), create_us=99), entry(2), replace(entry(1), team="blue")])
    assert await store.find([("red", entry(1).key)])
    await store.forget([entry(1)])
    assert not await store.find([("red", entry(1).key)])
