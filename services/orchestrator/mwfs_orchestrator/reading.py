"""Runs, nodes and outputs for those who ask: from memory while a run goes on, from its shard afterwards."""

import asyncio
import base64
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Final
from uuid import UUID

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_chassis.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable

from .active_run import ActiveRun
from .compiling import CompiledDags
from .engine import Engine
from .event_watch import watch_events
from .finding import Finding
from .graph import COMPILE_NODE, Graph
from .host_links import HostLinks
from .model import slot_of
from .node_inputs import node_inputs
from .retention.archived_runs import ArchivedRuns
from .run_filter import RunFilter
from .shard.store import Row, ShardStore
from .sharding.model import ShardMap
from .states import RUN_ENDED, NodeState, RunState
from .waits import SentSignal
from .watchers import Watchers
from .wire import node_of, run_of_active, run_of_row

#: A list is made anew so often when the slot map changes meanwhile.
_MAX_LISTS: Final = 5
_FIRST_ID: Final = UUID(int=0)
#: Graphs of ended runs that are kept for the next page.
_KEPT_GRAPHS: Final = 4


class Reading(Finding):
    """Answers about runs. Also the door to cancelling and reviving, which begin with finding the run."""

    def __init__(self, *, engine: Engine, hosts: HostLinks, compiled: CompiledDags, archived: ArchivedRuns) -> None:
        super().__init__(engine, archived)
        self._hosts = hosts
        self._compiled = compiled
        self._graphs: OrderedDict[UUID, Graph] = OrderedDict()

    @property
    def watchers(self) -> Watchers:
        return self._engine.watchers

    def check_ownership(self, run_ids: Iterable[UUID]) -> None:
        """Raises NotOwner unless all these runs are here."""
        for run_id in run_ids:
            self._engine.check_ownership(slot_of(run_id))

    async def runs_of(self, run_ids: Sequence[UUID]) -> list[pb.Run]:
        """The present state of runs that exist."""
        runs = []
        stored: dict[int, list[UUID]] = {}
        for run_id in run_ids:
            active = self._engine.runs.get(run_id)
            if active is not None:
                runs.append(run_of_active(active))
            else:
                stored.setdefault(self._store(run_id).shard, []).append(run_id)
        for shard, ids in stored.items():
            runs += [run_of_row(row) for row in await self._engine.shards.stores[shard].get_runs(ids)]
        return runs

    async def run(self, run_id: UUID) -> pb.Run:
        active = self._engine.runs.get(run_id)
        return run_of_active(active) if active is not None else run_of_row(await self._row(run_id))

    async def _row(self, run_id: UUID) -> Row:
        row = await self._store(run_id).get_run(run_id)
        if row is None:
            raise NotFound(f"There is no run {run_id}.", "List runs with `mwfs runs list`.")
        return row

    async def archived_runs(self, wanted: RunFilter, size: int, token: str) -> tuple[list[pb.Run], str]:
        """A page of runs that are archived, newest first, and the token of the next."""
        runs, last = await self.archived.list(wanted, _place(wanted, token), size)
        return runs, _write_token(*last) if last is not None else ""

    async def runs(self, wanted: RunFilter, size: int, token: str) -> tuple[list[pb.Run], str]:
        """A page of runs, newest first, and the token of the next."""
        before = _place(wanted, token)
        for _ in range(_MAX_LISTS):
            map_ = self._engine.shards.map
            stores = list(self._engine.shards.stores.values())
            pages = await asyncio.gather(*(_runs_here(map_, store, wanted, before, size + 1) for store in stores))
            if self._engine.shards.map.version == map_.version:
                break  # else slots have moved, and the same runs were perhaps looked for where they are no more
        rows = sorted(
            (row for page in pages for row in page), key=lambda row: (row["create_us"], row["run_id"]), reverse=True
        )
        runs = []
        for row in rows[:size]:
            active = self._engine.runs.get(row["run_id"])
            runs.append(run_of_active(active) if active is not None else run_of_row(row))
        last = rows[size - 1] if len(rows) > size else None
        return runs, _write_token(last["create_us"], last["run_id"]) if last is not None else ""

    def events(self, run_id: UUID, first: int, *, follow: bool) -> AsyncGenerator[list[events_pb2.RunEvents], None]:
        """The run's events from a number on, as they are committed."""
        return watch_events(self._engine, run_id, first, follow=follow)

    def active(self, run_id: UUID, running_nodes: int) -> tuple[pb.Run | None, list[pb.Node]]:
        """A run that goes on, with some of the nodes that run; None when it has ended."""
        run = self._engine.runs.get(run_id)
        if run is None:
            return None, []
        nodes = []
        if run.graph is not None:
            for node, way in list(run.in_flight.items())[:running_nodes]:
                if node != COMPILE_NODE:
                    message = pb.Node(node=node, state=run.node_state[node], attempt=way.attempt, host=way.host)  # type: ignore[arg-type]
                    operator = run.graph.operator_of(node)
                    message.operator = f"{operator.module}:{operator.qualname}"
                    nodes.append(message)
        return run_of_active(run), nodes

    async def nodes(
        self, run_id: UUID, size: int, token: str, states: list[int], first: int = 0
    ) -> tuple[list[pb.Node], str]:
        """A page of nodes by index, and the token of the next."""
        if token and not token.isdecimal():
            raise InvalidArgument("The page token is malformed.", "Use the token of the page before.")
        first = int(token[:10] or first)
        active = self._engine.runs.get(run_id)
        graph = active.graph if active is not None else await self.graph_of(run_id)
        if graph is None:
            return [], ""
        found: list[pb.Node] = []
        while first < graph.size and len(found) < size:
            end = min(graph.size, first + size)
            rows = await self._store(run_id).list_nodes(run_id, first, end)
            children = await self._store(run_id).list_children(run_id, first, end) if graph.starts_children else {}
            for node in range(first, end):
                row = rows.get(node)
                if active is not None:
                    state = int(active.node_state[node])
                else:
                    state = int(row["state"]) if row is not None else int(NodeState.PENDING)
                if not states or state in states:
                    address = self._hosts.address_of(row["host"]) if row is not None else ""
                    found.append(node_of(graph, node, state, row, address, children.get(node)))
                    if active is not None and state == NodeState.READY:
                        found[-1].waiting_group = active.ready.group_of(node)
                    if len(found) == size:
                        end = node + 1
                        break
            first = end
        return found, str(first) if first < graph.size else ""

    async def node_inputs(self, run_id: UUID, node: int) -> pb.GetNodeInputsResponse:
        active = self._engine.runs.get(run_id)
        if active is not None:
            graph, bundle_digest = active.graph, active.header.bundle_digest
        else:
            graph, bundle_digest = await self.graph_of(run_id), (await self._row(run_id))["bundle_digest"]
        return await node_inputs(self._store(run_id), run_id, graph, node, bundle_digest=bundle_digest)

    async def sent_signals(self, run_id: UUID) -> list[SentSignal]:
        """The signals that were sent into the run, and are committed."""
        return await self._store(run_id).load_signals(run_id)

    async def graph_of(self, run_id: UUID) -> Graph | None:
        graph = self._graphs.get(run_id)
        if graph is None:
            chunks = await self.dag(run_id)
            if not chunks:
                return None
            graph = await self._compiled.graph_of(b"".join(chunks))
            for patch in await self._store(run_id).load_patches(run_id):
                graph.append(dag_pb2.DagPatch.FromString(patch["data"]).dag)
            self._graphs[run_id] = graph
            if len(self._graphs) > _KEPT_GRAPHS:
                self._graphs.popitem(last=False)
        return graph

    async def dag(self, run_id: UUID) -> list[bytes]:
        return await self._store(run_id).load_dag(run_id)

    async def outputs(self, run_id: UUID) -> pb.GetOutputsResponse:
        row = await self._row(run_id)
        if row["outputs"] is None:
            raise FailedPrecondition(
                f"The run {run_id} has no outputs: it is {RunState(row['state']).name}.",
                "Only a run that has succeeded has outputs.",
            )
        return pb.GetOutputsResponse.FromString(row["outputs"])

    async def cancel(self, run_id: UUID, *, skip_cleanups: bool = False) -> None:
        active = await self.going(run_id)
        if active is not None:
            await self._engine.cancel(active, skip_cleanups=skip_cleanups)

    async def pause(self, run_id: UUID) -> None:
        """Raises FailedPrecondition when the run is being cancelled or has ended."""
        await self._engine.pause(await self._pausable(run_id))

    async def resume(self, run_id: UUID) -> None:
        """Raises FailedPrecondition when the run is being cancelled or has ended."""
        await self._engine.resume(await self._pausable(run_id))

    async def going(self, run_id: UUID) -> ActiveRun | None:
        """The run, if it has not ended. Raises Unavailable when it is on its way to another owner: a wish must not be lost."""
        active = self._engine.runs.get(run_id)
        if active is not None:
            return active
        state = RunState((await self._row(run_id))["state"])
        active = self._engine.runs.get(run_id)  # it may have been taken up meanwhile
        if active is None and state not in RUN_ENDED:
            raise Unavailable(f"The run {run_id} is being taken up after a restart.", "Try again in a moment.")
        return active

    async def _pausable(self, run_id: UUID) -> ActiveRun:
        active = await self.going(run_id)
        if active is None or active.ended or active.state is RunState.CANCELLING:
            what = "has ended" if active is None or active.ended else "is being cancelled"
            raise FailedPrecondition(
                f"The run {run_id} {what}.",
                "Only a run that goes on can be paused; `mwfs runs retry` revives one that failed.",
            )
        return active

    async def revive(self, run_id: UUID, request_id: str) -> None:
        """Raises FailedPrecondition when the run goes on or has succeeded."""
        row = await self._row(run_id)
        if request_id and row["round_request"] == request_id:
            return
        state = RunState(row["state"])
        if run_id in self._engine.runs or state not in RUN_ENDED:
            raise FailedPrecondition(f"The run {run_id} still goes on.", "Wait for its end, or cancel it first.")
        if state is RunState.SUCCEEDED:
            raise FailedPrecondition(
                f"The run {run_id} has succeeded: there is nothing to try again.", "Submit a new run."
            )
        self._graphs.pop(run_id, None)
        await self._engine.revive(row, request_id)


