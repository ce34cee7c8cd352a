"""A scheduler that grants everything and a host that runs nothing: the orchestrator's neighbours, over real gRPC, under the test's control."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from typing import Any

import grpc

from mwfs_api.action.v1 import action_pb2, action_pb2_grpc
from mwfs_api.events.v1 import events_pb2
from mwfs_api.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from mwfs_api.types.v1 import types_pb2

Key = tuple[str, int, int]


def key_of(key: action_pb2.AttemptKey) -> Key:
    return key.run_id, key.node, key.attempt


class GrantingScheduler(scheduler_pb2_grpc.SchedulerServiceServicer):
    """Grants each demand at once, all on one host. Keeps books of what is held."""

    @property
    def held(self) -> Counter[str]:
        """Nodes by grant, of all replicas."""
        total: Counter[str] = Counter()
        for book in self.books.values():
            total.update(book)
        return total

    def __init__(self, host_address: Callable[[], str], epoch: int = 1) -> None:
        #: By replica, then by grant.
        self.books: dict[str, dict[str, int]] = {}
        #: False: there is no room for anybody.
        self.grants = True
        #: What was asked for: the group, and how many.
        self.demanded: list[tuple[str, int]] = []
        self.withdrawn: list[str] = []
        #: Runs that asked for room that is not taken back.
        self.pinned: set[str] = set()
        #: How often the nodes of each demand had been preempted.
        self.preemptions: list[int] = []
        #: By grant: for how long its attempts that made room had run after their last checkpoint.
        self.lost_ms: Counter[str] = Counter()
        #: For how long the room of each demand would be taken, in seconds; 0: not known.
        self.expected: list[int] = []
        self.hellos: list[scheduler_pb2.Hello] = []
        self.epoch = epoch
        #: That of the grants, where it is another one: of a scheduler that leads no more.
        self.granted_epoch: int | None = None
        self._host_address = host_address
        self._grants = 0
        #: What each replica is still to be told.
        self._streams: dict[str, asyncio.Queue[scheduler_pb2.RequestResponse | None]] = {}
        self._hung_up: list[asyncio.Queue[scheduler_pb2.RequestResponse | None]] = []
        self.changed = asyncio.Event()

    def revoke(
        self, grant_id: str, count: int = 1, grace_ms: int = 600_000, reason: str = "team blue needs it"
    ) -> None:
        """The room is wanted back."""
        revocation = scheduler_pb2.Revocation(grant_id=grant_id, count=count, grace_ms=grace_ms, reason=reason)
        for stream in self._streams.values():
            stream.put_nowait(scheduler_pb2.RequestResponse(epoch=self.epoch, revocations=[revocation]))

    def hang_up(self) -> None:
        """All streams end."""
        for stream in self._streams.values():
            self._hung_up.append(stream)
            stream.put_nowait(None)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()

    async def Request(
        self, request_iterator: AsyncIterator[scheduler_pb2.RequestRequest], context: Any
    ) -> AsyncIterator[scheduler_pb2.RequestResponse]:
        hosts = scheduler_pb2.HostList(hosts=[scheduler_pb2.Host(host="h1", address=self._host_address())])
        stream: asyncio.Queue[scheduler_pb2.RequestResponse | None] = asyncio.Queue()
        stream.put_nowait(scheduler_pb2.RequestResponse(epoch=self.epoch, hosts=hosts))
        reading = asyncio.create_task(self._read(request_iterator, stream))
        # A defect of the orchestrator ends the stream with its error.
        reading.add_done_callback(lambda _: stream.put_nowait(None))
        try:
            while (response := await stream.get()) is not None:
                yield response
            if stream not in self._hung_up:
                await reading
        finally:
            reading.cancel()
            for replica in [name for name, one in self._streams.items() if one is stream]:
                del self._streams[replica]

    async def _read(
        self,
        requests: AsyncIterator[scheduler_pb2.RequestRequest],
        stream: "asyncio.Queue[scheduler_pb2.RequestResponse | None]",
    ) -> None:
        held: dict[str, int] = {}
        async for request in requests:
            if request.HasField("hello"):
                self.hellos.append(request.hello)
                self._streams[request.hello.replica] = stream
                held = self.books[request.hello.replica] = {held.grant_id: held.count for held in request.hello.held}
            for adopted in request.adopted:
                for book in self.books.values():
                    if adopted.grant_id in book:
                        book[adopted.grant_id] -= adopted.count
                held[adopted.grant_id] = held.get(adopted.grant_id, 0) + adopted.count
            for release in request.releases:
                left = held.get(release.grant_id, 0) - release.count
                assert left >= 0, f"{release.grant_id} was released more often than it was held"
                held[release.grant_id] = left
                self.lost_ms[release.grant_id] += release.lost_ms
            self.withdrawn.extend(request.withdrawn_groups)
            self.pinned.update(demand.run_id for demand in request.demands if demand.not_preemptible)
            self.preemptions.extend(demand.preemptions for demand in request.demands)
            self.expected.extend(demand.expected_s for demand in request.demands)
            self.demanded.extend((demand.group_id, demand.add) for demand in request.demands)
            response = scheduler_pb2.RequestResponse(epoch=self.epoch)
            for demand in (each for each in request.demands if each.add) if self.grants else ():
                self._grants += 1
                grant_id = f"{self.epoch}-{len(self.hellos)}-{self._grants}"
                held[grant_id] = demand.add
                response.grants.add(
                    grant_id=grant_id,
                    group_id=demand.group_id,
                    count=demand.add,
                    host="h1",
                    epoch=self.epoch if self.granted_epoch is None else self.granted_epoch,
                    valid_ms=30_000,
                )
            if response.grants:
                stream.put_nowait(response)
            self.changed.set()


Answer = Callable[[action_pb2.Launch], action_pb2.Outcome | None]


def succeed(launch: action_pb2.Launch) -> action_pb2.Outcome:
    """An outcome with the node's index as its one integer output."""
    output = types_pb2.Value(integer=launch.key.node).SerializeToString()
    return action_pb2.Outcome(key=launch.key, state=events_pb2.ATTEMPT_STATE_SUCCEEDED, outputs=[output], worker="w1")


