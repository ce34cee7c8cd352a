"""The stream to the scheduler: demands and releases out, grants in. Messages made while one is being written go out together."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Protocol

import grpc
from prometheus_client import Gauge

from mwfs_api.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from mwfs_chassis.channel import open_channel
from mwfs_chassis.clock import Clock
from mwfs_chassis.identity import Identity
from mwfs_chassis.leader import LeaderFinder
from mwfs_chassis.streams import keep_open

from .model import Grant, Group

log = logging.getLogger(__name__)

CONNECTED = Gauge("mwfs_orchestrator_scheduler_connected", "1 while the scheduler's stream is open.")


class Requester(Protocol):
    """What the scheduler's stream needs of the engine."""

    def held_grants(self) -> list[scheduler_pb2.HeldGrant]: ...
    def waiting_groups(self) -> Iterable[Group]: ...
    def granted(self, grants: list[Grant]) -> None: ...
    def hosts_changed(self, hosts: Iterable[scheduler_pb2.Host]) -> None: ...
    def revoked(self, revocations: Iterable[scheduler_pb2.Revocation]) -> None: ...


class SchedulerLink:
    """Keeps one stream open. Whatever is sent while there is none is covered by the next stream's hello."""

    def __init__(
        self, *, address: str, identity: Identity, replica: str, clock: Clock, failed: Callable[[str], None]
    ) -> None:
        self.epoch = 0
        self._finder = LeaderFinder(address, identity)
        self._identity = identity
        self._replica = replica
        self._clock = clock
        self._failed = failed
        self._requester: Requester | None = None
        self._releases: Counter[str] = Counter()
        self._lost_us: Counter[str] = Counter()
        self._demands: Counter[Group] = Counter()
        self._withdrawn: list[str] = []
        self._adopted: list[scheduler_pb2.HeldGrant] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def serve(self, requester: Requester) -> None:
        self._requester = requester

    async def start(self) -> None:
        await self._finder.start()
        self._task = asyncio.create_task(
            keep_open("scheduler", lambda: self._finder.follow(self._talk), ended=self._ended, failed=self._failed),
            name="scheduler-link",
        )

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self._finder.stop()

    def send(
        self, releases: Counter[str], demands: Counter[Group], withdrawn: list[str], lost_us: Counter[str]
    ) -> None:
        self._releases.update(releases)
        self._lost_us.update(lost_us)
        self._demands.update(demands)
        self._withdrawn.extend(withdrawn)
        self._wake.set()

    def adopt(self, held: Iterable[scheduler_pb2.HeldGrant]) -> None:
        """Runs have come to us, with what runs of them."""
        self._adopted.extend(held)
        self._wake.set()

    async def _talk(self, address: str) -> None:
        # One stream at a time, and the one before is over when hello is said: no grant of a past leader can come after it.
        async with open_channel(address) as channel:
            call = scheduler_pb2_grpc.SchedulerServiceStub(channel).Request(metadata=self._identity.metadata)
            await call.write(self._hello())
            writer = asyncio.create_task(self._write(call))
            try:
                async for response in call:
                    self._receive(response)
            finally:
                writer.cancel()
                await asyncio.gather(writer, return_exceptions=True)
                call.cancel()

    def _ended(self) -> None:
        CONNECTED.set(0)

    def _hello(self) -> scheduler_pb2.RequestRequest:
        """All that the scheduler must know of us; nothing sent before counts any more."""
        assert self._requester is not None, "serve() comes before start()"
        self._releases.clear()
        self._lost_us.clear()
        self._demands.clear()
        self._withdrawn.clear()
        self._adopted.clear()
        hello = scheduler_pb2.Hello(replica=self._replica, held=self._requester.held_grants())
        demands = [demand_of(group, group.asked) for group in self._requester.waiting_groups()]
        return scheduler_pb2.RequestRequest(hello=hello, demands=demands)

    async def _write(self, call: "grpc.aio.StreamStreamCall") -> None:  # type: ignore[type-arg]
        while True:
            await self._wake.wait()
            self._wake.clear()
            releases, self._releases = self._releases, Counter()
            lost_us, self._lost_us = self._lost_us, Counter()
            demands, self._demands = self._demands, Counter()
            withdrawn, self._withdrawn = self._withdrawn, []
            adopted, self._adopted = self._adopted, []
            request = scheduler_pb2.RequestRequest(withdrawn_groups=withdrawn, adopted=adopted)
            for grant_id, count in releases.items():
                request.releases.add(grant_id=grant_id, count=count, lost_ms=round(lost_us[grant_id] / 1000))
            request.demands.extend(demand_of(group, count) for group, count in demands.items())
            if request.releases or request.demands or withdrawn or adopted:
                await call.write(request)

    def _receive(self, response: scheduler_pb2.RequestResponse) -> None:
        assert self._requester is not None
        if response.epoch > self.epoch:
            self.epoch = response.epoch
            CONNECTED.set(1)
            log.info("the scheduler answers", extra={"epoch": self.epoch})
        if response.HasField("hosts"):
            self._requester.hosts_changed(response.hosts.hosts)
        if response.grants:
            now = self._clock.monotonic()
            self._requester.granted(
                [
                    Grant(
                        grant_id=grant.grant_id,
                        group_id=grant.group_id,
                        count=grant.count,
                        host=grant.host,
                        epoch=grant.epoch,
                        valid_until=now + grant.valid_ms / 1000,
                    )
                    for grant in response.grants
                ]
            )
        if response.revocations:
            self._requester.revoked(response.revocations)


def demand_of(group: Group, count: int) -> scheduler_pb2.Demand:
    header = group.run.header
    return scheduler_pb2.Demand(
        group_id=group.group_id,
        add=count,
        team=header.team,
        run_id=header.run_text,
        resources=group.resources,
        priority=group.priority,
        rank_band=group.rank_band,
        submit_time_us=header.create_us,
        not_preemptible=not group.preemptible,
        preemptions=group.preemptions,
        expected_s=group.expected_s,
    )
