"""A run of the orchestrator without anything around it: decisions in, `Changes` out."""

import itertools
from uuid import UUID

from builders.run_headers import run_header
from mwfs_api.action.v1 import action_pb2
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_orchestrator.active_run import ActiveRun
from mwfs_orchestrator.changes import Changes
from mwfs_orchestrator.graph import Graph
from mwfs_orchestrator.model import Grant


class Life:
    """A run whose first node has been started under the grant `g`, on the host `h`."""

    def __init__(self, dag: dag_pb2.Dag) -> None:
        header = run_header(run_id=UUID(int=7), team="red", workflow=dag.workflow)
        self.run = ActiveRun(header, (f"g{number}" for number in itertools.count()))
        self.accepted = changes = Changes()
        self.run.accept([b"x"], Graph(dag), changes, 1)
        (group,) = changes.demands
        grant = Grant(grant_id="g", group_id=group.group_id, count=1, host="h", epoch=1, valid_until=1e9)
        self.run.attempts.start(group, grant, changes, 1)

    def succeed(self, node: int, now: int = 2) -> Changes:
        changes = Changes()
        key = action_pb2.AttemptKey(run_id=str(self.run.header.run_id), node=node, attempt=self.run.attempt[node])
        output = types_pb2.Value(integer=node).SerializeToString()
        outcome = action_pb2.Outcome(key=key, state=events_pb2.ATTEMPT_STATE_SUCCEEDED, outputs=[output], worker="w")
        self.run.attempts.end(outcome, changes, now)
        return changes
