"""The semantic types that operators pass on: Dataset, Model, Metrics, File.

File-like values hold a path, a value in memory, or an artifact whose bytes are fetched when they are first asked for.
"""

from __future__ import annotations

import csv
import pickle
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self

from mwfs.errors import MwfsError
from mwfs_api.types.v1 import types_pb2

if TYPE_CHECKING:
    import pandas as pd
    from typing_extensions import TypeVar

    from mwfs.artifacts import Store

    # Defaults, so that a bare `Dataset` is a complete annotation under strict type checking too.
    Row = TypeVar("Row", default=Any)
    Input = TypeVar("Input", default=Any)
    Prediction = TypeVar("Prediction", default=Any)
else:
    from typing import TypeVar

    Row = TypeVar("Row")
    Input = TypeVar("Input")
    Prediction = TypeVar("Prediction")


class _FileLike:
    """A value that is a file."""

    __mwfs_semantic__: ClassVar[tuple[str, int]]
    _encoding: ClassVar[str] = "file"

    def __init__(self, path: str | Path) -> None:
        self._path: Path | None = Path(path)
        self._store: Store | None = None
        self._artifact: types_pb2.Artifact | None = None

    def _scratch(self) -> Path:
        """A new folder that lives as long as this value."""
        folder = tempfile.mkdtemp(prefix="mwfs-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    @property
    def path(self) -> Path:
        """A local file with the bytes, fetched when first asked for; not to be written to."""
        if self._path is None:
            if self._store is None or self._artifact is None:
                self._path, _ = self.__mwfs_write__(self._scratch())
            else:
                self._path = self._store.fetch(self._artifact)
        return self._path

    @property
    def name(self) -> str:
        """The file name that a user would recognise."""
        if self._path is not None:
            return self._path.name
        return self._artifact.file_name if self._artifact is not None else ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @classmethod
    def __mwfs_from_path__(cls, path: str | Path) -> Self:
        """The value of a path that was given for an input of this type."""
        return cls(path)

    def __mwfs_write__(self, folder: Path) -> tuple[Path, str]:
        """The file that holds the value, and its encoding; `folder` is for values that have no file yet."""
        assert self._path is not None
        return self._path, self._encoding

    def __mwfs_kept__(self, store: Store) -> types_pb2.Artifact | None:
        """The artifact of this value when this store has it already."""
        return self._artifact if self._store is store else None

    def __mwfs_keep__(self, store: Store, artifact: types_pb2.Artifact) -> None:
        # An artifact that was fetched from elsewhere keeps its own store.
        if self._store is None:
            self._store, self._artifact = store, artifact

    @classmethod
    def __mwfs_open__(cls, artifact: types_pb2.Artifact, store: Store) -> Self:
        opened = cls.__new__(cls)
        _FileLike.__init__(opened, "")
        opened._path, opened._store, opened._artifact = None, store, artifact
        return opened

    def __mwfs_encode__(self, files: Store) -> types_pb2.Value:
        return types_pb2.Value(artifact=files.save(self, self.__mwfs_semantic__[0]))

    @classmethod
    def __mwfs_decode__(cls, value: types_pb2.Value, files: Store) -> Self:
        return files.load(value.artifact, cls)


class File(_FileLike):
    """Any file."""

    __mwfs_semantic__ = ("File", 1)

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "file") -> Self:
        """A file with these bytes."""
        made = cls("")
        made._path = made._scratch() / (Path(name).name or "file")
        made._path.write_bytes(data)
        return made

    @classmethod
    def from_text(cls, text: str, name: str = "file.txt") -> Self:
        """A file with this text, as UTF-8."""
        return cls.from_bytes(text.encode(), name)

    def read_bytes(self) -> bytes:
        return self.path.read_bytes()

    def read_text(self) -> str:
        """The whole file, read as UTF-8."""
        return self.path.read_text(encoding="utf-8")