def fail(launch: action_pb2.Launch) -> action_pb2.Outcome:
    failure = events_pb2.Failure(kind=events_pb2.FAILURE_KIND_RAISED, error_type="ValueError", message="no")
    return action_pb2.Outcome(key=launch.key, state=events_pb2.ATTEMPT_STATE_FAILED, failure=failure, worker="w1")


class ScriptedHost(action_pb2_grpc.ActionServiceServicer, action_pb2_grpc.ArtifactServiceServicer):
    """Answers launches as `answer` says; None: the attempt goes on. Keeps outcomes until they are acknowledged, as the real one does."""

    def __init__(self, answer: Answer = succeed) -> None:
        self.answer = answer
        self.launched: list[Key] = []
        self.live: dict[Key, action_pb2.Launch] = {}
        self.unacknowledged: dict[Key, action_pb2.Outcome] = {}
        self.arguments: dict[Key, bytes] = {}
        self.acknowledges = True
        self.artifacts: dict[str, bytes] = {}
        #: False: nothing more can be stored.
        self.has_room = True
        self.stopped: list[Key] = []
        self.notices: list[action_pb2.Notice] = []
        #: What each attempt was to go on from.
        self.resumed: dict[Key, events_pb2.Checkpoint] = {}
        #: Checkpoints, and runs whose checkpoints, were to be removed.
        self.dropped: list[str] = []
        #: False: what is told to stop goes on.
        self.stops = True
        #: The stream of each replica.
        self._streams: dict[str, asyncio.Queue[action_pb2.AttachResponse | None]] = {}
        #: Which replica each attempt belongs to.
        self.owners: dict[Key, str] = {}
        self.changed = asyncio.Event()

    def finish(self, key: Key, outcome: action_pb2.Outcome) -> None:
        """The attempt ends now."""
        self.live.pop(key, None)
        self.unacknowledged[key] = outcome
        self._tell(key, outcome)

    def keep(self, key: Key, checkpoint: events_pb2.Checkpoint) -> None:
        """The attempt goes on and has kept this."""
        kept = action_pb2.Kept(key=self.live[key].key, checkpoint=checkpoint)
        self._streams[self.owners[key]].put_nowait(action_pb2.AttachResponse(kept=[kept]))

    def _tell(self, key: Key, outcome: action_pb2.Outcome) -> None:
        stream = self._streams.get(self.owners[key])
        if stream is not None:
            stream.put_nowait(action_pb2.AttachResponse(outcomes=[outcome]))

    def restart(self) -> None:
        """Loses what runs and cuts the streams; outcomes were on disk."""
        self.live.clear()
        for stream in self._streams.values():
            stream.put_nowait(None)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()

    async def Attach(
        self, request_iterator: AsyncIterator[action_pb2.AttachRequest], context: Any
    ) -> AsyncIterator[action_pb2.AttachResponse]:
        hello = (await anext(request_iterator)).hello
        assert hello.replica
        for adoption in hello.holds:
            self.owners[key_of(adoption.key)] = hello.replica
        stream: asyncio.Queue[action_pb2.AttachResponse | None] = asyncio.Queue()
        welcome = action_pb2.Welcome(
            host="h1", live=[launch.key for key, launch in self.live.items() if self.owners[key] == hello.replica]
        )
        outcomes = [one for key, one in self.unacknowledged.items() if self.owners[key] not in self._streams]
        stream.put_nowait(action_pb2.AttachResponse(welcome=welcome, outcomes=outcomes))
        self._streams[hello.replica] = stream
        reading = asyncio.create_task(self._read(hello.replica, request_iterator))
        try:
            while (response := await stream.get()) is not None:
                yield response
        finally:
            reading.cancel()
            if self._streams.get(hello.replica) is stream:
                del self._streams[hello.replica]

    async def _read(self, replica: str, requests: AsyncIterator[action_pb2.AttachRequest]) -> None:
        async for request in requests:
            for adoption in request.adoptions:
                key = key_of(adoption.key)
                self.owners[key] = replica
                if key in self.unacknowledged:
                    self._tell(key, self.unacknowledged[key])
                elif key not in self.live:
                    self._tell(key, action_pb2.Outcome(key=adoption.key, state=events_pb2.ATTEMPT_STATE_LOST))
            for acknowledged in request.acknowledged:
                self.unacknowledged.pop(key_of(acknowledged), None)
            self.notices.extend(request.notices)
            self.stopped.extend(key_of(stop) for stop in request.stops)
            for stop in request.stops:
                if self.stops and key_of(stop) in self.live:
                    outcome = action_pb2.Outcome(key=stop, state=events_pb2.ATTEMPT_STATE_CANCELLED)
                    self.finish(key_of(stop), outcome)
            for launch in request.launches:
                key = key_of(launch.key)
                assert key not in self.launched, f"{key} was launched twice"
                self.launched.append(key)
                self.owners[key] = replica
                self.arguments[key] = launch.arguments
                if launch.HasField("resume_from"):
                    self.resumed[key] = launch.resume_from
                self.live[key] = launch
                outcome = self.answer(launch)
                if outcome is not None:
                    self.finish(key, outcome)
            self.changed.set()

    async def FindMissing(self, request: action_pb2.FindMissingRequest, context: Any) -> action_pb2.FindMissingResponse:
        return action_pb2.FindMissingResponse(digests=[d for d in request.digests if d not in self.artifacts])

    async def DropCheckpoints(
        self, request: action_pb2.DropCheckpointsRequest, context: Any
    ) -> action_pb2.DropCheckpointsResponse:
        self.dropped.extend([*request.keys, *request.run_ids])
        self.changed.set()
        return action_pb2.DropCheckpointsResponse()

    async def Upload(
        self, request_iterator: AsyncIterator[action_pb2.UploadRequest], context: Any
    ) -> action_pb2.UploadResponse:
        if not self.has_room:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no room")
        header, data = None, bytearray()
        async for request in request_iterator:
            if request.HasField("header"):
                header = request.header
            else:
                data += request.data
        assert header is not None
        assert header.size == len(data)
        assert header.digest == "sha256:" + sha256(data).hexdigest()
        self.artifacts[header.digest] = bytes(data)
        return action_pb2.UploadResponse()

    async def Download(
        self, request: action_pb2.DownloadRequest, context: Any
    ) -> AsyncIterator[action_pb2.DownloadResponse]:
        yield action_pb2.DownloadResponse(data=self.artifacts[request.digest])
