"""Quotas in a real catalogue, over real gRPC: versioned, audited, safe from each other, and in force in every process at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import asyncpg
import grpc
import pytest

from mwfs_api.scheduler.v1 import quotas_pb2 as pb
from mwfs_api.scheduler.v1.quotas_pb2_grpc import QuotaServiceStub, add_QuotaServiceServicer_to_server
from mwfs_chassis.channel import open_channel
from mwfs_chassis.clock import SystemClock
from mwfs_chassis.grpc_server import GrpcServer, Registration
from mwfs_chassis.identity import Identity
from mwfs_chassis.postgres import load_queries, open_pool
from mwfs_scheduler.quotas import Quotas, TeamQuota
from mwfs_scheduler.team_figures import TeamFigures
from mwfs_scheduler.team_quotas.api import SERVICE, QuotaServicer
from mwfs_scheduler.team_quotas.figures import Load
from mwfs_scheduler.team_quotas.store import QuotaStore
from mwfs_scheduler.team_quotas.watch import QuotaWatch

GIB = 1 << 30


class Service:
    """One scheduler process as far as quotas go, and calls to it."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool
        self.store = QuotaStore(pool, load_queries("mwfs_scheduler"))
        #: What the engine was given, in order.
        self.applied: list[Quotas] = []
        self._came = asyncio.Condition()
        self.load = Load()
        self.team_figures: list[TeamFigures] = []
        # So that a test that passes has heard of a change, and not looked by chance.
        self.watch = QuotaWatch(self.store, self._apply, look_every_s=3600)
        servicer = QuotaServicer(
            store=self.store,
            watch=self.watch,
            load=lambda: self.load,
            team_figures=lambda: (7, self.team_figures),
            clock=SystemClock(),
            look_every_s=0.001,
        )
        registration = Registration(add=add_QuotaServiceServicer_to_server, servicer=servicer, name=SERVICE)
        self.server = GrpcServer(listen="127.0.0.1:0", token="secret", services=[registration], stop_grace_s=0)
        self._tasks: set[asyncio.Task[None]] = set()

    def _apply(self, quotas: Quotas) -> None:
        self.applied.append(quotas)
        task = asyncio.get_running_loop().create_task(self._tell())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self) -> None:
        async with self._came:
            self._came.notify_all()

    async def in_force(self, version: int) -> Quotas:
        """The quotas once this version has been given to the engine."""
        async with self._came:
            await self._came.wait_for(lambda: self.applied[-1].version >= version)
        return self.applied[-1]

    async def start(self) -> None:
        await self.watch.start()
        await self.server.start()
        self.channel = open_channel(self.server.address)

    async def stop(self) -> None:
        await self.channel.close()
        await self.server.stop()
        await self.watch.stop()
        await self.pool.close()

    def stub(self) -> Any:
        return QuotaServiceStub(self.channel)

    async def change(
        self,
        base: int,
        *set_: pb.TeamQuota,
        removed: tuple[str, ...] = (),
        request_id: str = "",
        reason: str = "",
        dry_run: bool = False,
        principal: str = "ann",
    ) -> pb.ChangeQuotasResponse:
        request = pb.ChangeQuotasRequest(
            request_id=request_id or uuid4().hex,
            base_version=base,
            set=set_,
            removed=removed,
            reason=reason,
            dry_run=dry_run,
        )
        metadata = Identity(token="secret", principal=principal, team="ops").metadata
        answer: pb.ChangeQuotasResponse = await self.stub().ChangeQuotas(request, metadata=metadata)
        return answer

    async def teams(self, **request: Any) -> pb.ListTeamsResponse:
        metadata = Identity(token="secret", principal="ann", team="ops").metadata
        answer: pb.ListTeamsResponse = await self.stub().ListTeams(pb.ListTeamsRequest(**request), metadata=metadata)
        return answer

    async def history(self, **request: Any) -> pb.ListQuotaRevisionsResponse:
        metadata = Identity(token="secret", principal="ann", team="ops").metadata
        answer: pb.ListQuotaRevisionsResponse = await self.stub().ListQuotaRevisions(
            pb.ListQuotaRevisionsRequest(**request), metadata=metadata
        )
        return answer


