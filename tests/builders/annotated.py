"""Classes and strategies that the tests of the type system share."""

import enum
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from hypothesis import strategies as st

from mwfs_api.types.v1 import types_pb2
from mwfs_types.constraints import Doc, Length, Range
from mwfs_types.files import Files


class Color(enum.Enum):
    RED = 1
    GREEN = "g"
    CRIMSON = 1  # noqa: PIE796 (an alias of RED)


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Score(NamedTuple):
    name: str
    value: float = 0.5


@dataclass(frozen=True)
class Options:
    depth: Annotated[int, Range(minimum=1), Doc("How deep.")]
    color: Color = Color.RED
    scores: list[Score] = field(default_factory=list)
    note: str | None = None


@dataclass(frozen=True)
class Blob:
    """A semantic type that keeps its text in an artifact."""

    __mwfs_semantic__: ClassVar[tuple[str, int]] = ("Blob", 2)
    text: str

    def __mwfs_encode__(self, files: Files) -> types_pb2.Value:
        return types_pb2.Value(artifact=files.save(self, "Blob"))

    @classmethod
    def __mwfs_decode__(cls, value: types_pb2.Value, files: Files) -> "Blob":
        loaded: Blob = files.load(value.artifact, cls)
        return loaded


class MemoryFiles:
    """Files in a dict."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def save(self, obj: Any, semantic: str) -> types_pb2.Artifact:
        digest = f"sha256:{len(self.kept):064x}"
        self.kept[digest] = obj
        return types_pb2.Artifact(digest=digest, encoding="file")

    def spill(self, value: types_pb2.Value) -> types_pb2.Value:
        """The same value as an artifact."""
        artifact = self.save(value, "value")
        artifact.encoding = "value"
        return types_pb2.Value(artifact=artifact)

    def load(self, artifact: types_pb2.Artifact, cls: type[Any]) -> Any:
        return self.kept[artifact.digest]


#: An annotation and a strategy for its objects.
Case = tuple[Any, "st.SearchStrategy[Any]"]

_FLOATS = st.floats(allow_nan=False, allow_infinity=False)
_TEXT = st.text("ab é\0漢😀", max_size=8)
_SCALARS: list[Case] = [
    (int, st.integers(-(2**63), 2**63 - 1)),
    (float, _FLOATS),
    (bool, st.booleans()),
    (str, _TEXT),
    (bytes, st.binary(max_size=8)),
    (None, st.none()),
    (Color, st.sampled_from(Color)),
    (Size, st.sampled_from(Size)),
    (Literal["a", "b"], st.sampled_from(["a", "b"])),
    (Annotated[int, Range(0, 9)], st.integers(0, 9)),
    (Annotated[list[bool], Length(1, 3)], st.lists(st.booleans(), min_size=1, max_size=3)),
    (Score, st.builds(Score, _TEXT, _FLOATS)),
    (
        Options,
        st.builds(
            Options,
            st.integers(1, 99),
            st.sampled_from(Color),
            st.lists(st.builds(Score, _TEXT, _FLOATS), max_size=2),
            st.none() | _TEXT,
        ),
    ),
    (int | str, st.integers(-5, 5) | _TEXT),
    (int | float | bool, st.integers(-5, 5) | st.booleans() | _FLOATS),
    (Score | list[int] | None, st.none() | st.builds(Score, _TEXT, _FLOATS) | st.lists(st.integers(-5, 5), max_size=3)),
]


def _grow(inner: "st.SearchStrategy[Case]") -> "st.SearchStrategy[Case]":
    def lists(case: Case) -> Case:
        return list[case[0]], st.lists(case[1], max_size=3)  # type: ignore[misc]

    def maps(case: Case) -> Case:
        return dict[str, case[0]], st.dictionaries(_TEXT, case[1], max_size=3)  # type: ignore[misc]

    def optionals(case: Case) -> Case:
        return (case[0] | None if case[0] is not None else None), st.none() | case[1]

    return inner.map(lists) | inner.map(maps) | inner.map(optionals)


#: (annotation, object of it), nested up to a few levels.
annotated_objects = st.recursive(st.sampled_from(_SCALARS), _grow, max_leaves=4).flatmap(
    lambda case: st.tuples(st.just(case[0]), case[1])
)
annotations = st.recursive(st.sampled_from(_SCALARS), _grow, max_leaves=4).map(lambda case: case[0])
