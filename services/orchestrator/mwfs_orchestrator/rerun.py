"""Results that a new run takes from an earlier one because its user asked for it: found, and believed only when they fit.

Which they are is decided by a client that has compiled the new Dag, or by the worker that has; both have the same code for it, and neither is believed.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

import grpc
from google.protobuf.message import DecodeError

from mwfs_api.action.v1 import action_pb2
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_chassis.errors import FailedPrecondition, InvalidArgument, NotFound, ServiceError, Unavailable
from mwfs_chassis.postgres import AWAY
from mwfs_types.dag_check import BadDag
from mwfs_types.limits import MAX_LONG_NAME

from .compiling import CompiledDags
from .contents import Contents
from .graph import Graph
from .model import RunHeader, Taken, TakenResults, slot_of
from .names import id_range
from .retention.model import is_archived
from .shard.store import Row, ShardStore
from .states import RUN_ENDED, NodeState, RunState

#: Nodes and operators that a rerun may be told to start from.
MAX_STARTS: Final = 1_000
#: The shard of the base run cannot be reached.
_AWAY: Final[tuple[type[BaseException], ...]] = (*AWAY, Unavailable)
_TAKEN: Final = int(events_pb2.RERUN_REASON_TAKEN)
_NEEDS: Final = int(events_pb2.RERUN_REASON_NEEDS_NODE)
_NOT_SUCCEEDED: Final = int(events_pb2.RERUN_REASON_NOT_SUCCEEDED)


class Reruns:
    """Finds what runs take from earlier ones."""

    def __init__(self, *, shard_of: Callable[[int], ShardStore], compiled: CompiledDags, contents: Contents) -> None:
        self._shard_of = shard_of
        self._compiled = compiled
        self._contents = contents

    # Planned by the client.

    async def taken(self, base: pb.BaseRun, graph: Graph, team: str) -> TakenResults:
        """What the nodes of a new run's graph take from their base. Raises InvalidArgument, FailedPrecondition, NotFound."""
        if base.start:
            raise InvalidArgument("`base.start` is for runs that the platform compiles; this one came with its Dag.")
        run_id = base_id(base)
        _check_columns(base, graph)
        if base.HasField("why"):
            _check_reasons(base, graph)
        store = self._shard_of(slot_of(run_id))
        await _row_of(store, run_id, team)
        before = await self._graph_of(store, run_id)
        nodes = await _taken_results(store, run_id, before, base, graph)
        return TakenResults(nodes=nodes, why=base.why if base.HasField("why") else None)

    async def _graph_of(self, store: ShardStore, run_id: UUID) -> Graph:
        chunks = await store.load_dag(run_id)
        if not chunks:
            raise FailedPrecondition(
                f"The run {run_id} was never compiled, so it has no results.", "Submit without a base."
            )
        return await self._compiled.graph_of(b"".join(chunks))

    # Planned by the worker that compiles.

    async def version_of(self, base: pb.BaseRun, workflow: str, team: str, asked: str) -> str:
        """The version that a run of the platform is compiled from: the one that was asked for, or that of the run which it repeats.

        Raises InvalidArgument, FailedPrecondition, NotFound.
        """
        run_id = base_id(base)
        if base.node or base.base_node or base.HasField("why"):
            raise InvalidArgument(
                "What is taken from a base run is said by node of a Dag, and this submission has none.",
                "Leave it out: the platform takes whatever is unaffected, but for `base.start`.",
            )
        _check_starts(base.start)
        row = await _row_of(self._shard_of(slot_of(run_id)), run_id, team)
        if row["workflow"] != workflow:
            raise InvalidArgument(f"The run {run_id} is of the workflow {row['workflow']}, not {workflow}.")
        if RunState(row["state"]) not in RUN_ENDED:
            raise FailedPrecondition(
                f"The run {run_id} is {RunState(row['state']).name}: what can be taken from it is not known before its end.",
                "Wait for its end, or cancel it.",
            )
        return asked or str(row["version_digest"])

    async def job_of(self, base: pb.BaseRun) -> action_pb2.RerunJob:
        """What the worker needs. Raises InvalidArgument, FailedPrecondition, Unavailable, ResourceExhausted."""
        run_id = base_id(base)
        store = self._shard_of(slot_of(run_id))
        before = await self._graph_of(store, run_id)
        for one in base.start:
            if one.isdecimal() and int(one) >= before.size:
                raise InvalidArgument(
                    f"The run {run_id} was compiled with {before.size:,} nodes, so it has no node {one} to start from.",
                    "Nodes that were made while it ran are parts of the control node that made them: name that one.",
                )
        states = await store.load_node_states(run_id, before.size)
        data = await asyncio.to_thread(_serialised, before.dag, states)
        job = action_pb2.RerunJob(base_run_id=str(run_id), start=base.start)
        job.base.CopyFrom(await self._contents.keep_bytes(data, "base.pb"))
        return job

    async def planned(
        self, address: str, header: RunHeader, outcome: action_pb2.Outcome, graph: Graph
    ) -> TakenResults | events_pb2.Failure | None:
        """What the worker that compiled a run says that it takes, once that is believed; None for a run that repeats no other."""
        job = action_pb2.CompileJob.FromString(header.compile_job or b"").rerun
        if not job.base_run_id:
            return None
        try:
            why = await self._compiled.fetch_rerun(address, outcome)
            if why.base_run_id != job.base_run_id:
                raise BadDag("it is about another run")
            if not len(why.reason) == len(why.about) == graph.size:
                raise BadDag(f"it has {len(why.reason):,} reasons for {graph.size:,} nodes")
            nodes = [node for node, reason in enumerate(why.reason) if reason == _TAKEN]
            base = pb.BaseRun(
                run_id=job.base_run_id, node=nodes, base_node=[why.about[node] for node in nodes], why=why
            )
            return await self.taken(base, graph, header.team)
        except (DecodeError, BadDag) as error:
            return _failed("BadRerun", f"What the compiler says of the run {job.base_run_id} is not valid: {error}")
        except _AWAY as error:
            lost = _failed("BaseRunAway", f"The run {job.base_run_id} could not be read: {error}", "It is tried again.")
            lost.kind = events_pb2.FAILURE_KIND_LOST
            return lost
        except ServiceError as error:
            return _failed(type(error).__name__, error.message, error.next_step)
        except grpc.aio.AioRpcError as error:
            return _failed(
                "ArtifactMissing", f"What the compiler says of the base run could not be fetched: {error.details()}"
            )


