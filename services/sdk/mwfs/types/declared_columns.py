"""What a Row declares of the columns of a file, and the list of what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mwfs_api.types.v1 import types_pb2
from mwfs_types.constraints import narrowing_of
from mwfs_types.errors import BadValue
from mwfs_types.moments import MOMENTS
from mwfs_types.rendering import describe

#: Problems that one error tells of.
MAX_PROBLEMS = 5

_SCALARS = {
    types_pb2.SCALAR_KIND_BOOL: "bool",
    types_pb2.SCALAR_KIND_INT: "int",
    types_pb2.SCALAR_KIND_FLOAT: "float",
    types_pb2.SCALAR_KIND_STRING: "str",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One field of a Row."""

    name: str
    type: types_pb2.Type
    #: May be missing in a row.
    optional: bool
    #: "bool", "int", "float", "str", "enum", or the name of a moment such as "Date".
    kind: str
    #: What is wrong with a value that is of the kind, in words; None: nothing can be.
    narrow: Callable[[Any], str] | None

    @property
    def words(self) -> str:
        return describe(self.type)


def columns_of(row: types_pb2.Type) -> list[Column]:
    """The columns that a record type declares. Raises BadValue for a field that no column can hold."""
    found = []
    for field in row.record.fields:
        optional = field.type.WhichOneof("kind") == "optional"
        inner = field.type.optional.item if optional else field.type
        kind = _SCALARS.get(inner.scalar, "")
        if inner.WhichOneof("kind") == "enum":
            kind = "enum"
        elif inner.semantic.name in MOMENTS:
            kind = inner.semantic.name
        if not kind:
            raise BadValue(
                expected="columns of bool, int, float, str, date, datetime or an enum",
                found=f"{describe(row)}.{field.name} of type {describe(field.type)}",
                fix="Leave it out of the row, or keep it as text.",
            )
        narrow = _member_test(inner) if kind == "enum" else narrowing_of(inner)
        found.append(Column(name=field.name, type=inner, optional=optional, kind=kind, narrow=narrow))
    return found


def _member_test(type_: types_pb2.Type) -> Callable[[Any], str]:
    members = frozenset(type_.enum.members)
    return lambda value: "" if value in members else f"a member of {describe(type_)}"


class Problems:
    """What is wrong, in words; at most one more than is told."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._columns: set[str] = set()

    @property
    def full(self) -> bool:
        return len(self.found) > MAX_PROBLEMS

    def add(self, problem: str) -> None:
        if not self.full:
            self.found.append(problem)

    def add_cell(self, column: Column, row: int, found: str, expected: str = "") -> None:
        """One for each column: the first row that has it."""
        if column.name not in self._columns:
            self._columns.add(column.name)
            self.add(f"column `{column.name}` row {row}: {found} is not {expected or column.words}")

    def without_known(self, columns: Sequence[Column]) -> list[Column]:
        """The columns in which nothing wrong was found so far."""
        return [column for column in columns if column.name not in self._columns]

    def __str__(self) -> str:
        return "; ".join(self.found[:MAX_PROBLEMS]) + ("; and more" if self.full else "")
