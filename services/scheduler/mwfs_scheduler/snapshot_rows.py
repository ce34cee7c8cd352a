"""The rows of a snapshot file: what stands in one under a key, checked. A hundred thousand may come, so plain numbers take a short way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mwfs_scheduler import snapshot_values as values
from mwfs_scheduler.fair_share.model import Selector, Time
from mwfs_scheduler.snapshot_values import MAX_AMOUNT, MAX_ID, MAX_TIME, BadSnapshot, kind


class Row:
    """One object of a list in the file."""

    __slots__ = ("_at", "_list", "given")

    def __init__(self, list: str, at: int, given: Mapping[str, Any]) -> None:
        self._list = list
        self._at = at
        self.given = given

    @property
    def where(self) -> str:
        """Its place in the file."""
        return f"{self._list}[{self._at}]"

    def id(self) -> str:
        """Its name."""
        id = self.given.get("id")
        return id if type(id) is str and 0 < len(id) <= MAX_ID else values.id_of(self.given, self.where)

    def has(self, key: str) -> bool:
        """Whether anything but null stands there."""
        return self.given.get(key) is not None

    def time(self, key: str, default: Time) -> Time:
        """Seconds, or another number that may be below 0."""
        value = self.given.get(key)
        if type(value) is int and -MAX_TIME <= value <= MAX_TIME:
            return value
        return default if value is None else values.time(value, f"{self.where}.{key}", default)

    def whole(self, key: str, default: int) -> int:
        """A whole number."""
        value = self.given.get(key)
        if type(value) is int and -MAX_AMOUNT <= value <= MAX_AMOUNT:
            return value
        return default if value is None else values.whole(value, f"{self.where}.{key}", default)

    def seconds(self, key: str) -> Time | None:
        """Seconds that pass, when they are given."""
        value = self.given.get(key)
        return None if value is None else values.not_negative(value, f"{self.where}.{key}", 0)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.given.get(key)
        return default if value is None else values.flag(value, f"{self.where}.{key}", default)

    def amounts(self, key: str) -> Mapping[str, Time]:
        """An amount for each resource that is named with one."""
        value = self.given.get(key)
        return {} if value is None else values.amounts(value, f"{self.where}.{key}")

    def labels(self) -> Selector:
        """Of each label the values that will do."""
        value = self.given.get("labels")
        return () if value is None else values.labels(value, self.where)


def rows(value: Any, where: str, keys: frozenset[str] | None) -> list[Row]:
    """Those of a list; none when there is no list. None of them has other keys than these."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadSnapshot(f"{where} must be a list; found {kind(value)}.")
    found = []
    for at, row in enumerate(value):
        if type(row) is not dict or (keys is not None and not row.keys() <= keys):
            values.record(row, f"{where}[{at}]", keys)
        found.append(Row(where, at, row))
    return found
