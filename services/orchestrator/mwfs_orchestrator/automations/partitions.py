"""The partitions of a backfill, from a range or a list. (pure)"""

from collections.abc import Iterator
from itertools import islice

from mwfs_api.orchestrator.v1 import automations_pb2 as pb
from mwfs_chassis.errors import InvalidArgument
from mwfs_types.partitions import DatePartition

from .model import MAX_PARTITIONS

_MAX_KEY = 200


def partitions_of(backfill: pb.Backfill) -> list[str]:
    """In their order. Raises InvalidArgument for none, too many, repeated or malformed ones."""
    match backfill.WhichOneof("partitions"):
        case "range":
            return _between(backfill.range)
        case "keys":
            return _checked(list(backfill.keys.keys))
    raise InvalidArgument("The backfill has no partitions.", "Give a range of dates, or keys.")


def _between(given: pb.DateRange) -> list[str]:
    try:
        first, last = DatePartition.parse(given.first), DatePartition.parse(given.last)
    except ValueError as error:
        raise InvalidArgument(f"The range is malformed: {error}.", "Write 2026-01-01..2026-03-31.") from None
    if first.grain is not last.grain:
        raise InvalidArgument(
            f"{first} is one {first.grain.value} and {last} one {last.grain.value}.", "Both ends must be of one length."
        )
    if last.start < first.start:
        raise InvalidArgument(f"{last} is before {first}.", "Name the first partition first.")
    found = [str(each) for each in islice(_from(first, last), MAX_PARTITIONS + 1)]
    _check_count(len(found))
    return found


def _from(first: DatePartition, last: DatePartition) -> Iterator[DatePartition]:
    each = first
    yield each
    while each.start < last.start:
        each = each.next()
        yield each


def _checked(keys: list[str]) -> list[str]:
    if not keys:
        raise InvalidArgument("The backfill has no partitions.", "Give at least one key.")
    _check_count(len(keys))
    known: set[str] = set()
    for key in keys:
        if not 0 < len(key) <= _MAX_KEY or not key.isprintable():
            raise InvalidArgument(f"The key {key[:80]!r} must be printable, with 1 to {_MAX_KEY} characters.")
        if key in known:
            raise InvalidArgument(f"The key {key[:80]!r} is there twice.", "Name each partition once.")
        known.add(key)
    return keys


def _check_count(count: int) -> None:
    if count > MAX_PARTITIONS:
        raise InvalidArgument(
            f"There are more than {MAX_PARTITIONS:,} partitions.", "Take longer partitions, or several backfills."
        )
