"""What a node is called with, and what came of it: for those who call it again elsewhere."""

from collections.abc import Sequence
from uuid import UUID

from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_api.types.v1 import types_pb2
from mwfs_chassis.errors import FailedPrecondition, NotFound
from mwfs_types.dag_functions import FunctionFailed

from .arguments import arguments_of, unpack_list
from .graph import Graph
from .shard.store import Row, ShardStore
from .states import NodeState


async def node_inputs(
    store: ShardStore, run_id: UUID, graph: Graph | None, node: int, *, bundle_digest: str
) -> pb.GetNodeInputsResponse:
    """From the run's shard, whether it goes on or not. Raises NotFound, FailedPrecondition."""
    if graph is None:
        raise FailedPrecondition(f"The run {run_id} is not compiled yet.", "Watch it until it is RUNNING.")
    if node >= graph.size:
        raise NotFound(
            f"The run {run_id} has no node {node}: its nodes are 0 to {graph.size - 1}.",
            f"List them with `mwfs nodes {run_id}`.",
        )
    needed = graph.dependencies_of(node)
    rows = await store.load_results(run_id, [*needed, node])
    answer = pb.GetNodeInputsResponse(run_id=str(run_id), node=node, bundle_digest=bundle_digest)
    _add_operator(answer, graph, node)
    _add_outcome(answer, rows.get(node))
    _add_arguments(answer, graph, node, {need: _outputs(run_id, node, need, rows.get(need)) for need in needed})
    return answer


def _add_operator(answer: pb.GetNodeInputsResponse, graph: Graph, node: int) -> None:
    operator = graph.operator_of(node)
    answer.operator.CopyFrom(operator)
    types = graph.types_of(node)
    answer.parameter_types.extend(types[parameter.type] for parameter in operator.parameters)
    answer.output_types.extend(types[output.type] for output in operator.outputs)
    answer.file, answer.line = graph.source_of(node)


def _add_outcome(answer: pb.GetNodeInputsResponse, row: Row | None) -> None:
    answer.state = int(NodeState.PENDING) if row is None else row["state"]  # type: ignore[assignment]
    if row is None:
        return
    answer.attempt = row["attempt"]
    if row["state"] == NodeState.SUCCEEDED:
        answer.outputs.extend(types_pb2.ListValue.FromString(row["outputs"]).items)
    if row["failure"] is not None:
        answer.failure.ParseFromString(row["failure"])


def _add_arguments(
    answer: pb.GetNodeInputsResponse, graph: Graph, node: int, outputs: dict[int, Sequence[bytes]]
) -> None:
    try:
        data, pending = arguments_of(graph, node, outputs.__getitem__)
    except FunctionFailed as error:
        raise FailedPrecondition(
            f"Node {node} was never called: putting its arguments together failed with {error}.",
            "Look at the results of the nodes before it.",
        ) from None
    answer.arguments.extend(types_pb2.ListValue.FromString(data).items)
    answer.pending.extend(pending)


def _outputs(run_id: UUID, node: int, need: int, row: Row | None) -> Sequence[bytes]:
    if row is None or row["state"] != NodeState.SUCCEEDED:
        state = NodeState.PENDING if row is None else NodeState(row["state"])
        raise FailedPrecondition(
            f"Node {node} of run {run_id} needs node {need}, which has no result: it is {state.name}.",
            "Take a node whose inputs exist.",
        )
    return unpack_list(row["outputs"])
