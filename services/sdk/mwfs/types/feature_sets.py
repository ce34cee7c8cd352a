"""Features of entities over time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic

from mwfs.types.columns import check_columns
from mwfs.types.datasets import Dataset, Row
from mwfs.types.file_like import fields_of
from mwfs_api.types.v1 import types_pb2
from mwfs_types.annotations import type_of
from mwfs_types.errors import BadValue
from mwfs_types.values import decode, encode

if TYPE_CHECKING:
    from mwfs.artifacts import Store


class FeatureSet(Generic[Row]):
    """A Dataset whose rows are facts about entities: which columns name the entity, and which one says since when the fact holds.

    FeatureSet("clicks.parquet", keys=["user_id"], time="clicked_at")
    """

    __mwfs_semantic__: ClassVar[tuple[str, int]] = ("FeatureSet", 1)

    def __init__(self, data: str | Path | Dataset[Row], *, keys: str | Iterable[str], time: str | None = None) -> None:
        self.data: Dataset[Row] = data if isinstance(data, Dataset) else Dataset(data)
        self.keys: tuple[str, ...] = (keys,) if isinstance(keys, str) else tuple(keys)
        self.time = time
        #: It came from where its columns were checked.
        self._checked = False
        for column in [*self.keys, *([] if time is None else [time])]:
            if not isinstance(column, str):
                raise TypeError(f"A FeatureSet names its columns as str, found {column!r}.")
        if not self.keys or len({*self.keys, self.time}) <= len(self.keys):
            raise ValueError(
                "A FeatureSet has one or more different key columns, and its time is another one; "
                f"found keys={list(self.keys)}, time={self.time!r}."
            )

    @property
    def path(self) -> Path:
        """A local file with the rows."""
        return self.data.path

    @property
    def features(self) -> list[str]:
        """The columns that are neither keys nor the time."""
        return [name for name in self.data.columns if name not in self.keys and name != self.time]

    def __repr__(self) -> str:
        return f"FeatureSet({self.data!r}, keys={list(self.keys)}, time={self.time!r})"

    @classmethod
    def __mwfs_from_path__(cls, path: str | Path) -> FeatureSet[Any]:
        raise BadValue(
            expected="FeatureSet with its key columns",
            found=f"only a path, {str(path)[:200]!r}",
            fix=f'Write FeatureSet("{Path(path).name}", keys=["user"]); as JSON {{"data": "{Path(path).name}", "keys": ["user"]}}.',
        )

    @classmethod
    def __mwfs_from_document__(cls, document: Mapping[str, Any]) -> FeatureSet[Any] | None:
        """The value of a JSON object whose data is a path; None for any other. Raises BadValue."""
        if not isinstance(document.get("data"), str) or not document.keys() <= {"data", "keys", "time"}:
            return None
        try:
            return cls(Path(document["data"]).expanduser(), keys=document["keys"], time=document.get("time"))
        except (KeyError, TypeError):
            return None  # its type says what is wrong with it
        except ValueError as error:
            raise BadValue(expected="FeatureSet", found=str(error).rstrip(".")) from None

    def __mwfs_check__(self, type_: types_pb2.Type) -> None:
        if not self._checked:
            named = [*self.keys, *([self.time] if self.time is not None else [])]
            check_columns(self.data._readable(), self.data.encoding, type_, self.data.name, named)

    def __mwfs_declared__(self, annotation: Any) -> None:
        self.data.__mwfs_declared__(annotation)

    def __mwfs_encode__(self, files: Store) -> types_pb2.Value:
        fields = [
            self.data.__mwfs_encode__(files),
            encode(list(self.keys), type_of(list[str]), path=".keys"),
            encode(self.time, type_of(str | None), path=".time"),
        ]
        return types_pb2.Value(record=types_pb2.RecordValue(fields=fields))

    @classmethod
    def __mwfs_decode__(cls, value: types_pb2.Value, files: Store) -> FeatureSet[Any]:
        data, keys, time = fields_of(value, "FeatureSet", 3)
        try:
            decoded = cls(
                Dataset.__mwfs_decode__(data, files), keys=decode(keys, list[str]), time=decode(time, str | None)
            )
        except ValueError as error:
            raise BadValue(expected="FeatureSet", found=str(error).rstrip(".")) from None
        decoded._checked = True
        return decoded