class Dataset(_FileLike, Generic[Row]):
    """Rows with named columns, kept as CSV with a header."""

    __mwfs_semantic__ = ("Dataset", 1)
    _encoding = "csv"

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]], columns: Iterable[str] | None = None) -> Self:
        """A dataset of these rows. The columns are those of the first row unless they are named."""
        listed = list(rows)
        names = list(columns) if columns is not None else list(listed[0]) if listed else []
        made = cls("")
        made._path = made._scratch() / "dataset.csv"
        with made._path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(listed)
        return made

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> Self:
        """A dataset of a pandas DataFrame, without its index."""
        made = cls("")
        made._path = made._scratch() / "dataset.csv"
        frame.to_csv(made._path, index=False)
        return made

    def read(self) -> pd.DataFrame:
        """The whole dataset as a pandas DataFrame (needs pandas: `pip install mwfs[examples]`)."""
        try:
            import pandas as pd
        except ImportError:
            raise MwfsError(
                "Dataset.read() needs pandas.", "Install it (`pip install 'mwfs[examples]'`) or use Dataset.rows()."
            ) from None
        return pd.read_csv(self.path)

    def rows(self) -> Iterator[dict[str, str]]:
        """Row after row, as text by column; needs no pandas."""
        with self.path.open(newline="", encoding="utf-8-sig") as file:
            yield from csv.DictReader(file)

    @property
    def columns(self) -> list[str]:
        """The names in the header."""
        with self.path.open(newline="", encoding="utf-8-sig") as file:
            return next(csv.reader(file), [])


class Model(_FileLike, Generic[Input, Prediction]):
    """A trained model: any object that joblib or pickle can save.

    Saving happens where the model was trained, loading only when `estimator` is asked for. Unpickling runs code, so open
    only models of runs that you trust; no server ever does.
    """

    __mwfs_semantic__ = ("Model", 1)
    _encoding = "joblib"
    _UNSET: ClassVar[object] = object()

    def __init__(self, estimator: Any) -> None:
        super().__init__("")
        self._path = None
        self._estimator: Any = estimator

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """A model that joblib or pickle saved before."""
        opened = cls(cls._UNSET)
        opened._path = Path(path)
        return opened

    @classmethod
    def __mwfs_from_path__(cls, path: str | Path) -> Self:
        return cls.from_file(path)

    @property
    def estimator(self) -> Any:
        """The object itself."""
        if self._estimator is self._UNSET:
            self._estimator = _load(self.path)
        return self._estimator

    def __mwfs_write__(self, folder: Path) -> tuple[Path, str]:
        if self._path is not None:
            return self._path, self._encoding
        path = folder / "model.joblib"
        try:
            import joblib
        except ImportError:
            # joblib reads plain pickles too, so this is one format.
            with path.open("wb") as file:
                pickle.dump(self._estimator, file)
        else:
            joblib.dump(self._estimator, path)
        return path, self._encoding

    @classmethod
    def __mwfs_open__(cls, artifact: types_pb2.Artifact, store: Store) -> Self:
        opened = super().__mwfs_open__(artifact, store)
        opened._estimator = cls._UNSET
        return opened


class Metrics(Mapping[str, float]):
    """Named numbers: `Metrics(accuracy=0.97)` or `Metrics({"f1/macro": 0.9})`. They travel inline, so every view can show them."""

    __mwfs_semantic__: ClassVar[tuple[str, int]] = ("Metrics", 1)
    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, float] | None = None, /, **named: float) -> None:
        self._values = {str(name): float(value) for name, value in {**(values or {}), **named}.items()}

    def __getitem__(self, name: str) -> float:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Metrics({self._values!r})"

    def __mwfs_encode__(self, files: object) -> types_pb2.Value:
        names = sorted(self._values)
        return types_pb2.Value(
            map=types_pb2.MapValue(keys=names, values=[types_pb2.Value(number=self._values[name]) for name in names])
        )

    @classmethod
    def __mwfs_decode__(cls, value: types_pb2.Value, files: object) -> Metrics:
        return cls({name: item.number for name, item in zip(value.map.keys, value.map.values, strict=True)})


def _load(path: Path) -> Any:
    try:
        import joblib
    except ImportError:
        with path.open("rb") as file:
            return pickle.load(file)
    return joblib.load(path)
