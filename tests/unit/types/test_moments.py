"""Dates, times, durations and partitions: what is taken, what is refused, and how they count."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwfs_api.types.v1 import types_pb2
from mwfs_types.annotations import type_of
from mwfs_types.errors import BadValue
from mwfs_types.json_schema import value_from_json
from mwfs_types.partitions import DatePartition, Grain
from mwfs_types.values import check, decode, encode

DAYS = st.dates(date(2, 1, 1), date(9998, 12, 1))


def test_a_time_is_kept_as_a_moment_in_utc() -> None:
    vienna = datetime(2026, 11, 23, 8, 30, tzinfo=timezone(timedelta(hours=1)))
    value = encode(vienna, type_of(datetime))
    assert value.text == "2026-11-23T07:30:00Z"
    assert decode(value, datetime) == vienna


@pytest.mark.parametrize(
    ("annotation", "obj", "message"),
    [
        (datetime, datetime(2026, 1, 1), "expected datetime with a time zone, found one without. Write moment.replace"),  # noqa: DTZ001
        (date, datetime(2026, 1, 1, tzinfo=UTC), "expected date, found datetime.datetime. Write moment.date()."),
        (date, "2026-01-01", "expected date, found '2026-01-01' (str)"),
        (datetime, date(2026, 1, 1), "expected datetime, found datetime.date"),
        (timedelta, 5, "expected timedelta, found 5 (int)"),
        (DatePartition, "2026-01-01", "expected DatePartition, found '2026-01-01' (str)"),
        (list[date], [date(2026, 1, 1), None], "[1]: expected date, found None"),
    ],
)
def test_other_objects_are_refused(annotation: Any, obj: object, message: str) -> None:
    with pytest.raises(BadValue) as refused:
        encode(obj, type_of(annotation))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (date, "2026-02-30"),
        (date, "20260101"),
        (date, "2026-01-01T00:00:00Z"),
        (date, "９999-01-01"),
        (datetime, "2026-01-01T00:00:00"),
        (datetime, "2026-01-01"),
        (datetime, "0001-01-01T00:00:00+14:00"),
        (timedelta, "90"),
        (timedelta, "1.1234567s"),
        (timedelta, "99999999999999s"),
        (timedelta, "١s"),
        (DatePartition, "2026-W54"),
        (DatePartition, "2026-13"),
        (DatePartition, "2026-11-23T24"),
        (DatePartition, "2026-11-23T05:00"),
        (DatePartition, "0000-01"),
        (DatePartition, "2" * 1000),
    ],
)
def test_other_texts_are_refused_from_json_and_from_the_wire(annotation: Any, text: str) -> None:
    type_ = type_of(annotation)
    with pytest.raises(BadValue):
        value_from_json(text, type_)
    with pytest.raises(BadValue):
        check(types_pb2.Value(text=text), type_)
    with pytest.raises(BadValue):
        decode(types_pb2.Value(text=text), annotation)


@pytest.mark.parametrize(
    ("text", "grain", "start", "end"),
    [
        ("2026-11-23T05", Grain.HOUR, datetime(2026, 11, 23, 5, tzinfo=UTC), datetime(2026, 11, 23, 6, tzinfo=UTC)),
        ("2026-12-31", Grain.DAY, datetime(2026, 12, 31, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        ("2020-W53", Grain.WEEK, datetime(2020, 12, 28, tzinfo=UTC), datetime(2021, 1, 4, tzinfo=UTC)),
        ("2024-02", Grain.MONTH, datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)),
    ],
)
def test_a_partition_has_a_beginning_and_an_end(text: str, grain: Grain, start: datetime, end: datetime) -> None:
    partition = DatePartition.parse(text)
    assert (partition.grain, partition.start, partition.end, str(partition)) == (grain, start, end, text)


@given(DAYS, st.sampled_from(Grain))
def test_partitions_follow_one_another_without_gaps(day: date, grain: Grain) -> None:
    one = DatePartition.at(day, grain)
    assert DatePartition.parse(str(one)) == one
    assert one.next().start == one.end
    assert one.next().previous() == one
    assert one.previous() < one < one.next()
    assert DatePartition.at(one.end - timedelta(microseconds=1), grain) == one
    assert DatePartition.range(one, one.next().next()) == [one, one.next(), one.next().next()]


def test_ranges_of_partitions() -> None:
    days = DatePartition.range("2026-02-26", "2026-03-02")
    assert [str(day) for day in days] == ["2026-02-26", "2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02"]
    assert DatePartition.range("2026-02", "2026-01") == []
    with pytest.raises(ValueError, match="2026-02 is one month and 2026-02-01 one day"):
        DatePartition.range("2026-02", "2026-02-01")
    with pytest.raises(ValueError, match="no time zone"):
        DatePartition.at(datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match="year 9999"):
        DatePartition.parse("9999-12").next()
    with pytest.raises(ValueError, match="does not begin"):
        DatePartition(Grain.DAY, datetime(2026, 1, 1, 5, tzinfo=UTC))
