"""The children of a run, as other shards have them: submitted under their id however often they are sent, ended once."""

import random
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import mwfs
from mwfs.local_run import run_dag
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_orchestrator.active_run import ActiveRun
from mwfs_orchestrator.changes import Changes
from mwfs_orchestrator.child_runs import ChildEnd
from mwfs_types.child_runs import OUTPUT, failed_child
from mwfs_types.dag_check import check_dag


@dataclass(slots=True, kw_only=True)
class Child:
    """One row of `children`, and the run that it is the command for."""

    node: int
    round: int
    dag: bytes
    submitted: int = 0
    cancelled: bool = False
    end: ChildEnd | None = None


class Children:
    """The table, and what becomes of its rows. What the orchestrator's own memory knows of them goes with a crash."""

    def __init__(self, dice: random.Random, files: Any) -> None:
        self._dice = dice
        self._files = files
        self.all: dict[UUID, Child] = {}
        #: Children to be seen through, and those that nobody needs any more, as memory has them.
        self.started: dict[UUID, bool] = {}
        self.unwanted: set[UUID] = set()

    def commit(self, changes: Changes) -> None:
        for _run, node, round_, child, data in changes.children:
            assert child not in self.all, "two commands for one child"
            check_dag(dag_pb2.Dag.FromString(data))
            self.all[child] = Child(node=node, round=round_, dag=data)
        for _run, _node, child, fresh in changes.child_starts:
            assert child in self.all, "a child without its command"
            assert child not in self.started, "a child is seen through twice"
            assert not fresh or not self.all[child].submitted
            self.started[child] = fresh
        for run, node, _skip in changes.child_stops:
            child = run.child_runs.going_on.get(node)
            assert child is None or child in self.started
            if child is not None:
                self.unwanted.add(child)

    def forget(self) -> None:
        """A crash."""
        self.started.clear()
        self.unwanted.clear()

    def step(self, run: ActiveRun) -> tuple[int, UUID, ChildEnd] | None:
        """Something happens to one of them; what the run is then told."""
        child = self._dice.choice(sorted(self.started))
        known = self.all[child]
        if child in self.unwanted and self.started[child] and not known.submitted:
            known.end = ChildEnd()  # nobody ever sent it
        elif not known.submitted or (not self.started[child] and self._dice.random() < 0.2):
            known.submitted += 1  # again, after a restart: the run is there already
            return None
        elif child in self.unwanted and not known.cancelled and known.end is None:
            known.cancelled = True
            return None
        elif known.end is None:
            known.end = ChildEnd() if known.cancelled and self._dice.random() < 0.8 else self._run(child, known)
            if self._dice.random() < 0.5:
                return None
        return known.node, child, known.end

    def _run(self, child: UUID, known: Child) -> ChildEnd:
        try:
            found = run_dag(mwfs.Dag(dag_pb2.Dag.FromString(known.dag)), self._files)
        except mwfs.RunFailed as error:
            return ChildEnd(failure=failed_child(str(child), error.failure or events_pb2.Failure()))
        return ChildEnd(value=found[OUTPUT])

    def check_end(self, round: int) -> None:
        """The run has ended: so have all its children."""
        open_ones = [child for child, known in self.all.items() if known.submitted and known.end is None]
        assert not open_ones, "the run ended before its children"
        assert not [known for known in self.all.values() if known.round == round and known.end is None]
