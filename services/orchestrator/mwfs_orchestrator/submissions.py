"""Takes submissions apart: chunks put together, bounded, checked against their digest, and looked up so that repeating one is safe."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final
from uuid import UUID

import grpc

from mwfs_api.action.v1 import action_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_chassis.caller import Caller
from mwfs_chassis.clock import Clock
from mwfs_chassis.errors import (
    AlreadyExists,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    ServiceError,
    wire_error,
)

from .catalogue.store import CatalogueStore
from .compiling import CHUNK_BYTES, MAX_DAG_BYTES, CompiledDag, CompiledDags
from .engine import Engine
from .model import RunHeader, run_id_of, slot_of
from .names import check_digest, check_tags, check_workflow
from .shard.store import ShardStore

#: Submissions of one stream that have begun and not ended.
MAX_OPEN: Final = 1_000
#: Bytes of Dags that are being put together, over all streams.
MAX_OPEN_BYTES: Final = 1024 * 1024 * 1024
#: Submissions of one stream that are checked and committed at a time.
_MAX_WORKING: Final = 256
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_MAX_PRIORITY: Final = 1_000_000


@dataclass(slots=True, kw_only=True)
class Assembly:
    """A submission whose parts are still coming."""

    header: orchestrator_pb2.SubmitHeader
    chunks: list[bytes] = field(default_factory=list)
    size: int = 0


class Intake:
    """Everything between a stream of parts and an accepted run."""

    def __init__(self, *, engine: Engine, catalogue: CatalogueStore, compiled: CompiledDags, clock: Clock) -> None:
        self._engine = engine
        self._catalogue = catalogue
        self._compiled = compiled
        self._clock = clock
        self._open_bytes = 0
        #: Runs that are being accepted: the same submission may arrive twice at once.
        self._accepting: dict[UUID, tuple[bytes, asyncio.Future[None]]] = {}
        self._lookups: dict[int, ExistenceLookup] = {store.shard: ExistenceLookup(store) for store in engine.stores}
        self._versions: dict[tuple[str, str, str], str] = {}

    async def serve(
        self, requests: AsyncIterator[orchestrator_pb2.SubmitRunsRequest], caller: Caller
    ) -> AsyncIterator[orchestrator_pb2.SubmitRunsResponse]:
        """Answers each submission of a stream once it is committed or refused."""
        answers: asyncio.Queue[orchestrator_pb2.SubmitRunsResponse | None] = asyncio.Queue()
        reading = asyncio.create_task(self._read(requests, caller, answers))
        try:
            while (answer := await answers.get()) is not None:
                yield answer
            await reading
        finally:
            reading.cancel()

    async def _read(
        self,
        requests: AsyncIterator[orchestrator_pb2.SubmitRunsRequest],
        caller: Caller,
        answers: "asyncio.Queue[orchestrator_pb2.SubmitRunsResponse | None]",
    ) -> None:
        assemblies: dict[int, Assembly] = {}
        room = asyncio.Semaphore(_MAX_WORKING)
        try:
            async with asyncio.TaskGroup() as working:
                async for request in requests:
                    number = request.submission
                    part = request.WhichOneof("part")
                    if part == "header":
                        if len(assemblies) >= MAX_OPEN:
                            raise ResourceExhausted(
                                f"More than {MAX_OPEN:,} submissions are open on one stream.",
                                "End some before beginning more.",
                            )
                        self._drop(assemblies.pop(number, None))
                        assemblies[number] = Assembly(header=request.header)
                    elif number not in assemblies:
                        continue  # what is left of a submission that was refused
                    elif part == "dag_chunk":
                        refusal = self._add(assemblies[number], request.dag_chunk)
                        if refusal is not None:
                            self._drop(assemblies.pop(number))
                            answers.put_nowait(_refused(number, refusal))
                    elif part == "end":
                        await room.acquire()
                        task = working.create_task(
                            self._answer(number, assemblies.pop(number), request.end, caller, answers)
                        )
                        task.add_done_callback(lambda _: room.release())
                    else:
                        self._drop(assemblies.pop(number))
                        answers.put_nowait(_refused(number, InvalidArgument("A part of the submission is empty.")))
        except* ServiceError as errors:
            raise errors.exceptions[0] from None
        finally:
            for assembly in assemblies.values():
                self._drop(assembly)
            answers.put_nowait(None)

    def _add(self, assembly: Assembly, chunk: bytes) -> ServiceError | None:
        if len(chunk) > CHUNK_BYTES:
            return InvalidArgument(f"A chunk has {len(chunk):,} bytes; at most {CHUNK_BYTES:,} are allowed.")
        if assembly.size + len(chunk) > MAX_DAG_BYTES:
            return ResourceExhausted(
                f"The Dag has more than {MAX_DAG_BYTES:,} bytes.",
                "Split the workflow, or pass large constants as files.",
            )
        if self._open_bytes + len(chunk) > MAX_OPEN_BYTES:
            return ResourceExhausted("The server holds too many unfinished submissions.", "Try again in a moment.")
        assembly.chunks.append(chunk)
        assembly.size += len(chunk)
        self._open_bytes += len(chunk)
        return None

    def _drop(self, assembly: Assembly | None) -> None:
        if assembly is not None:
            self._open_bytes -= assembly.size

    async def _answer(
        self,
        number: int,
        assembly: Assembly,
        end: orchestrator_pb2.SubmitEnd,
        caller: Caller,
        answers: "asyncio.Queue[orchestrator_pb2.SubmitRunsResponse | None]",
    ) -> None:
        try:
            accepted = await self._accept(assembly, end, caller)
            answers.put_nowait(orchestrator_pb2.SubmitRunsResponse(submission=number, accepted=accepted))
        except Exception as error:
            if wire_error(error) is None:
                raise
            answers.put_nowait(_refused(number, error))
        finally:
            self._drop(assembly)

    async def _accept(
        self, assembly: Assembly, end: orchestrator_pb2.SubmitEnd, caller: Caller
    ) -> orchestrator_pb2.SubmitAccepted:
        message, data = assembly.header, b"".join(assembly.chunks)
        _check_header(message)
        if end.dag_size != len(data) or (data and end.dag_digest != "sha256:" + sha256(data).hexdigest()):
            raise InvalidArgument(
                f"The Dag arrived incomplete or changed: {len(data):,} bytes, where {end.dag_size:,} with digest {end.dag_digest or 'none'} were announced.",
                "Submit it again.",
            )
        if bool(data) == message.compile:
            raise InvalidArgument(
                "A submission has either a Dag or `compile`.", "Send the Dag's chunks, or let the platform compile."
            )
        run_id = run_id_of(caller.team, message.request_id)
        body = sha256(message.SerializeToString(deterministic=True) + end.dag_digest.encode()).digest()
        if not await self._is_new(run_id, body, message.request_id):
            return orchestrator_pb2.SubmitAccepted(run_id=str(run_id), created=False)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._accepting[run_id] = (body, done)
        try:
            bundle = await self._bundle_of(caller.team, message)
            compiled: CompiledDag | None = None
            if data:
                compiled = await self._compiled.checked(data, message.workflow)
                bundle = _agreed_bundle(bundle, compiled.graph.dag.bundle_digest)
            bundle = bundle or ""
            header = RunHeader(
                run_id=run_id,
                team=caller.team,
                principal=caller.principal,
                request_id=message.request_id,
                body_digest=body,
                workflow=message.workflow,
                version_digest=message.version_digest,
                bundle_digest=bundle,
                priority=message.priority,
                tags=dict(message.tags),
                compile_job=_compile_job(message, bundle) if compiled is None else None,
                create_us=self._clock.now_us(),
            )
            chunks, graph = (compiled.chunks, compiled.graph) if compiled is not None else ([], None)
            await self._engine.accept(header, chunks, graph)
        finally:
            del self._accepting[run_id]
            done.set_result(None)
        return orchestrator_pb2.SubmitAccepted(run_id=str(run_id), created=True)

    async def _is_new(self, run_id: UUID, body: bytes, request_id: str) -> bool:
        """Whether the submission has no run yet. Raises AlreadyExists for another submission under the same id."""
        while True:
            if (accepting := self._accepting.get(run_id)) is not None:
                await accepting[1]
                continue
            active = self._engine.runs.get(run_id)
            if active is not None:
                known: bytes | None = active.header.body_digest
            else:
                known = await self._lookups[self._engine.shard_of(slot_of(run_id)).shard].find(run_id)
            if known is None and (run_id in self._accepting or run_id in self._engine.runs):
                continue
            if known is not None and known != body:
                raise AlreadyExists(
                    f"The request id {request_id!r} was used for another submission: run {run_id}.",
                    "Use a new request id, or none to have one made.",
                )
            return known is None

    async def _bundle_of(self, team: str, message: orchestrator_pb2.SubmitHeader) -> str | None:
        """The bundle of the version that the submission names; None when it names none."""
        if not message.version_digest:
            if message.compile:
                raise InvalidArgument(
                    "To compile on the platform, name a registered version.", "Register it with `mwfs register`."
                )
            return None
        key = (team, message.workflow, message.version_digest)
        if key not in self._versions:
            version = await self._catalogue.get_version(*key)
            if version is None:
                raise NotFound(
                    f"The workflow {message.workflow} has no version {message.version_digest}.",
                    "Register it with `mwfs register`.",
                )
            self._versions[key] = version.bundle_digest
        return self._versions[key]


class ExistenceLookup:
    """Asks a shard for many ids at once: those that come while a question is open go into the next."""

    def __init__(self, store: ShardStore) -> None:
        self._store = store
        self._waiting: dict[UUID, asyncio.Future[bytes | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def find(self, run_id: UUID) -> bytes | None:
        """The digest of the run's submission, or None when there is no such run."""
        future = self._waiting.get(run_id)
        if future is None:
            future = self._waiting[run_id] = asyncio.get_running_loop().create_future()
            if self._task is None:
                self._task = asyncio.create_task(self._ask())
        return await asyncio.shield(future)

    async def _ask(self) -> None:
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, {}
                try:
                    found = await self._store.find_runs(list(waiting))
                except Exception as error:
                    for future in waiting.values():
                        future.set_exception(error)
                    continue
                for run_id, future in waiting.items():
                    future.set_result(found.get(run_id))
        finally:
            self._task = None


