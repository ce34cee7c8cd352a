"""Times that are left, whatever the wall clock does."""

import pytest

from mwfs_api.action.v1 import action_pb2
from mwfs_api.scheduler.v1 import scheduler_pb2
from mwfs_orchestrator.time_limits import left_until

NOW = 1_800_000_000_000_000
YEAR = 365 * 86_400 * 1_000_000


@pytest.mark.parametrize(
    ("deadline", "seconds"),
    [
        (NOW + 30_000_000, 30.0),
        (NOW, 0.0),
        (NOW - YEAR, 0.0),
        (NOW + YEAR, 30 * 86_400.0),
        (NOW + 100 * YEAR, 30 * 86_400.0),
    ],
)
def test_what_is_left_to_make_room_fits_into_the_messages_after_any_jump(deadline: int, seconds: float) -> None:
    left = left_until(deadline, NOW)
    assert left == seconds
    milliseconds = int(left * 1000)
    assert scheduler_pb2.HeldGrant(leaving_ms=milliseconds).leaving_ms == milliseconds
    assert action_pb2.Notice(grace_ms=milliseconds).grace_ms == milliseconds
