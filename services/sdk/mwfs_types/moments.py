"""Python's dates, times and durations, and partitions of time: semantic types that travel as text."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from mwfs_api.types.v1 import types_pb2
from mwfs_types.errors import BadValue, show
from mwfs_types.partitions import DatePartition

_DURATION = re.compile(r"(-?)(\d{1,14})(?:\.(\d{1,6}))?s", re.ASCII)
#: Longer texts are refused before they are read.
_MAX_TEXT = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One such type."""

    name: str
    cls: type
    #: Text → object. Raises ValueError; other text than `write` gives may be read as well.
    read: Callable[[str], Any]
    #: Object → its one text. Raises BadValue.
    write: Callable[[Any], str]
    #: How an example looks, for errors.
    example: str
    #: What a JSON Schema says of the text.
    schema: dict[str, str]

    @property
    def type(self) -> types_pb2.Type:
        return types_pb2.Type(semantic=types_pb2.SemanticType(name=self.name, version=1))

    def encode(self, obj: Any) -> types_pb2.Value:
        return types_pb2.Value(text=self.write(obj))

    def check(self, value: types_pb2.Value) -> Any:
        """The object of a value. Raises BadValue; runs on servers too."""
        if value.WhichOneof("kind") != "text":
            raise BadValue(expected=f"{self.name} as text, such as {self.example!r}", found="another kind of value")
        return self.parse(value.text)

    def parse(self, text: str) -> Any:
        """The object that a text means. Raises BadValue."""
        try:
            if len(text) > _MAX_TEXT:
                raise ValueError
            return self.read(text)
        except (ValueError, OverflowError):
            raise BadValue(expected=f"{self.name}, such as {self.example!r}", found=show(text)) from None


def _write_date(obj: Any) -> str:
    if isinstance(obj, datetime) or not isinstance(obj, date):
        fix = "Write moment.date()." if isinstance(obj, datetime) else "Write datetime.date(2026, 11, 23)."
        raise BadValue(expected="date", found=show(obj), fix=fix)
    return date(obj.year, obj.month, obj.day).isoformat()


def _read_date(text: str) -> date:
    if len(text) != 10:
        raise ValueError(text)
    return date.fromisoformat(text)


def _write_timestamp(obj: Any) -> str:
    if not isinstance(obj, datetime):
        raise BadValue(expected="datetime", found=show(obj), fix="Write datetime.datetime.now(datetime.UTC).")
    if obj.utcoffset() is None:
        raise BadValue(
            expected="datetime with a time zone", found="one without", fix="Write moment.replace(tzinfo=datetime.UTC)."
        )
    try:
        return obj.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except OverflowError:
        raise BadValue(expected="datetime within the years 1 to 9999 in UTC", found=show(obj)) from None


def _read_timestamp(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.utcoffset() is None or len(text) < 17:
        raise ValueError(text)
    return moment.astimezone(UTC)


def _write_duration(obj: Any) -> str:
    if not isinstance(obj, timedelta):
        raise BadValue(expected="timedelta", found=show(obj), fix="Write datetime.timedelta(seconds=…).")
    microseconds = obj // timedelta(microseconds=1)
    seconds, rest = divmod(abs(microseconds), 1_000_000)
    fraction = f".{rest:06}".rstrip("0") if rest else ""
    return f"{'-' if microseconds < 0 else ''}{seconds}{fraction}s"


def _read_duration(text: str) -> timedelta:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(text)
    length = timedelta(seconds=int(found[2]), microseconds=int((found[3] or "").ljust(6, "0")))
    return -length if found[1] else length


def _write_partition(obj: Any) -> str:
    if not isinstance(obj, DatePartition):
        raise BadValue(expected="DatePartition", found=show(obj), fix='Write mwfs.DatePartition.parse("2026-11-23").')
    return str(obj)


_ALL = (
    Moment(
        name="Date",
        cls=date,
        read=_read_date,
        write=_write_date,
        example="2026-11-23",
        schema={"format": "date"},
    ),
    Moment(
        name="Timestamp",
        cls=datetime,
        read=_read_timestamp,
        write=_write_timestamp,
        example="2026-11-23T07:30:00Z",
        schema={"format": "date-time"},
    ),
    Moment(
        name="Duration",
        cls=timedelta,
        read=_read_duration,
        write=_write_duration,
        example="90.5s",
        schema={"pattern": r"^-?[0-9]{1,14}(\.[0-9]{1,6})?s$"},
    ),
    Moment(
        name="DatePartition",
        cls=DatePartition,
        read=DatePartition.parse,
        write=_write_partition,
        example="2026-11-23",
        schema={"pattern": r"^[0-9]{4}-(W[0-9]{2}|[0-9]{2}(-[0-9]{2}(T[0-9]{2})?)?)$"},
    ),
)
MOMENTS: Final = {moment.name: moment for moment in _ALL}
MOMENTS_BY_CLASS: Final[dict[Any, Moment]] = {moment.cls: moment for moment in _ALL}
