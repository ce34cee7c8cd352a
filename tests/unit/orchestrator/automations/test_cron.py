"""Which moments a cron expression means, also where clocks change."""

from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwfs_chassis.errors import InvalidArgument
from mwfs_orchestrator.automations.cron import Cron

BERLIN = ZoneInfo("Europe/Berlin")


def us(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000


def moments(expression: str, zone: str, start: datetime, count: int) -> list[str]:
    cron = Cron(expression, zone)

    def each():
        moment: int | None = us(start)
        while moment is not None:
            moment = cron.after(moment)
            if moment is not None:
                yield datetime.fromtimestamp(moment / 1e6, UTC).strftime("%m-%d %H:%M")

    return list(islice(each(), count))


def test_a_fixed_hour_follows_the_clocks_of_its_zone():
    # 6:00 in Berlin is 5:00 UTC in winter and 4:00 in summer; clocks went forward on March 29, 2026.
    found = moments("0 6 * * *", "Europe/Berlin", datetime(2026, 3, 27, 12, tzinfo=UTC), 3)
    assert found == ["03-28 05:00", "03-29 04:00", "03-30 04:00"]


def test_a_skipped_time_is_due_at_the_end_of_the_gap():
    # 2:30 does not exist on March 29: clocks jump from 2:00 to 3:00, which is 1:00 UTC.
    found = moments("30 2 * * *", "Europe/Berlin", datetime(2026, 3, 28, tzinfo=UTC), 3)
    assert found == ["03-28 01:30", "03-29 01:00", "03-30 00:30"]


def test_two_skipped_times_are_due_once():
    found = moments("15,45 2 * * *", "Europe/Berlin", datetime(2026, 3, 28, 12, tzinfo=UTC), 3)
    assert found == ["03-29 01:00", "03-30 00:15", "03-30 00:45"]


def test_a_repeated_time_is_due_once_at_the_first_of_the_two():
    # Clocks went back on October 25: 2:30 came at 0:30 UTC and again at 1:30 UTC.
    found = moments("30 2 * * *", "Europe/Berlin", datetime(2026, 10, 24, 12, tzinfo=UTC), 2)
    assert found == ["10-25 00:30", "10-26 01:30"]


def test_every_half_hour_goes_on_through_both_changes():
    autumn = moments("*/30 * * * *", "Europe/Berlin", datetime(2026, 10, 25, 0, tzinfo=UTC), 4)
    assert autumn == ["10-25 00:30", "10-25 01:00", "10-25 01:30", "10-25 02:00"]
    spring = moments("*/30 * * * *", "Europe/Berlin", datetime(2026, 3, 29, 0, 30, tzinfo=UTC), 3)
    assert spring == ["03-29 01:00", "03-29 01:30", "03-29 02:00"]


@given(
    start=st.integers(us(datetime(2026, 1, 1, tzinfo=UTC)), us(datetime(2027, 1, 1, tzinfo=UTC))),
    expression=st.sampled_from(
        ["30 2 * * *", "*/7 * * * *", "15,45 1-3 * * *", "0 6 * * MON", "59 23 L * *", "0 */2 * * *"]
    ),
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", ""]),
)
def test_what_comes_next_does_not_depend_on_where_one_begins(start, expression, zone):
    """Beginning anew at any time (after a kill, say) gives the moments that going on would have given."""
    cron = Cron(expression, zone)
    first = cron.after(start)
    assert first is not None
    second = cron.after(first)
    assert second is not None
    assert start < first < second
    assert cron.after(max(first - 1_000_000, start)) == first
    assert cron.after((first + second) // 2) == second


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "0 6 * *",
        "0 6 * * * *",
        "61 * * * *",
        "0 25 * * *",
        "x * * * *",
        "*/0 * * * *",
        "5-1 * * * *",
        "0 0 30 2 *",
        "@daily",
        "² * * * *",
        "9" * 200 + " * * * *",
        "MON#9/2 * * * *",
        "* * * * 1L2",
    ],
)
def test_what_is_no_cron_expression_is_refused(expression):
    with pytest.raises(InvalidArgument, match="not a cron expression"):
        Cron(expression)


@given(st.text(alphabet="0123456789*/,-#LWMON x²\t", max_size=40).map(lambda text: text + " * * * *"))
def test_no_text_breaks_the_parser(text):
    with suppress(InvalidArgument):
        Cron(text).after(0)


def test_a_day_that_never_comes_has_no_moment():
    # The last Monday of a month is never its first or 21st day.
    assert Cron("0 0 */20 * 1L").after(0) is None


@pytest.mark.parametrize(
    "zone", ["Mars/Olympus", "../../etc/passwd", "Europe", "/etc/localtime", "a" * 300, "Europe/Berlin\0"]
)
def test_an_unknown_time_zone_is_refused(zone):
    with pytest.raises(InvalidArgument, match="no time zone"):
        Cron("0 6 * * *", zone)


def test_a_time_zone_that_is_nearly_right_is_named():
    with pytest.raises(InvalidArgument, match="Did you mean Europe/Berlin"):
        Cron("0 6 * * *", "Europe/Berlni")
