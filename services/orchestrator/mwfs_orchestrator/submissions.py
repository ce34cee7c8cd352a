"""From a complete submission to an accepted run: checked against its digest, looked up so that repeating is safe, believed only after all checks."""

import asyncio
import traceback
from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial
from hashlib import sha256
from itertools import chain
from typing import Any, Final
from uuid import UUID

import grpc

from mwfs_api.action.v1 import action_pb2
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_chassis.caller import Caller
from mwfs_chassis.clock import Clock
from mwfs_chassis.errors import (
    AlreadyExists,
    InvalidArgument,
    Overloaded,
    ServiceError,
    wire_error,
)
from mwfs_types.errors import BadDag
from mwfs_types.limits import MAX_LONG_NAME, MAX_PRIORITY
from mwfs_types.run_options import check_options

from .admission import Admission
from .assembly import Assemblies, Assembly, OpenBytes
from .catalogue.store import CatalogueStore
from .compiling import CHUNK_BYTES, CompiledDag, CompiledDags
from .engine import Engine
from .gate import Gate
from .known_versions import KnownVersions
from .model import RunHeader, TakenResults, run_id_of, slot_of
from .names import check_digest, check_request_id, check_tags, check_workflow
from .rerun import Reruns
from .routing import Routing, is_forwarded
from .shard.store import ShardStore

#: Submissions of one stream that are checked and committed at a time.
_MAX_WORKING: Final = 256


