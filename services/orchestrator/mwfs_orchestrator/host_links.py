"""Streams to the action services: launches, stops and acknowledgements out; outcomes in."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Protocol
from uuid import UUID

import grpc
from prometheus_client import Gauge

from mwfs_api.action.v1 import action_pb2, action_pb2_grpc
from mwfs_chassis.channel import open_channel
from mwfs_chassis.clock import Clock
from mwfs_chassis.identity import Identity
from mwfs_chassis.streams import keep_open

from .changes import AttemptId
from .launcher import OperatorSpecs

log = logging.getLogger(__name__)

HOSTS = Gauge("mwfs_orchestrator_hosts_connected", "Action services with an open stream.")

#: A host that cannot be reached for so long has lost its attempts.
HOST_GRACE_S = 10.0
_LOOK_AGAIN_S = 0.05
#: A message is sent when it has grown to about this size.
_BATCH_BYTES = 4 * 1024 * 1024
_BATCH_LAUNCHES = 1_000


class Launcher(Protocol):
    """What the hosts' streams need of the engine."""

    def holds(self, host: str) -> Iterable[tuple[AttemptId, int]]: ...
    def attached(self, host: str, live: set[AttemptId], outcomes: set[AttemptId], unsent: set[AttemptId]) -> None: ...
    def outcomes(self, host: str, outcomes: Iterable[action_pb2.Outcome]) -> None: ...
    def kept(self, host: str, kept: Iterable[action_pb2.Kept]) -> None: ...
    def host_lost(self, host: str) -> None: ...
    def failed(self, why: str) -> None: ...


def attempt_id(key: action_pb2.AttemptKey) -> AttemptId:
    return UUID(key.run_id), key.node, key.attempt


def attempt_key(attempt: AttemptId) -> action_pb2.AttemptKey:
    return action_pb2.AttemptKey(run_id=str(attempt[0]), node=attempt[1], attempt=attempt[2])


def adoption_of(attempt: AttemptId, epoch: int) -> action_pb2.Adoption:
    return action_pb2.Adoption(key=attempt_key(attempt), epoch=epoch)