Start = Callable[[], Awaitable[Service]]


@pytest.fixture
async def start(databases: Callable[..., list[str]]) -> AsyncIterator[Start]:
    """Starts processes that share one catalogue."""
    [dsn] = databases(1, package="mwfs_scheduler")
    running: list[Service] = []

    async def begin() -> Service:
        service = Service(await open_pool(dsn, max_size=3))
        await service.start()
        running.append(service)
        return service

    yield begin
    for service in running:
        await service.stop()


def quota(team: str, parent: str = "", weight: float | None = None, **parts: dict[str, int]) -> pb.TeamQuota:
    amounts = {name: pb.Amounts(amounts=given) for name, given in parts.items()}
    return pb.TeamQuota(team=team, parent=parent, weight=weight, **amounts)


async def refused(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""


async def test_a_change_is_a_version_and_is_in_force_when_it_is_answered(start: Start) -> None:
    service = await start()
    assert (await service.teams()).version == 0
    answer = await service.change(
        0,
        quota("ads", "org", 2.5, guaranteed={"gpu": 8, "memory": 512 * GIB}, burst={"gpu": 16, "gpu:h100": 4}),
        quota("org", guaranteed={}),
    )
    assert answer.version == 1
    assert service.applied[-1] == Quotas(
        version=1,
        teams=(
            TeamQuota(
                team="ads",
                parent="org",
                weight=service.applied[-1].teams[0].weight,
                guaranteed={"gpu": 8, "memory": 512 * GIB},
                burst={"gpu": 16, "gpu:h100": 4},
            ),
            TeamQuota(team="org", guaranteed={}),
        ),
    )
    assert float(service.applied[-1].teams[0].weight) == 2.5
    found = await service.teams()
    assert found.version == 1
    assert [(team.team, team.quota.parent, team.quota.weight) for team in found.teams] == [
        ("ads", "org", 2.5),
        ("org", "", 1.0),
    ]
    assert found.teams[1].quota.HasField("guaranteed")
    assert not found.teams[1].quota.HasField("burst")


async def test_the_history_tells_who_when_why_old_and_new(start: Start) -> None:
    service = await start()
    await service.change(0, quota("ads", guaranteed={"gpu": 4}), principal="ann", reason="first")
    await service.change(1, quota("ads", guaranteed={"gpu": 8}), quota("ml"), principal="bob", reason="more")
    await service.change(2, removed=("ml",), principal="cy")
    revisions = (await service.history()).revisions
    assert [(one.version, one.principal, one.reason) for one in revisions] == [
        (3, "cy", ""),
        (2, "bob", "more"),
        (1, "ann", "first"),
    ]
    assert revisions[0].change_time_us >= revisions[1].change_time_us >= revisions[2].change_time_us > 0
    ads, ml = revisions[1].changes
    assert (ads.old.guaranteed.amounts["gpu"], ads.new.guaranteed.amounts["gpu"]) == (4, 8)
    assert not ml.HasField("old")
    [gone] = revisions[0].changes
    assert gone.team == "ml"
    assert not gone.HasField("new")
    of_ml = (await service.history(team="ml")).revisions
    assert [(one.version, [change.team for change in one.changes]) for one in of_ml] == [(3, ["ml"]), (2, ["ml"])]
    first = await service.history(page_size=2)
    rest = await service.history(page_size=2, page_token=first.next_page_token)
    assert [one.version for page in (first, rest) for one in page.revisions] == [3, 2, 1]
    assert not rest.next_page_token


async def test_of_two_changes_to_one_version_the_second_is_refused(start: Start) -> None:
    one, other = await start(), await start()
    await one.change(0, quota("ads"))
    code, words = await refused(other.change(0, quota("ml")))
    assert code is grpc.StatusCode.ABORTED
    assert "have changed since version 0" in words
    answers = await asyncio.gather(
        *(each.change(1, quota(f"t{at}"), principal=f"p{at}") for at, each in enumerate((one, other) * 4)),
        return_exceptions=True,
    )
    done = [answer for answer in answers if isinstance(answer, pb.ChangeQuotasResponse)]
    assert [answer.version for answer in done] == [2]
    late = [answer.code() for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert late == [grpc.StatusCode.ABORTED] * 7
    assert len((await one.teams()).teams) == 2


async def test_a_change_that_is_repeated_is_made_once(start: Start) -> None:
    service = await start()
    first = await service.change(0, quota("ads", guaranteed={"gpu": 4}), request_id="same")
    await service.change(1, quota("ml"))
    again = await service.change(0, quota("ads", guaranteed={"gpu": 4}), request_id="same")
    assert (again.version, list(again.changes)) == (first.version, list(first.changes))
    assert (await service.teams()).version == 2
    code, words = await refused(service.change(0, quota("ads", guaranteed={"gpu": 5}), request_id="same"))
    assert code is grpc.StatusCode.ALREADY_EXISTS
    assert "'same'" in words


async def test_what_changes_nothing_makes_no_version(start: Start) -> None:
    service = await start()
    await service.change(0, quota("ads", guaranteed={"gpu": 4}))
    assert (await service.change(1, quota("ads", guaranteed={"gpu": 4, "cpu": 0}, burst={}))).version == 1
    tried = await service.change(1, quota("ads", guaranteed={"gpu": 5}), dry_run=True)
    assert (tried.version, len(tried.changes)) == (1, 1)
    assert (await service.teams()).teams[0].quota.guaranteed.amounts["gpu"] == 4
    assert len((await service.history()).revisions) == 1


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (quota("ads", weight=float("nan")), "weight nan is not a number"),
        (quota("ads", weight=float("inf")), "weight inf is not a number"),
        (quota("ads", weight=0), "weight is above 0"),
        (quota("ads", weight=-1), "weight is above 0"),
        (quota("ads", "org"), "'org', which is not there"),
        (quota("ads", "ads"), "its own parent"),
        (quota("ads", guaranteed={"gpu": -1}), "must be between 0 and"),
        (quota("ads", burst={"cpu": 1 << 62}), "must be between 0 and"),
        (quota("ads", burst={"a tpu": 1}), "no resource 'a tpu'"),
        (quota(""), "cannot be the name"),
    ],
)
async def test_what_is_wrong_is_refused_and_changes_nothing(start: Start, bad: pb.TeamQuota, says: str) -> None:
    service = await start()
    code, words = await refused(service.change(0, quota("good"), bad))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert says in words
    assert ((await service.teams()).version, (await service.history()).revisions) == (0, [])