class Intake:
    """Everything between a stream of parts and an accepted run."""

    def __init__(
        self,
        *,
        engine: Engine,
        routing: Routing,
        catalogue: CatalogueStore,
        compiled: CompiledDags,
        reruns: Reruns,
        admission: Admission,
        gate: Gate,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._routing = routing
        self._compiled = compiled
        self._reruns = reruns
        self._admission = admission
        self._gate = gate
        self._clock = clock
        self._open_bytes = OpenBytes()
        #: Runs that are being accepted: the same submission may arrive twice at once.
        self._accepting: dict[UUID, tuple[bytes, asyncio.Future[None]]] = {}
        self._lookups: dict[int, ExistenceLookup] = {}
        self._versions = KnownVersions(catalogue)

    async def serve(
        self, requests: AsyncIterator[orchestrator_pb2.SubmitRunsRequest], caller: Caller, context: Any
    ) -> AsyncIterator[orchestrator_pb2.SubmitRunsResponse]:
        """Answers each submission of a stream once it is committed or refused; answers that are there together travel together."""
        answers = _Answers()
        reading = asyncio.create_task(self._read(requests, caller, context, answers))
        reading.add_done_callback(_let_go)
        try:
            while (response := await answers.take()) is not None:
                yield response
            await reading
        finally:
            reading.cancel()

    async def _read(
        self,
        requests: AsyncIterator[orchestrator_pb2.SubmitRunsRequest],
        caller: Caller,
        context: Any,
        answers: "_Answers",
    ) -> None:
        assemblies = Assemblies(self._open_bytes)
        room = asyncio.Semaphore(_MAX_WORKING)
        forwarded = is_forwarded(context)
        incoming = aiter(requests)

        async def answer(number: int, assembly: Assembly) -> None:
            found = await self._answer(assembly, caller, forwarded)
            found.submission = number
            answers.put(found)

        def ended(assembly: Assembly, _: object) -> None:
            room.release()
            assemblies.release(assembly)

        try:
            async with asyncio.TaskGroup() as working:
                async for request in incoming:
                    refused = 0
                    for part in request.parts:
                        refusal = self._refusal(part)
                        if refusal is not None:
                            assemblies.drop(part.submission)
                            answers.put(_refused(part.submission, refusal))
                            refused += 1
                            continue
                        found = assemblies.add(part)
                        if isinstance(found, ServiceError):
                            answers.put(_refused(part.submission, found))
                        elif found is not None:
                            await room.acquire()
                            task = working.create_task(answer(part.submission, found))
                            # Not at its own end: one that is cancelled before it begins has none.
                            task.add_done_callback(partial(ended, found))
                    if refused:
                        await self._gate.after_refusals(refused)
        except* ServiceError as errors:
            raise errors.exceptions[0] from None
        finally:
            assemblies.close()
            answers.end()
            # What gRPC gives is a cycle too: not closed, it would keep the call and all that is buffered for it.
            if isinstance(incoming, AsyncGenerator):
                await incoming.aclose()

    def _refusal(self, part: orchestrator_pb2.SubmissionPart) -> ServiceError | None:
        """Why a submission is not even read, which is all that there is time for when there are far too many."""
        return self._gate.refusal() if part.HasField("header") and not part.header.options.child_depth else None

    async def _answer(self, assembly: Assembly, caller: Caller, forwarded: bool) -> orchestrator_pb2.SubmissionAnswer:
        if not assembly.header.options.child_depth:  # a run that goes on waits for it
            refusal = await self._gate.enter()
            if refusal is not None:
                return _refused(0, refusal)
        elif not forwarded:
            return _refused(0, InvalidArgument("Only the platform submits child runs: leave child_depth out."))
        return await self._routed(assembly, caller, forwarded)

    async def submit(
        self, header: orchestrator_pb2.SubmitHeader, dag: bytes, caller: Caller
    ) -> orchestrator_pb2.SubmissionAnswer:
        """A submission of the platform itself, in the name of `caller`, who is the current caller."""
        chunks = [dag[at : at + CHUNK_BYTES] for at in range(0, len(dag), CHUNK_BYTES)]
        end = orchestrator_pb2.SubmitEnd(dag_size=len(dag), dag_digest="sha256:" + sha256(dag).hexdigest())
        return await self._routed(Assembly(header=header, chunks=chunks, size=len(dag), end=end), caller, False)

    async def _routed(self, assembly: Assembly, caller: Caller, forwarded: bool) -> orchestrator_pb2.SubmissionAnswer:
        """What the owner of the run's slot answers."""

        async def here() -> orchestrator_pb2.SubmissionAnswer:
            return orchestrator_pb2.SubmissionAnswer(accepted=await self._accept(assembly, caller))

        run_id = run_id_of(caller.team, assembly.header.request_id)
        try:
            return await self._routing.submit(run_id, assembly.parts, forwarded, here)
        except Exception as error:
            if wire_error(error) is None:
                raise
            return _refused(0, error)

    async def _accept(self, assembly: Assembly, caller: Caller) -> orchestrator_pb2.SubmitAccepted:
        message, end, data = assembly.header, assembly.end, b"".join(assembly.chunks)
        assert end is not None, "only complete submissions come here"
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
            version, job = message.version_digest, None
            if message.HasField("base") and message.compile:
                version = await self._reruns.version_of(message.base, message.workflow, caller.team, version)
            bundle = await self._bundle_of(caller.team, message, version)
            compiled: CompiledDag | None = None
            if data:
                compiled = await self._compiled.checked(data, message.workflow)
                bundle = _agreed_bundle(bundle, compiled.graph.dag.bundle_digest)
            bundle = bundle or ""
            if compiled is None:
                rerun = await self._reruns.job_of(message.base) if message.HasField("base") else None
                job = _compile_job(message, bundle, rerun)
            header = RunHeader(
                run_id=run_id,
                team=caller.team,
                principal=caller.principal,
                request_id=message.request_id,
                body_digest=body,
                workflow=message.workflow,
                version_digest=version,
                bundle_digest=bundle,
                priority=message.priority,
                tags=dict(message.tags),
                compile_job=job,
                create_us=self._clock.now_us(),
                options=message.options,
            )
            taken: TakenResults | None = None
            if message.HasField("base") and compiled is not None:
                taken = await self._reruns.taken(message.base, compiled.graph, caller.team)
            chunks, graph = (compiled.chunks, compiled.graph) if compiled is not None else ([], None)
            behind_s = self._engine.behind_s(header.slot)
            self._admission.admit(
                graph.size if graph else 0,
                self._engine.runs.values(),
                behind_s=behind_s,
                child_depth=message.options.child_depth,
            )
            await self._engine.accept(header, chunks, graph, taken)
        finally:
            del self._accepting[run_id]
            done.set_result(None)
        return orchestrator_pb2.SubmitAccepted(run_id=header.run_text, created=True)

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
                known = await self._lookup(run_id).find(run_id)
            if known is None and (run_id in self._accepting or run_id in self._engine.runs):
                continue
            if known is not None and known != body:
                raise AlreadyExists(
                    f"The request id {request_id!r} was used for another submission: run {run_id}.",
                    "Use a new request id, or none to have one made.",
                )
            return known is None

    def _lookup(self, run_id: UUID) -> "ExistenceLookup":
        store = self._engine.shard_of(slot_of(run_id))
        found = self._lookups.get(store.shard)
        if found is None or found.store is not store:  # the shard is new, or was opened again
            found = self._lookups[store.shard] = ExistenceLookup(store)
        return found

    async def _bundle_of(self, team: str, message: orchestrator_pb2.SubmitHeader, version_digest: str) -> str | None:
        """The bundle of a version; None when there is none."""
        if not version_digest:
            if message.compile:
                raise InvalidArgument(
                    "To compile on the platform, name a registered version.", "Register it with `mwfs register`."
                )
            return None
        return await self._versions.bundle_of(team, message.workflow, version_digest)


def _let_go(reading: asyncio.Task[None]) -> None:
    """Of a stream that was broken off: a task group that is cancelled is a cycle (its frame knows the error, and the error the frame) and would hold
    what was read until some later collection, a megabyte for each stream when many submissions travel together.
    """
    try:
        reading.exception()
    except asyncio.CancelledError as error:
        traceback.clear_frames(error.__traceback__)


class _Answers:
    """The answers of one stream, in the order in which they become known."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[orchestrator_pb2.SubmissionAnswer | None] = asyncio.Queue()

    def put(self, answer: orchestrator_pb2.SubmissionAnswer) -> None:
        self._queue.put_nowait(answer)

    def end(self) -> None:
        """There will be no more."""
        self._queue.put_nowait(None)

    async def take(self) -> orchestrator_pb2.SubmitRunsResponse | None:
        """All answers that are there, at least one; None after the last."""
        answer = await self._queue.get()
        if answer is None:
            return None
        response = orchestrator_pb2.SubmitRunsResponse(answers=[answer])
        while not self._queue.empty():
            answer = self._queue.get_nowait()
            if answer is None:
                self.end()
                break
            response.answers.append(answer)
        return response


class ExistenceLookup:
    """Asks a shard for many ids at once: those that come while a question is open go into the next."""

    def __init__(self, store: ShardStore) -> None:
        self.store = store
        self._waiting: dict[UUID, list[asyncio.Future[bytes | None]]] = {}
        self._task: asyncio.Task[None] | None = None

    async def find(self, run_id: UUID) -> bytes | None:
        """The digest of the run's submission, or None when there is no such run."""
        future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(run_id, []).append(future)
        if self._task is None:
            self._task = asyncio.create_task(self._ask())
        return await future

    async def _ask(self) -> None:
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, {}
                try:
                    found = await self.store.find_runs(list(waiting))
                except Exception as error:
                    for future in chain.from_iterable(waiting.values()):
                        if not future.done():  # the caller has gone
                            future.set_exception(error)
                    continue
                for run_id, futures in waiting.items():
                    for future in futures:
                        if not future.done():
                            future.set_result(found.get(run_id))
        finally:
            self._task = None


def _check_header(message: orchestrator_pb2.SubmitHeader) -> None:
    check_request_id(message.request_id)
    check_workflow(message.workflow)
    if message.version_digest:
        check_digest(message.version_digest, "version digest")
    check_tags(message.tags)
    options = dag_pb2.RunOptions()
    options.CopyFrom(message.options)
    options.ClearField("child_depth")  # said by another replica, or by this one
    try:
        check_options(options)
    except BadDag as error:
        raise InvalidArgument(f"The options of the run: {error}.") from None
    for name, source in message.input_sources.items():
        if name not in message.inputs or len(source) > MAX_LONG_NAME or not source.isprintable():
            raise InvalidArgument(
                f"The source of input {name[:80]!r} is not a short text about an input that is there."
            )
    if abs(message.priority) > MAX_PRIORITY:
        raise InvalidArgument(f"The priority {message.priority} is not within ±{MAX_PRIORITY:,}.")


def _agreed_bundle(of_version: str | None, of_dag: str) -> str:
    if of_version is not None and of_version != of_dag:
        raise InvalidArgument(
            f"The Dag was compiled from the code bundle {of_dag or 'none'}, the version has {of_version or 'none'}.",
            "Compile again with the version's code.",
        )
    return of_dag


def _compile_job(message: orchestrator_pb2.SubmitHeader, bundle: str, rerun: action_pb2.RerunJob | None) -> bytes:
    job = action_pb2.CompileJob(workflow=message.workflow, bundle_digest=bundle)
    for name, value in message.inputs.items():
        job.inputs[name].CopyFrom(value)
    for name, source in message.input_sources.items():
        job.input_sources[name] = source
    if rerun is not None:
        job.rerun.CopyFrom(rerun)
    return job.SerializeToString(deterministic=True)


def _refused(number: int, error: Exception) -> orchestrator_pb2.SubmissionAnswer:
    known = wire_error(error)
    code = known.code if known is not None else grpc.StatusCode.INTERNAL
    message = known.message if known is not None else "internal error"
    refused = orchestrator_pb2.SubmitRefused(code=code.name, message=message)
    if isinstance(error, Overloaded):
        refused.retry_after_seconds = error.retry_after_s
    return orchestrator_pb2.SubmissionAnswer(submission=number, refused=refused)
