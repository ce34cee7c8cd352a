"""The ActionService servicer: unpack, call the engine, pack."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

import grpc

from mwfs_action_service import verdicts
from mwfs_action_service.engine import Engine
from mwfs_action_service.journal import LogRange
from mwfs_action_service.logs import KEEP_HEAD
from mwfs_action_service.model import Adoption, OperatorEntry, key_of
from mwfs_action_service.replicas import ReplicaStream
from mwfs_api.action.v1 import action_pb2, action_pb2_grpc, worker_pb2
from mwfs_api.dags.v1 import dag_pb2
from mwfs_chassis.errors import Aborted, InvalidArgument, NotFound

CHUNK = 256 * 1024
#: How often a followed log is looked at.
FOLLOW_SECONDS = 0.1

Context = grpc.aio.ServicerContext[Any, Any]


class ActionServicer(action_pb2_grpc.ActionServiceServicer):
    """Attempts of this host, for orchestrator replicas; logs, for everyone."""

    def __init__(self, engine: Engine, *, compile_seconds: float) -> None:
        self._engine = engine
        self._compile_seconds = compile_seconds

    async def Attach(
        self, request_iterator: AsyncIterator[action_pb2.AttachRequest], context: Context
    ) -> AsyncIterator[action_pb2.AttachResponse]:
        first = await anext(aiter(request_iterator), None)
        if first is None or not first.HasField("hello") or not first.hello.replica:
            raise InvalidArgument(
                "The first message of Attach must be a hello that names the replica.", "Send `hello.replica` first."
            )
        stream = self._engine.attach(first.hello.replica, map(_adoption, first.hello.holds))
        reading = asyncio.ensure_future(self._read(first, request_iterator, stream))
        reading.add_done_callback(lambda _: stream.close())
        try:
            async for response in stream.responses():
                yield response
            if stream.replaced:
                raise Aborted(
                    f"Replica {stream.replica!r} has opened a newer stream.", "Use that one; one stream a replica."
                )
            if reading.done():
                reading.result()
        finally:
            self._engine.outcomes.detach(stream)
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await reading

    async def _read(
        self,
        first: action_pb2.AttachRequest,
        rest: AsyncIterator[action_pb2.AttachRequest],
        stream: ReplicaStream,
    ) -> None:
        operators: dict[int, OperatorEntry] = {}
        compilers: dict[str, OperatorEntry] = {}
        self._take(first, stream, operators, compilers)
        async for request in rest:
            if stream.replaced:
                return
            self._take(request, stream, operators, compilers)

    def _take(
        self,
        request: action_pb2.AttachRequest,
        stream: ReplicaStream,
        operators: dict[int, OperatorEntry],
        compilers: dict[str, OperatorEntry],
    ) -> None:
        replica = stream.replica
        if request.acknowledged:
            self._engine.outcomes.acknowledge(map(key_of, request.acknowledged))
        for spec in request.operators:
            operators[spec.id] = _operator_entry(spec)
        if request.adoptions:
            self._engine.adopt(replica, map(_adoption, request.adoptions))
        launches = []
        for launch in request.launches:
            key = key_of(launch.key)
            if launch.HasField("compile"):
                digest = launch.compile.bundle_digest
                entry = compilers.get(digest)
                if entry is None:
                    entry = compilers[digest] = self._compiler_entry(digest)
            else:
                known = operators.get(launch.operator)
                if known is None:
                    verdict = verdicts.unknown_operator(launch.operator)
                    self._engine.refuse(replica, key, self._compiler_entry(""), verdict)
                    continue
                entry = known
            launches.append((key, entry, launch))
        if launches:
            self._engine.launch(replica, launches)
        if request.stops:
            self._engine.stop_attempts(replica, map(key_of, request.stops))
        if request.notices:
            self._engine.notify(
                replica, [(key_of(one.key), one.grace_ms / 1000, one.reason) for one in request.notices]
            )

    def _compiler_entry(self, digest: str) -> OperatorEntry:
        prefix = worker_pb2.WorkerLaunch(bundle_digest=digest).SerializeToString()
        return OperatorEntry(bundle_digest=digest, packet_prefix=prefix, timeout=self._compile_seconds)

    async def ReadLogs(
        self, request: action_pb2.ReadLogsRequest, context: Context
    ) -> AsyncIterator[action_pb2.ReadLogsResponse]:
        key = key_of(request.key)
        ended = self._engine.ended(key)
        found = self._engine.logs.find(key)
        if found is None and ended is None:
            raise NotFound(
                f"This host knows no attempt {key[2]} of node {key[1]} of run {key[0]}.",
                "Ask the host that ran it; outputs are removed after a while.",
            )
        skip = 0
        if found is not None and request.tail_bytes:
            skip = max(0, found[1].stop - found[1].start - request.tail_bytes)
        position = skip
        while True:
            if found is not None:
                path, place = found
                position = _after_trim(position, place)
                with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                    while data := os.pread(
                        file.fileno(), min(CHUNK, place.stop - place.start - position), place.start + position
                    ):
                        position += len(data)
                        yield action_pb2.ReadLogsResponse(data=data)
            if not request.follow or ended is None:
                return
            if ended.is_set():
                ended = None  # once more, for what came last
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), FOLLOW_SECONDS)
            found = self._engine.logs.find(key) or found


def _adoption(message: action_pb2.Adoption) -> Adoption:
    return key_of(message.key), message.epoch


def _operator_entry(spec: action_pb2.OperatorSpec) -> OperatorEntry:
    prefix = worker_pb2.WorkerLaunch(
        bundle_digest=spec.bundle_digest,
        module=spec.operator.module,
        qualname=spec.operator.qualname,
        source_digest=spec.operator.source_digest,
        dynamic=spec.operator.control.kind == dag_pb2.CONTROL_KIND_DYNAMIC,
    )
    return OperatorEntry(
        bundle_digest=spec.bundle_digest,
        packet_prefix=prefix.SerializeToString(),
        timeout=spec.operator.timeout_seconds,
        start_timeout=spec.operator.start_timeout_seconds,
        heartbeat_timeout=spec.operator.heartbeat_timeout_seconds,
    )


def _after_trim(position: int, place: LogRange) -> int:
    """Where a reader that stood at `position` goes on, now that the middle of the output may have been cut out."""
    if not place.dropped or position <= KEEP_HEAD:
        return position
    length = place.stop - place.start
    whole = length + place.dropped  # but for the marker's few bytes
    return max(KEEP_HEAD, min(length, length - (whole - position)))
