"""What replicas say of their nodes reaches the engine."""

import pytest

from mwfs_api.scheduler.v1 import scheduler_pb2
from mwfs_scheduler.wire import held_from, new_group_from


@pytest.mark.parametrize("pinned", [False, True])
def test_whether_nodes_may_be_asked_to_leave(pinned: bool) -> None:
    demand = scheduler_pb2.Demand(group_id="g", team="t", run_id="r", add=1, not_preemptible=pinned)
    assert new_group_from(demand).preemptible is not pinned
    (held,) = held_from([scheduler_pb2.HeldGrant(grant_id="1", team="t", host="h", count=1, not_preemptible=pinned)])
    assert held.preemptible is not pinned


def test_the_age_and_priority_of_what_a_replica_holds() -> None:
    (held,) = held_from([scheduler_pb2.HeldGrant(grant_id="1", team="t", host="h", count=2, priority=-3, age_s=70)])
    assert (held.priority, held.age_s, held.count) == (-3, 70, 2)