async def test_requests_that_cannot_be_are_refused(start: Start) -> None:
    service = await start()
    metadata = Identity(token="secret", principal="ann", team="ops").metadata
    without_id = service.stub().ChangeQuotas(pb.ChangeQuotasRequest(), metadata=metadata)
    for call in (
        without_id,
        service.change(0, reason="x" * 1001),
        service.teams(page_token="nonsense"),
        service.teams(page_size=5000),
        service.history(page_token="-1"),
    ):
        assert (await refused(call))[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert (await refused(service.teams(team="nobody")))[0] is grpc.StatusCode.NOT_FOUND


async def test_pages_of_teams_are_of_one_version(start: Start) -> None:
    service = await start()
    await service.change(0, *(quota(f"t{at}") for at in range(5)))
    first = await service.teams(page_size=2)
    second = await service.teams(page_size=2, page_token=first.next_page_token)
    assert [team.team for team in (*first.teams, *second.teams)] == ["t0", "t1", "t2", "t3"]
    await service.change(1, quota("t9"))
    code, _ = await refused(service.teams(page_size=2, page_token=second.next_page_token))
    assert code is grpc.StatusCode.ABORTED


async def test_use_and_what_counts_are_shown_with_the_quotas(start: Start) -> None:
    service = await start()
    service.load = Load(capacity={"gpu": 8}, held={"ads": {"gpu": 5}}, waiting={"ads": 3})
    answer = await service.change(0, quota("org", guaranteed={"gpu": 16}), quota("ads", "org", burst={"gpu": 2}))
    assert any("add up to 16 and the cluster has 8" in note for note in answer.notes)
    assert any("above its burst limit of gpu 2" in note for note in answer.notes)
    found = await service.teams(team="org")
    [org] = found.teams
    assert (org.counted_guarantee.amounts["gpu"], org.in_use.amounts["gpu"], org.waiting) == (8, 5, 3)
    assert (found.capacity.amounts["gpu"], len(found.notes)) == (8, 1)


async def test_other_processes_hear_of_a_change(start: Start) -> None:
    one, other = await start(), await start()
    await one.change(0, quota("ads", guaranteed={"gpu": 4}))
    assert (await other.in_force(1)).teams[0].guaranteed == {"gpu": 4}


async def test_a_cut_connection_hides_no_change(start: Start) -> None:
    one, other = await start(), await start()
    pids = [
        row["pid"]
        for row in await one.pool.fetch(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
        )
    ]
    assert len(pids) == 2
    await one.pool.execute("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid", pids)
    await one.change(0, quota("ads"))
    await other.in_force(1)
    await one.change(1, quota("ml"))  # heard on the new connection
    await other.in_force(2)


async def test_quotas_that_are_no_tree_are_not_put_in_force(start: Start) -> None:
    one = await start()
    await one.change(0, quota("ads", guaranteed={"gpu": 4}))
    await one.pool.execute("UPDATE scheduler_team_quota SET guaranteed = '{\"gpu\": -4}'")
    await one.pool.execute(
        "INSERT INTO scheduler_quota_revision (version, request_id, request_digest, change_time, principal, reason)"
        " VALUES (2, 'by hand', '', now(), 'eve', '')"
    )
    assert (await one.watch.look()).version == 1
    assert one.applied[-1].version == 1
    other = await start()  # begins without any
    assert other.applied[-1] == Quotas()
    assert other.watch.quotas.version == 0


def team(team: str, used: int, *, waiting: int = 0, lost: float = 0.0) -> TeamFigures:
    return TeamFigures(
        team=team,
        usage={"cpu": used} if used else {},
        guaranteed={"cpu": 500},
        borrowed={"cpu": used - 500} if used > 500 else {},
        lent={},
        waiting_nodes=waiting,
        preempted_nodes=1 if lost else 0,
        lost={"cpu": lost} if lost else {},
    )


async def test_who_watches_teams_is_told_how_all_stand_and_then_what_changes(start: Start) -> None:
    service = await start()
    service.team_figures = [team("ads", 2000), team("feed", 0)]
    metadata = Identity(token="secret", principal="ann", team="ops").metadata
    every = service.stub().WatchTeams(pb.WatchTeamsRequest(), metadata=metadata)
    feed = service.stub().WatchTeams(pb.WatchTeamsRequest(team="feed"), metadata=metadata)
    first = await every.read()
    assert (first.epoch, [each.team for each in first.changed]) == (7, ["ads", "feed"])
    assert first.changed[0].borrowed.amounts == {"cpu": 1500}
    assert [each.team for each in (await feed.read()).changed] == ["feed"]
    service.team_figures = [team("ads", 1000, waiting=1, lost=40.5), team("feed", 0)]
    (ads,) = (await every.read()).changed
    assert (ads.team, ads.waiting_nodes, ads.preempted_nodes) == ("ads", 1, 1)
    assert ads.lost_resource_seconds == {"cpu": 40.5}
    service.team_figures = service.team_figures[:1]
    (gone,) = (await every.read()).changed
    assert gone == pb.TeamChanged(team="feed")
    assert (await feed.read()).changed == [gone]
    every.cancel()
    feed.cancel()
