"""Checkpoints of a training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mwfs.types.file_like import fields_of
from mwfs.types.files import TAR, Directory, File
from mwfs.types.named_values import Metrics
from mwfs_api.types.v1 import types_pb2
from mwfs_types.annotations import type_of
from mwfs_types.json_schema import value_from_json
from mwfs_types.values import decode, encode

if TYPE_CHECKING:
    from mwfs.artifacts import Store


class Checkpoint:
    """A file or a folder that a training goes on from, with how far it was: `Checkpoint("weights.pt", step=1200, epoch=3)`."""

    __mwfs_semantic__: ClassVar[tuple[str, int]] = ("Checkpoint", 1)

    def __init__(
        self,
        content: str | Path | File | Directory,
        *,
        step: int = 0,
        epoch: int = 0,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        if isinstance(content, (str, Path)):
            content = Directory(content) if Path(content).is_dir() else File(content)
        if not isinstance(content, (File, Directory)):
            raise TypeError(f"A Checkpoint is of a path, a File or a Directory, found {type(content).__name__}.")
        self.content = content
        self.step = step
        self.epoch = epoch
        self.metrics = metrics if isinstance(metrics, Metrics) else Metrics(metrics)

    @property
    def path(self) -> Path:
        """A local file or folder, fetched when first asked for; not to be written to."""
        return self.content.path

    def __repr__(self) -> str:
        return f"Checkpoint({self.content!r}, step={self.step}, epoch={self.epoch}, metrics={self.metrics!r})"

    @classmethod
    def __mwfs_from_path__(cls, path: str | Path) -> Checkpoint:
        return cls(path)

    @classmethod
    def __mwfs_from_document__(cls, document: Mapping[str, Any]) -> Checkpoint | None:
        """The value of a JSON object whose content is the path of a file or folder; None for any other. Raises BadValue."""
        if not isinstance(document.get("content"), str) or not document.keys() <= {
            "content",
            "step",
            "epoch",
            "metrics",
        }:
            return None
        metrics = document.get("metrics", {})
        value_from_json(metrics, type_of(Metrics), path=".metrics")
        return cls(
            Path(document["content"]).expanduser(),
            step=document.get("step", 0),
            epoch=document.get("epoch", 0),
            metrics=metrics,
        )

    def __mwfs_encode__(self, files: Store) -> types_pb2.Value:
        fields = [
            self.content.__mwfs_encode__(files),
            encode(self.step, type_of(int), path=".step"),
            encode(self.epoch, type_of(int), path=".epoch"),
            self.metrics.__mwfs_encode__(files),
        ]
        return types_pb2.Value(record=types_pb2.RecordValue(fields=fields))

    @classmethod
    def __mwfs_decode__(cls, value: types_pb2.Value, files: Store) -> Checkpoint:
        content, step, epoch, metrics = fields_of(value, "Checkpoint", 4)
        kind = Directory if content.artifact.encoding == TAR else File
        return cls(
            kind.__mwfs_decode__(content, files),
            step=decode(step, int),
            epoch=decode(epoch, int),
            metrics=Metrics.__mwfs_decode__(metrics, files),
        )