async def _runs_here(
    map_: ShardMap, store: ShardStore, wanted: RunFilter, before: tuple[int, UUID], limit: int
) -> list[Row]:
    """The newest of the shard's own runs: what is being copied to it, or is left of what has moved, is not its own."""
    found: list[Row] = []
    while True:
        page = await store.list_runs(wanted, before, limit)
        found += [row for row in page if map_.shard_of_slot[slot_of(row["run_id"])] == store.shard]
        if len(page) < limit or len(found) >= limit:
            return found[:limit]
        before = (page[-1]["create_us"], page[-1]["run_id"])


def _place(wanted: RunFilter, token: str) -> tuple[int, UUID]:
    """Where a page begins. Raises InvalidArgument."""
    before = (wanted.created_before_us, _FIRST_ID)
    return min(before, _read_token(token)) if token else before


def _write_token(create_us: int, run_id: UUID) -> str:
    return base64.urlsafe_b64encode(create_us.to_bytes(8, "big") + run_id.bytes).decode()


def _read_token(token: str) -> tuple[int, UUID]:
    try:
        data = base64.urlsafe_b64decode(token[:64].encode())
        return int.from_bytes(data[:8], "big", signed=True), UUID(bytes=data[8:])
    except ValueError as error:
        raise InvalidArgument("The page token is malformed.", "Use the token of the page before.") from error