class HostLink:
    """The stream to one action service. What is put while there is none waits for the next."""

    def __init__(
        self, host: str, *, identity: Identity, replica: str, specs: OperatorSpecs, launcher: Launcher, clock: Clock
    ) -> None:
        self.host = host
        self.address = ""
        #: Since when there is no stream, by the monotonic clock; None while there is one.
        self.away_since: float | None = clock.monotonic()
        self._identity = identity
        self._replica = replica
        self._specs = specs
        self._launcher = launcher
        self._clock = clock
        self._launches: list[action_pb2.Launch] = []
        self._stops: list[AttemptId] = []
        #: Attempts that have to make room: by when, by the monotonic clock, and for whom.
        self._notices: dict[AttemptId, tuple[float, str]] = {}
        self._acknowledged: list[AttemptId] = []
        #: Attempts that have come to us while the stream was open, with the epoch of their slot.
        self._adoptions: list[tuple[AttemptId, int]] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def reach(self, address: str) -> None:
        """Where the host is now."""
        if address != self.address:
            self.address = address
            self._restart()

    def _restart(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task = asyncio.create_task(
            keep_open(f"host {self.host}", self._talk, ended=self._ended, failed=self._launcher.failed),
            name=f"host-{self.host}",
        )

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def launch(self, launch: action_pb2.Launch) -> None:
        self._launches.append(launch)
        self._wake.set()

    def stop_attempt(self, attempt: AttemptId) -> None:
        self._stops.append(attempt)
        self._wake.set()

    def notify(self, attempt: AttemptId, grace_seconds: float, reason: str) -> None:
        """The attempt has to make room within so many seconds."""
        self._notices[attempt] = (self._clock.monotonic() + grace_seconds, reason)
        self._wake.set()

    def has_unsent(self, attempt: AttemptId) -> bool:
        """Whether the attempt's launch is still here."""
        return any(attempt_id(launch.key) == attempt for launch in self._launches)

    def take_back(self, attempt: AttemptId) -> None:
        """A launch that is still here is not to be sent."""
        self._launches = [launch for launch in self._launches if attempt_id(launch.key) != attempt]

    def acknowledge(self, attempt: AttemptId) -> None:
        self._acknowledged.append(attempt)
        self._wake.set()

    def adopt(self, attempt: AttemptId, epoch: int) -> None:
        """The attempt's run has come to us."""
        self._adoptions.append((attempt, epoch))
        self._wake.set()

    def forget_launches(self) -> None:
        """What was not sent is not to be sent any more: its attempts are lost."""
        self._launches.clear()

    def _ended(self) -> None:
        if self.away_since is None:
            log.warning("an action service's stream ended", extra={"host": self.host})
            self.away_since = self._clock.monotonic()
            HOSTS.dec()

    async def _talk(self) -> None:
        async with open_channel(self.address) as channel:
            call = action_pb2_grpc.ActionServiceStub(channel).Attach(metadata=self._identity.metadata)
            writer: asyncio.Task[None] | None = None
            try:
                await call.write(action_pb2.AttachRequest(hello=self._hello()))
                async for response in call:
                    if writer is None:
                        self._welcome(response)
                        writer = asyncio.create_task(self._write(call))
                    if response.kept:
                        self._launcher.kept(self.host, response.kept)
                    self._launcher.outcomes(self.host, response.outcomes)
            finally:
                if writer is not None:
                    writer.cancel()
                    await asyncio.gather(writer, return_exceptions=True)
                call.cancel()

    def _hello(self) -> action_pb2.AttachHello:
        """Says all that runs for us on the host, adoptions that were not sent included."""
        self._adoptions.clear()
        unsent = {attempt_id(launch.key) for launch in self._launches}
        holds = [adoption_of(*held) for held in self._launcher.holds(self.host) if held[0] not in unsent]
        return action_pb2.AttachHello(replica=self._replica, holds=holds)

    def _welcome(self, response: action_pb2.AttachResponse) -> None:
        self.away_since = None
        HOSTS.inc()
        log.info("attached to an action service", extra={"host": self.host, "address": self.address})
        self._launcher.attached(
            self.host,
            {attempt_id(key) for key in response.welcome.live},
            {attempt_id(outcome.key) for outcome in response.outcomes},
            {attempt_id(launch.key) for launch in self._launches} | {attempt for attempt, _ in self._adoptions},
        )

    async def _write(self, call: "grpc.aio.StreamStreamCall") -> None:  # type: ignore[type-arg]
        told: set[int] = set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._launches or self._stops or self._acknowledged or self._adoptions or self._notices:
                await call.write(self._next_batch(told))

    def _next_batch(self, told: set[int]) -> action_pb2.AttachRequest:
        request = action_pb2.AttachRequest()
        stops, self._stops = self._stops, []
        acknowledged, self._acknowledged = self._acknowledged, []
        adoptions, self._adoptions = self._adoptions, []
        request.adoptions.extend(adoption_of(*one) for one in adoptions)
        request.stops.extend(attempt_key(attempt) for attempt in stops)
        request.acknowledged.extend(attempt_key(attempt) for attempt in acknowledged)
        size = count = 0
        for launch in self._launches:
            if launch.operator and launch.operator not in told:
                told.add(launch.operator)
                request.operators.append(self._specs[launch.operator])
            request.launches.append(launch)
            count += 1
            size += len(launch.arguments)
            if count >= _BATCH_LAUNCHES or size >= _BATCH_BYTES:
                break
        del self._launches[:count]
        if self._notices and not self._launches:  # never before the launch
            notices, self._notices = self._notices, {}
            now = self._clock.monotonic()
            for attempt, (deadline, reason) in notices.items():
                grace_ms = max(0, int((deadline - now) * 1000))
                request.notices.add(key=attempt_key(attempt), grace_ms=grace_ms, reason=reason)
        return request


class HostLinks:
    """All hosts that there are, or that a run says it has attempts on."""

    def __init__(self, *, identity: Identity, replica: str, specs: OperatorSpecs, clock: Clock) -> None:
        self._identity = identity
        self._replica = replica
        self._specs = specs
        self._clock = clock
        self._launcher: Launcher | None = None
        self._links: dict[str, HostLink] = {}
        self._task: asyncio.Task[None] | None = None

    def serve(self, launcher: Launcher) -> None:
        self._launcher = launcher

    async def start(self) -> None:
        self._task = asyncio.create_task(self._watch_absent(), name="absent-hosts")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for link in self._links.values():
            await link.stop()

    def __getitem__(self, host: str) -> HostLink:
        """The link to a host; for one that is not known yet, a link that waits for its address."""
        link = self._links.get(host)
        if link is None:
            assert self._launcher is not None, "serve() comes before the first host"
            link = self._links[host] = HostLink(
                host,
                identity=self._identity,
                replica=self._replica,
                specs=self._specs,
                launcher=self._launcher,
                clock=self._clock,
            )
        return link

    def address_of(self, host: str) -> str:
        link = self._links.get(host)
        return link.address if link is not None else ""

    async def any_address(self, patience_s: float) -> str:
        """The address of some host that is there, waiting for one if need be; empty when none came in time."""
        deadline = self._clock.monotonic() + patience_s
        while True:
            address = next((link.address for link in self._links.values() if link.away_since is None), "")
            if address or self._clock.monotonic() > deadline:
                return address
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def _watch_absent(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            now = self._clock.monotonic()
            for link in self._links.values():
                if link.away_since is not None and now - link.away_since > HOST_GRACE_S:
                    assert self._launcher is not None
                    link.forget_launches()
                    self._launcher.host_lost(link.host)
