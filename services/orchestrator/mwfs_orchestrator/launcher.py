"""What an action service must be told to run an attempt: the operator's specification once a stream, then the arguments."""

from mwfs_api.action.v1 import action_pb2

from .active_run import ActiveRun
from .arguments import arguments_of
from .graph import COMPILE_NODE, Graph
from .model import StartedAttempt
from .ready_nodes import COMPILE_RESOURCES


class OperatorSpecs:
    """Equal specifications have one id, whichever run they come from."""

    def __init__(self) -> None:
        self._ids: dict[bytes, int] = {}
        self._specs: list[action_pb2.OperatorSpec] = []

    def id_of(self, run: ActiveRun, row: int) -> int:
        """The id of an operator of the run's Dag, from 1."""
        assert run.graph is not None
        known, key = run.graph.spec_ids, (row, run.header.bundle_digest)
        found = known.get(key)
        if found is None:
            found = known[key] = self._intern(run.graph, row, run.header.bundle_digest)
        return found

    def __getitem__(self, spec_id: int) -> action_pb2.OperatorSpec:
        return self._specs[spec_id - 1]

    def _intern(self, graph: Graph, row: int, bundle_digest: str) -> int:
        operator, types = graph.operators[row], graph.operator_types[row]
        spec = action_pb2.OperatorSpec(
            bundle_digest=bundle_digest,
            operator=operator,
            parameter_types=[types[parameter.type] for parameter in operator.parameters],
            output_types=[types[output.type] for output in operator.outputs],
        )
        key = spec.SerializeToString(deterministic=True)
        found = self._ids.get(key)
        if found is None:
            self._specs.append(spec)
            found = self._ids[key] = spec.id = len(self._specs)
        return found


def launch_of(started: StartedAttempt, specs: OperatorSpecs, owner_epoch: int, grant_epoch: int) -> action_pb2.Launch:
    """The launch of a committed attempt, by the owner of its slot. Raises FunctionFailed."""
    run, node, way = started.run, started.node, started.in_flight
    launch = action_pb2.Launch(
        key=action_pb2.AttemptKey(run_id=run.header.run_text, node=node, attempt=way.attempt),
        grant_id=way.grant_id,
        grant_epoch=grant_epoch,
        team=run.header.team,
        resources=way.resources,
        owner_epoch=owner_epoch,
    )
    if node == COMPILE_NODE:
        launch.compile.ParseFromString(run.header.compile_job or b"")
        launch.resources.CopyFrom(COMPILE_RESOURCES)
        return launch
    graph = run.graph
    assert graph is not None
    launch.operator = specs.id_of(run, graph.node_operator[node])
    launch.arguments, pending = arguments_of(graph, node, run.outputs.__getitem__)
    if pending:
        launch.pending.extend(pending)
    if run.checkpoints.last and node in run.checkpoints.last:
        launch.resume_from.CopyFrom(run.checkpoints.last[node])
    return launch