def _check_header(message: orchestrator_pb2.SubmitHeader) -> None:
    if not _REQUEST_ID.fullmatch(message.request_id):
        raise InvalidArgument("The request id must have 1 to 128 visible ASCII characters.")
    check_workflow(message.workflow)
    if message.version_digest:
        check_digest(message.version_digest, "version digest")
    check_tags(message.tags)
    if abs(message.priority) > _MAX_PRIORITY:
        raise InvalidArgument(f"The priority {message.priority} is not within ±{_MAX_PRIORITY:,}.")


def _agreed_bundle(of_version: str | None, of_dag: str) -> str:
    if of_version is not None and of_version != of_dag:
        raise InvalidArgument(
            f"The Dag was compiled from the code bundle {of_dag or 'none'}, the version has {of_version or 'none'}.",
            "Compile again with the version's code.",
        )
    return of_dag


def _compile_job(message: orchestrator_pb2.SubmitHeader, bundle: str) -> bytes:
    job = action_pb2.CompileJob(workflow=message.workflow, bundle_digest=bundle)
    for name, value in message.inputs.items():
        job.inputs[name].CopyFrom(value)
    return job.SerializeToString(deterministic=True)


def _refused(number: int, error: Exception) -> orchestrator_pb2.SubmitRunsResponse:
    known = wire_error(error)
    code = known.code if known is not None else grpc.StatusCode.INTERNAL
    message = known.message if known is not None else "internal error"
    return orchestrator_pb2.SubmitRunsResponse(
        submission=number, refused=orchestrator_pb2.SubmitRefused(code=code.name, message=message)
    )
