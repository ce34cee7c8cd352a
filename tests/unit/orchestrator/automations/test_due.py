"""Which occasions fire when the platform looks late: the catch-up policies."""

import pytest

from mwfs_api.orchestrator.v1 import automations_pb2 as pb
from mwfs_orchestrator.automations.due import GRACE_US, MAX_AT_ONCE, due

MINUTE = 60_000_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
ALL, LATEST, NONE = pb.CATCH_UP_ALL, pb.CATCH_UP_LATEST, pb.CATCH_UP_NONE


def every(period: int, last: int | None = None):
    """Moments at the multiples of a period, up to the last."""

    def after(moment: int) -> int | None:
        found = (moment // period + 1) * period
        return None if last is not None and found > last else found

    return after


@pytest.mark.parametrize("policy", [ALL, LATEST, NONE, pb.CATCH_UP_UNSPECIFIED])
def test_nothing_fires_before_its_time(policy):
    found = due(every(HOUR), 5 * HOUR, 5 * HOUR - 1, policy)
    assert (found.fire, found.skipped, found.next_us) == ([], 0, 5 * HOUR)


@pytest.mark.parametrize("policy", [ALL, LATEST, NONE, pb.CATCH_UP_UNSPECIFIED])
@pytest.mark.parametrize("late", [0, GRACE_US - 1])
def test_what_is_on_time_fires_whatever_the_policy(policy, late):
    found = due(every(HOUR), 5 * HOUR, 5 * HOUR + late, policy)
    assert (found.fire, found.skipped, found.next_us) == ([5 * HOUR], 0, 6 * HOUR)


def test_all_fires_every_missed_occasion():
    found = due(every(HOUR), 5 * HOUR, 8 * HOUR + 10 * MINUTE, ALL)
    assert (found.fire, found.skipped, found.next_us) == ([5 * HOUR, 6 * HOUR, 7 * HOUR, 8 * HOUR], 0, 9 * HOUR)


def test_latest_fires_the_last_missed_occasion():
    found = due(every(HOUR), 5 * HOUR, 8 * HOUR + 10 * MINUTE, LATEST)
    assert (found.fire, found.skipped, found.next_us) == ([8 * HOUR], 3, 9 * HOUR)


def test_latest_leaves_the_missed_ones_when_one_is_on_time():
    found = due(every(HOUR), 5 * HOUR, 8 * HOUR + 1, LATEST)
    assert (found.fire, found.skipped, found.next_us) == ([8 * HOUR], 3, 9 * HOUR)


def test_none_fires_no_missed_occasion():
    found = due(every(HOUR), 5 * HOUR, 8 * HOUR + 10 * MINUTE, NONE)
    assert (found.fire, found.skipped, found.next_us) == ([], 4, 9 * HOUR)


def test_none_fires_what_is_on_time_after_those_that_were_missed():
    found = due(every(HOUR), 5 * HOUR, 8 * HOUR, NONE)
    assert (found.fire, found.skipped, found.next_us) == ([8 * HOUR], 3, 9 * HOUR)


def test_all_of_a_long_absence_comes_in_pieces_without_a_gap():
    after, now, cursor, fired = every(MINUTE), 1000 * MINUTE, MINUTE, []
    while cursor is not None and cursor <= now:
        found = due(after, cursor, now, ALL)
        assert len(found.fire) <= MAX_AT_ONCE
        fired += found.fire
        cursor = found.next_us
    assert fired == [n * MINUTE for n in range(1, 1001)]


def test_a_year_of_minutes_is_not_counted_one_by_one():
    asked = 0
    plain = every(MINUTE)

    def after(moment: int) -> int | None:
        nonlocal asked
        asked += 1
        return plain(moment)

    now = 366 * DAY + MINUTE + MINUTE // 2
    found = due(after, MINUTE, now, LATEST)
    assert found.fire == [366 * DAY + MINUTE]
    assert found.next_us == 366 * DAY + 2 * MINUTE
    assert found.skipped >= 1_000
    assert asked < 2_000
    none = due(after, MINUTE, 366 * DAY + 2 * MINUTE - 1, NONE)
    assert none.fire == [366 * DAY + MINUTE], "it is on time"


def test_the_last_occasion_of_all_ends_the_schedule():
    found = due(every(HOUR, last=6 * HOUR), 5 * HOUR, 9 * HOUR, LATEST)
    assert (found.fire, found.skipped, found.next_us) == ([6 * HOUR], 1, None)
    found = due(every(HOUR, last=6 * HOUR), 5 * HOUR, 9 * HOUR, ALL)
    assert (found.fire, found.skipped, found.next_us) == ([5 * HOUR, 6 * HOUR], 0, None)


def test_a_clock_that_went_back_fires_nothing_twice():
    first = due(every(HOUR), 5 * HOUR, 5 * HOUR, ALL)
    again = due(every(HOUR), first.next_us or 0, 4 * HOUR, ALL)
    assert (again.fire, again.next_us) == ([], 6 * HOUR)