def base_id(base: pb.BaseRun) -> UUID:
    """Raises InvalidArgument."""
    first, last = id_range(base.run_id)
    if first != last:
        raise InvalidArgument("The base run must be named by its whole id.", "`mwfs runs show` gives it.")
    return first


async def _row_of(store: ShardStore, run_id: UUID, team: str) -> Row:
    """Raises NotFound, and FailedPrecondition for a run in the archive."""
    row = await store.get_run(run_id)
    if row is None and await store.was_removed(run_id, team):
        raise is_archived(run_id)
    if row is None or row["team"] != team:
        raise NotFound(f"Team {team} has no run {run_id}.", "List its runs with `mwfs runs list`.")
    return row


async def _taken_results(
    store: ShardStore, run_id: UUID, before: Graph, base: pb.BaseRun, graph: Graph
) -> dict[int, Taken]:
    rows = await store.load_results(run_id, list(base.base_node))
    taken: dict[int, Taken] = {}
    for node, base_node in zip(base.node, base.base_node, strict=True):
        if base_node >= before.size:
            raise InvalidArgument(
                f"The base run was compiled with {before.size:,} nodes; there is no node {base_node}."
            )
        found = rows.get(base_node)
        if found is None or found["state"] != NodeState.SUCCEEDED:
            raise FailedPrecondition(
                f"Node {base_node} of run {run_id} has not succeeded, so node {node} cannot take its result.",
                "Plan the rerun again.",
            )
        if _outputs(graph, node) != _outputs(before, base_node):
            raise InvalidArgument(f"Node {node} has other outputs than node {base_node} of run {run_id}.")
        missing = next((need for need in graph.dependencies_of(node) if need not in taken), None)
        if missing is not None:
            raise InvalidArgument(
                f"Node {node} takes its result from the base run, but needs node {missing}, which does not."
            )
        origin = events_pb2.ResultOrigin(run_id=str(run_id), node=base_node)
        if found["origin"]:
            # It was taken itself: say who has computed it.
            origin = events_pb2.ResultOrigin.FromString(found["origin"])
        taken[node] = Taken(outputs=found["outputs"], origin=origin)
    return taken


def _check_columns(base: pb.BaseRun, graph: Graph) -> None:
    if len(base.node) != len(base.base_node):
        raise InvalidArgument(f"`base` names {len(base.node):,} nodes and {len(base.base_node):,} of the base run.")
    previous = -1
    for node in base.node:
        if not previous < node < graph.size:
            raise InvalidArgument(f"`base.node` is ascending and below {graph.size:,}; found {node} after {previous}.")
        previous = node


def _check_reasons(base: pb.BaseRun, graph: Graph) -> None:
    """Raises InvalidArgument unless each node has a reason, and those that are taken are those that `base` names."""
    why = base.why
    if why.base_run_id != base.run_id or not len(why.reason) == len(why.about) == graph.size:
        raise InvalidArgument(f"`base.why` is about the base run and has a row for each of the {graph.size:,} nodes.")
    reasons, states = (
        events_pb2.RerunReason.DESCRIPTOR.values_by_number,
        events_pb2.NodeState.DESCRIPTOR.values_by_number,
    )
    for reason, about in set(zip(why.reason, why.about, strict=True)):
        bounds = {_NEEDS: range(graph.size), _NOT_SUCCEEDED: states}.get(reason)
        if not reason or reason not in reasons or (bounds is not None and about not in bounds):
            raise InvalidArgument(f"`base.why` has the reason {reason} about {about}, which is none.")
    taken = [(node, why.about[node]) for node, reason in enumerate(why.reason) if reason == _TAKEN]
    if taken != list(zip(base.node, base.base_node, strict=True)):
        raise InvalidArgument("`base.why` takes other nodes than `base` names.")


def _check_starts(starts: Sequence[str]) -> None:
    if len(starts) > MAX_STARTS or any(not one.isprintable() or not 0 < len(one) <= MAX_LONG_NAME for one in starts):
        raise InvalidArgument(
            f"`base.start` is up to {MAX_STARTS:,} nodes and operators, each of 1 to {MAX_LONG_NAME} printable characters."
        )


def _serialised(dag: dag_pb2.Dag, states: bytes) -> bytes:
    return action_pb2.RerunBase(dag=dag, node_state=states).SerializeToString()


def _outputs(graph: Graph, node: int) -> list[tuple[str, bytes]]:
    types = graph.types_of(node)
    outputs: Sequence[dag_pb2.Output] = graph.operator_of(node).outputs
    return [(output.name, types[output.type].SerializeToString(deterministic=True)) for output in outputs]


def _failed(error_type: str, message: str, next_step: str = "Submit the run again.") -> events_pb2.Failure:
    return events_pb2.Failure(
        kind=events_pb2.FAILURE_KIND_COMPILE, error_type=error_type, message=message, next_step=next_step, node=-1
    )
