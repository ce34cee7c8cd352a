"""Results that a new run takes from an earlier one because its user asked for it: found, and believed only when they fit."""

from collections.abc import Sequence
from uuid import UUID

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_chassis.errors import FailedPrecondition, InvalidArgument, NotFound

from .compiling import CompiledDags
from .graph import Graph
from .model import Taken
from .names import id_range
from .retention.model import is_archived
from .shard.store import ShardStore
from .states import NodeState


def base_id(base: pb.BaseRun) -> UUID:
    """Raises InvalidArgument."""
    first, last = id_range(base.run_id)
    if first != last:
        raise InvalidArgument("The base run must be named by its whole id.", "`mwfs runs show` gives it.")
    return first


async def taken_results(
    base: pb.BaseRun, graph: Graph, *, team: str, store: ShardStore, compiled: CompiledDags
) -> dict[int, Taken]:
    """What the nodes of a new run's graph take from their base. Raises InvalidArgument, FailedPrecondition, NotFound."""
    run_id = base_id(base)
    _check_columns(base, graph)
    row = await store.get_run(run_id)
    if row is None and await store.was_removed(run_id, team):
        raise is_archived(run_id)
    if row is None or row["team"] != team:
        raise NotFound(f"Team {team} has no run {run_id}.", "List its runs with `mwfs runs list`.")
    chunks = await store.load_dag(run_id)
    if not chunks:
        raise FailedPrecondition(
            f"The run {run_id} was never compiled, so it has no results.", "Submit without a base."
        )
    before = await compiled.graph_of(b"".join(chunks))
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


def _outputs(graph: Graph, node: int) -> list[tuple[str, bytes]]:
    types = graph.types_of(node)
    outputs: Sequence[dag_pb2.Output] = graph.operator_of(node).outputs
    return [(output.name, types[output.type].SerializeToString(deterministic=True)) for output in outputs]
