"""Named numbers and settings, which travel inline so that every view can show them: Metrics and HyperparameterSet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from mwfs_api.types.v1 import types_pb2
from mwfs_types.annotations import type_of
from mwfs_types.errors import show
from mwfs_types.values import decode, encode

#: What a hyperparameter may be.
Setting = bool | int | float | str


class Metrics(Mapping[str, float]):
    """Named numbers: `Metrics(accuracy=0.97)` or `Metrics({"f1/macro": 0.9})`."""

    __mwfs_semantic__: ClassVar[tuple[str, int]] = ("Metrics", 1)
    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, float] | None = None, /, **named: float) -> None:
        self._values = {str(name): _number(name, value) for name, value in {**(values or {}), **named}.items()}

    def __getitem__(self, name: str) -> float:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Metrics({self._values!r})"

    def __mwfs_encode__(self, files: object) -> types_pb2.Value:
        return encode(self._values, type_of(dict[str, float]))

    @classmethod
    def __mwfs_decode__(cls, value: types_pb2.Value, files: object) -> Metrics:
        return cls(decode(value, dict[str, float]))


def _number(name: object, value: object) -> float:
    """As for any float: no bool and no text. Libraries have numbers of their own, such as a tensor of one element."""
    kind = type(value)
    if isinstance(value, bool) or kind.__name__ in ("bool", "bool_") or not hasattr(kind, "__float__"):
        raise TypeError(f"The metric {str(name)[:100]!r} must be a number, found {show(value)}.")
    return float(value)  # type: ignore[arg-type]


class HyperparameterSet(Mapping[str, Setting]):
    """Named settings of a training: `HyperparameterSet(depth=4, rate=0.1, solver="adam")`. Each keeps its type."""

    __mwfs_semantic__: ClassVar[tuple[str, int]] = ("HyperparameterSet", 1)
    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Setting] | None = None, /, **named: Setting) -> None:
        self._values: dict[str, Setting] = {str(name): value for name, value in {**(values or {}), **named}.items()}

    def __getitem__(self, name: str) -> Setting:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"HyperparameterSet({self._values!r})"

    def with_values(self, **named: Setting) -> HyperparameterSet:
        """The same with some changed or added."""
        return HyperparameterSet(self._values, **named)

    def __mwfs_encode__(self, files: object) -> types_pb2.Value:
        return encode(self._values, type_of(dict[str, Setting]))

    @classmethod
    def __mwfs_decode__(cls, value: types_pb2.Value, files: object) -> HyperparameterSet:
        return cls(decode(value, dict[str, Setting]))
