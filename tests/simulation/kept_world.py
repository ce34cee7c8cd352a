"""What attempts of a simulated run have kept, as the shard and the object store have it."""

from collections import Counter
from typing import ClassVar

from mwfs_api.events.v1 import events_pb2
from mwfs_orchestrator.active_run import ActiveRun
from mwfs_orchestrator.changes import Changes
from mwfs_orchestrator.states import AttemptState, NodeState


class KeptWorld:
    """Refuses to lose a checkpoint that a node would go on from."""

    #: How attempts that were told to make room have ended, and what became of their nodes then; in all lives.
    ends: ClassVar[set[tuple[AttemptState, NodeState]]] = set()

    def __init__(self) -> None:
        #: As in the shard.
        self.rows: dict[int, bytes | None] = {}
        #: Keys of the object store.
        self.objects: set[str] = set()
        self._numbers: Counter[tuple[int, int]] = Counter()

    def new(self, node: int, attempt: int) -> events_pb2.Checkpoint:
        """An attempt has stored another one."""
        self._numbers[node, attempt] += 1
        number = self._numbers[node, attempt]
        key = f"{node}/{attempt}-{number}"
        self.objects.add(key)
        return events_pb2.Checkpoint(key=key, attempt=attempt, number=number, step=number)

    def commit(self, changes: Changes) -> None:
        for (_run_id, node), data in changes.checkpoints.items():
            self.rows[node] = data
        for key in changes.dropped:
            assert key in self.objects, f"{key} was removed twice, or never there"
            self.objects.remove(key)
        for node, data in self.rows.items():
            if data is not None:
                key = events_pb2.Checkpoint.FromString(data).key
                assert key in self.objects, f"node {node} is to go on from {key}, which was removed"

    def restore(self, run: ActiveRun) -> None:
        """Another process reads the rows."""
        for node, data in self.rows.items():
            if data is not None:
                run.checkpoints.last[node] = events_pb2.Checkpoint.FromString(data)

    def check_launch(self, run: ActiveRun, node: int) -> None:
        """An attempt goes on from the last checkpoint that is committed."""
        last, data = run.checkpoints.last.get(node), self.rows.get(node)
        assert (None if last is None else last.SerializeToString()) == data, f"node {node} goes on from {last}"

    def check_end(self, states: dict[int, NodeState]) -> None:
        """Of nodes that have succeeded nothing is left, of the others at most one."""
        owners = Counter(int(key.partition("/")[0]) for key in self.objects)
        for node, count in owners.items():
            assert states[node] is not NodeState.SUCCEEDED, f"node {node} has succeeded and left checkpoints behind"
            assert count == 1, f"node {node} has {count} checkpoints"
