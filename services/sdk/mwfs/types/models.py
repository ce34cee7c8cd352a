"""Trained models."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, get_args

from mwfs.types.file_like import FileLike
from mwfs_api.types.v1 import types_pb2
from mwfs_types.errors import BadValue, show

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from mwfs.artifacts import Store

    # Defaults, so that a bare `Model` is a complete annotation under strict type checking too.
    Input = TypeVar("Input", default=Any)
    Prediction = TypeVar("Prediction", default=Any)
else:
    from typing import TypeVar

    Input = TypeVar("Input")
    Prediction = TypeVar("Prediction")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSignature:
    """What a `Model[Input, Prediction]` takes and gives."""

    input: types_pb2.Type
    prediction: types_pb2.Type

    def input_schema(self) -> dict[str, Any]:
        """The JSON Schema of one input: the request of whatever serves the model."""
        from mwfs_types.json_schema import schema_of

        return schema_of(self.input)

    def prediction_schema(self) -> dict[str, Any]:
        """The JSON Schema of one prediction."""
        from mwfs_types.json_schema import schema_of

        return schema_of(self.prediction)

    def __str__(self) -> str:
        from mwfs_types.rendering import describe

        return f"{describe(self.input)} → {describe(self.prediction)}"


class Model(FileLike, Generic[Input, Prediction]):
    """A trained model: any object that joblib or pickle can save.

    Saving happens where the model was trained, loading only when `estimator` is asked for. Unpickling runs code, so open
    only models of runs that you trust; no server ever does.
    """

    __mwfs_semantic__ = ("Model", 1)
    _UNSET: ClassVar[object] = object()
    #: What it takes and gives, when it came as a `Model[Input, Prediction]`.
    signature: ModelSignature | None = None

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

    def __mwfs_declared__(self, annotation: Any) -> None:
        """The value was read as this type."""
        from mwfs_types.annotations import type_of

        arguments = get_args(annotation)
        if len(arguments) == 2:
            self.signature = ModelSignature(input=type_of(arguments[0]), prediction=type_of(arguments[1]))

    def __mwfs_write__(self, folder: Path) -> tuple[Path, str]:
        if self._path is not None:
            return self._readable(), "joblib"
        path = folder / "model.joblib"
        try:
            _save(self._estimator, path)
        except (pickle.PicklingError, AttributeError, TypeError, RecursionError) as error:
            raise BadValue(
                expected="an estimator that pickle can save",
                found=f"{show(self._estimator)} ({str(error)[:200]})",
                fix="Define its classes and functions at the top level of a module, or save it yourself: Model.from_file(path).",
            ) from error
        return path, "joblib"

    @classmethod
    def __mwfs_open__(cls, artifact: types_pb2.Artifact, store: Store) -> Self:
        opened = super().__mwfs_open__(artifact, store)
        opened._estimator = cls._UNSET
        return opened


def _save(estimator: Any, path: Path) -> None:
    try:
        import joblib
    except ImportError:
        # joblib reads plain pickles too, so this is one format.
        with path.open("wb") as file:
            pickle.dump(estimator, file)
    else:
        joblib.dump(estimator, path)


def _load(path: Path) -> Any:
    try:
        import joblib
    except ImportError:
        with path.open("rb") as file:
            return pickle.load(file)
    return joblib.load(path)
