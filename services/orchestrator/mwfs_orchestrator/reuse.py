"""Results of cached operators: looked for when nodes become ready, kept when they succeed. Many at a time, and never in the way of a commit.

Losing an entry costs a run of the operator, so whatever fails here counts as "not found". A wrong entry must not be: outputs come from committed
outcomes only, keys from the very values that the operator was given, and an entry whose artifacts are gone is not taken.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol

import grpc
from prometheus_client import Counter

from mwfs_api.action.v1 import action_pb2, action_pb2_grpc
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_chassis.channel import open_channel
from mwfs_chassis.clock import Clock
from mwfs_chassis.identity import Identity
from mwfs_chassis.postgres import AWAY
from mwfs_types.cache_keys import key_of, key_parts
from mwfs_types.dag_functions import FunctionFailed

from .active_run import ActiveRun
from .arguments import arguments_of, pack_list
from .catalogue.results import Result, ResultKey, ResultStore
from .host_links import HostLinks

log = logging.getLogger(__name__)

LOOKUPS = Counter("mwfs_orchestrator_result_lookups", "Cached nodes that looked for an earlier result.", ("found",))
_FOUND, _NOT_FOUND = LOOKUPS.labels("yes"), LOOKUPS.labels("no")

#: Outputs that are larger inline are not kept: taking them would cost more than most operators.
MAX_OUTPUT_BYTES: Final = 256 * 1024
_BATCH: Final = 1_000
#: Keys made before other work of the event loop is let in.
_SLICE: Final = 50
_MAX_DIGESTS: Final = 10_000
_TIMEOUT_S: Final = 5.0
_DAY_US: Final = 24 * 3600 * 1_000_000
_TRIM_EVERY_S: Final = 3600.0
_TRIM_PAUSE_S: Final = 1.0
_TRIM_BATCH: Final = 5_000
#: The catalogue or the object store's host cannot be reached, or is too slow.
_AWAY: Final[tuple[type[BaseException], ...]] = (*AWAY, grpc.aio.AioRpcError)

#: A node, and the result that it may take.
Answer = tuple[ActiveRun, int, Result | None]
_Node = tuple[ActiveRun, int]


class Reuser(Protocol):
    """What the cache needs of the engine."""

    def results_found(self, answers: Sequence[Answer]) -> None: ...
    def failed(self, why: str) -> None: ...


class ResultCache:
    """One worker for all that is to be written and looked for, in this order: what a run left is there for the next one."""

    def __init__(
        self, *, store: ResultStore, hosts: HostLinks, identity: Identity, clock: Clock, keep_days: float
    ) -> None:
        self._store = store
        self._hosts = hosts
        self._identity = identity
        self._clock = clock
        self._keep_us = int(keep_days * _DAY_US)
        self._engine: Reuser | None = None
        self._to_keep: list[_Node] = []
        self._to_find: list[_Node] = []
        self._working: asyncio.Task[None] | None = None
        self._trimming: asyncio.Task[None] | None = None

    def serve(self, engine: Reuser) -> None:
        self._engine = engine

    async def start(self) -> None:
        self._trimming = asyncio.create_task(self._trim(), name="trim-results")

    async def stop(self) -> None:
        """Writes what is waiting to be written."""
        self._to_find.clear()
        trimming, self._trimming = self._trimming, None
        if trimming is not None:
            trimming.cancel()
            await asyncio.gather(trimming, return_exceptions=True)
        if self._working is not None:
            await asyncio.gather(self._working, return_exceptions=True)

    def keep(self, nodes: Iterable[_Node]) -> None:
        """These have succeeded, and that is committed."""
        self._to_keep += nodes
        self._work()

    def look_for(self, nodes: Iterable[_Node]) -> None:
        """These are ready; the engine is told what was found."""
        self._to_find += nodes
        self._work()

    async def find(self, keys: Sequence[ResultKey]) -> dict[ResultKey, Result]:
        """Entries that can be taken, those included that are still to be written."""
        if self._working is not None:
            await asyncio.shield(self._working)
        return await self._find(keys)

    async def newest(self, team: str, operator: str, limit: int) -> list[Result]:
        return await self._store.newest(team, operator, limit)

    # The worker.

    def _work(self) -> None:
        if self._working is None:
            self._working = asyncio.create_task(self._until_done(), name="result-cache")

    async def _until_done(self) -> None:
        try:
            while self._to_keep or self._to_find:
                if self._to_keep:
                    nodes, self._to_keep = self._to_keep[:_BATCH], self._to_keep[_BATCH:]
                    await self._keep(nodes)
                else:
                    nodes, self._to_find = self._to_find[:_BATCH], self._to_find[_BATCH:]
                    await self._look_for(nodes)
        except Exception as error:
            log.critical("the result cache met a defect", exc_info=error)
            assert self._engine is not None, "serve() comes before the first node"
            self._engine.failed(f"result cache: {error!r}")
        finally:
            self._working = None

    async def _keep(self, nodes: Sequence[_Node]) -> None:
        now = self._clock.now_us()
        results = []
        async for run, node, key, parts in self._keyed(nodes):
            run.earlier_results.keys.pop(node, None)
            outputs = run.outputs[node]
            if sum(map(len, outputs)) > MAX_OUTPUT_BYTES:
                continue
            graph = run.graph
            assert graph is not None, "only a run with a graph has results"
            operator = graph.operator_of(node)
            results.append(
                Result(
                    team=run.header.team,
                    key=key,
                    operator=f"{operator.module}:{operator.qualname}",
                    parts=parts,
                    outputs=pack_list(outputs),
                    artifacts=sorted({digest for output in outputs for digest in _artifacts_in(output)}),
                    run_id=run.header.run_id,
                    node=node,
                    create_us=now,
                    used_us=now,
                )
            )
        if results:
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    await self._store.keep(results, now)
            except _AWAY as error:
                log.warning("results were not kept", extra={"results": len(results), "error": repr(error)})

    async def _look_for(self, nodes: Sequence[_Node]) -> None:
        wanted: dict[tuple[ActiveRun, int], ResultKey] = {}
        async for run, node, key, parts in self._keyed(nodes):
            run.earlier_results.keys[node] = key, parts
            wanted[run, node] = run.header.team, key
        found: dict[ResultKey, Result] = {}
        if wanted:
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    found = await self._find(list(wanted.values()))
                    await self._mark_used(found)
            except _AWAY as error:
                log.warning("no results could be looked for", extra={"nodes": len(wanted), "error": repr(error)})
        answers = [(run, node, found.get(wanted[run, node]) if (run, node) in wanted else None) for run, node in nodes]
        hits = sum(result is not None for _, _, result in answers)
        _FOUND.inc(hits)
        _NOT_FOUND.inc(len(answers) - hits)
        assert self._engine is not None, "serve() comes before the first node"
        self._engine.results_found(answers)

    async def _find(self, keys: Sequence[ResultKey]) -> dict[ResultKey, Result]:
        """Entries whose artifacts exist; those whose artifacts do not are removed."""
        found = await self._store.find(keys)
        digests = {digest for result in found.values() for digest in result.artifacts}
        if not digests:
            return found
        missing = await self._missing(digests)
        if missing is None:
            return {key: result for key, result in found.items() if not result.artifacts}
        gone = [result for result in found.values() if not missing.isdisjoint(result.artifacts)]
        if gone:
            await self._store.forget(gone)
            for result in gone:
                del found[result.team, result.key]
        return found

    async def _mark_used(self, found: Mapping[ResultKey, Result]) -> None:
        """To the day, so that taking a result is rarely a write."""
        now = self._clock.now_us()
        stale = [key for key, result in found.items() if result.used_us < now - _DAY_US]
        if stale:
            await self._store.use(stale, now)

    async def _keyed(self, nodes: Sequence[_Node]) -> AsyncIterator[tuple[ActiveRun, int, str, dict[str, str]]]:
        """The nodes that have a key, with it."""
        for count, (run, node) in enumerate(nodes):
            if count % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            known = run.earlier_results.keys.get(node) or key_of_node(run, node)
            if known is not None:
                yield run, node, known[0], known[1]

    async def _missing(self, digests: set[str]) -> set[str] | None:
        """Those that the object store does not have; None when there is nobody to ask."""
        address = await self._hosts.any_address(0.0)
        if not address:
            return None
        missing: set[str] = set()
        asked = sorted(digests)
        async with open_channel(address) as channel:
            stub = action_pb2_grpc.ArtifactServiceStub(channel)
            for first in range(0, len(asked), _MAX_DIGESTS):
                request = action_pb2.FindMissingRequest(digests=asked[first : first + _MAX_DIGESTS])
                answer = await stub.FindMissing(request, metadata=self._identity.metadata, timeout=_TIMEOUT_S)
                missing.update(answer.digests)
        return missing

    async def _trim(self) -> None:
        """Removes what nobody has taken for long, a little at a time."""
        while True:
            pause = _TRIM_EVERY_S
            try:
                if await self._store.trim(self._clock.now_us() - self._keep_us, _TRIM_BATCH) == _TRIM_BATCH:
                    pause = _TRIM_PAUSE_S
            except _AWAY as error:
                log.warning("old results were not removed", extra={"error": repr(error)})
            await asyncio.sleep(pause)


def key_of_node(run: ActiveRun, node: int) -> tuple[str, dict[str, str]] | None:
    """The key of the node's result and what it is made of; None when the arguments are not all known here."""
    graph = run.graph
    assert graph is not None, "only a run with a graph has nodes with arguments"
    try:
        data, pending = arguments_of(graph, node, run.outputs.__getitem__)
    except FunctionFailed:
        return None
    operator = graph.operator_of(node)
    if pending or not operator.code_digest:
        return None
    parts = key_parts(operator, graph.types_of(node), types_pb2.ListValue.FromString(data).items)
    return key_of(parts), parts


def origin_of(result: Result) -> events_pb2.ResultOrigin:
    return events_pb2.ResultOrigin(run_id=str(result.run_id), node=result.node)


def _artifacts_in(data: bytes) -> Iterator[str]:
    """Digests of the artifacts in a serialised Value."""
    stack = [types_pb2.Value.FromString(data)]
    while stack:
        value = stack.pop()
        match value.WhichOneof("kind"):
            case "artifact":
                yield value.artifact.digest
            case "list":
                stack.extend(value.list.items)
            case "map":
                stack.extend(value.map.values)
            case "record":
                stack.extend(value.record.fields)
