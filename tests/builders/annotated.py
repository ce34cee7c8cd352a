"""Classes and strategies that the tests of the type system share."""

import enum
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, ClassVar, Generic, Literal, NamedTuple, NotRequired, TypedDict, TypeVar

from hypothesis import strategies as st

from mwfs import HyperparameterSet, Metrics, register_type
from mwfs_api.types.v1 import types_pb2
from mwfs_types.constraints import Choices, Doc, Length, Pattern, Range, Unit
from mwfs_types.files import Files
from mwfs_types.partitions import DatePartition, Grain


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


T = TypeVar("T")
U = TypeVar("U")


class Pair(NamedTuple, Generic[T, U]):
    left: T
    right: list[U]


@dataclass(frozen=True)
class Box(Generic[T]):
    content: T
    spare: T | None = None


@dataclass(frozen=True)
class Crate(Box[list[T]], Generic[T]):
    """The type variable of its base is another than its own, although both are called T."""

    lid: T | None = None


class Setting(TypedDict):
    name: Annotated[str, Doc("What it is called.")]
    level: NotRequired[Annotated[int, Range(0, 9)]]
    note: str | None


class Tagged(TypedDict, Generic[T], total=False):
    tag: T


class Labelled(Tagged[Color]):
    label: str


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


@register_type(
    "GeoPoint",
    version=3,
    travels_as=dict[str, float],
    encode=lambda point: {"east": point.east, "north": point.north},
    decode=lambda parts: GeoPoint(parts["east"], parts["north"]),
    reads={2: (tuple[float, float], lambda pair: GeoPoint(*pair))},
    viewer="map",
    widget="map-picker",
)
@dataclass(frozen=True)
class GeoPoint:
    """A place on a map, in metres."""

    east: float
    north: float


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
_SCORES = st.builds(Score, _TEXT, _FLOATS)
_BOOLS = st.lists(st.booleans(), max_size=2)
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
    (Annotated[int, Range(exclusive_minimum=-3, exclusive_maximum=1 << 60)], st.integers(-2, (1 << 60) - 1)),
    (Annotated[float, Range(0.5, exclusive_maximum=1), Unit("s")], st.floats(0.5, 1, exclude_max=True)),
    (Annotated[float, Choices(1, 2.5)], st.sampled_from([1.0, 2.5])),
    (Annotated[bytes, Choices(b"a", b"bc")], st.sampled_from([b"a", b"bc"])),
    (Annotated[str, Pattern("a+|b")], st.sampled_from(["a", "aa", "b"])),
    (Annotated[str, Length(1, 2)], st.text("aé😀", min_size=1, max_size=2)),
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
    (Pair[int, str], st.builds(Pair, st.integers(-5, 5), st.lists(_TEXT, max_size=2))),
    (
        Pair[Score, Pair[int, bool]],
        st.builds(Pair, _SCORES, st.lists(st.builds(Pair, st.integers(-5, 5), _BOOLS), max_size=2)),
    ),
    (Box[date | None], st.builds(Box, st.none() | st.dates(), st.none() | st.dates())),
    (Crate[int], st.builds(Crate, st.lists(st.integers(-5, 5), max_size=2), st.none(), st.none() | st.integers(-5, 5))),
    (
        Setting,
        st.fixed_dictionaries({"name": _TEXT, "note": st.none() | _TEXT}, optional={"level": st.integers(0, 9)}),
    ),
    (Labelled, st.fixed_dictionaries({"label": _TEXT}, optional={"tag": st.sampled_from(Color)})),
    (Tagged[Score], st.fixed_dictionaries({}, optional={"tag": _SCORES})),
    (date, st.dates()),
    (datetime, st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1), timezones=st.just(UTC))),  # noqa: DTZ001
    (timedelta, st.timedeltas()),
    (DatePartition, st.builds(DatePartition.at, st.dates(date(2, 1, 1), date(9998, 1, 1)), st.sampled_from(Grain))),
    (GeoPoint, st.builds(GeoPoint, _FLOATS, _FLOATS)),
    (Metrics, st.builds(Metrics, st.dictionaries(_TEXT, _FLOATS, max_size=2))),
    (
        HyperparameterSet,
        st.builds(
            HyperparameterSet,
            st.dictionaries(_TEXT, st.booleans() | st.integers(-5, 5) | _FLOATS | _TEXT, max_size=2),
        ),
    ),
    (date | int | Score, st.dates() | st.integers(-5, 5) | st.builds(Score, _TEXT, _FLOATS)),
    (int | str, st.integers(-5, 5) | _TEXT),
    (int | float | bool, st.integers(-5, 5) | st.booleans() | _FLOATS),
    (Score | list[int] | None, st.none() | st.builds(Score, _TEXT, _FLOATS) | st.lists(st.integers(-5, 5), max_size=3)),
]


def _lists(case: Case) -> Case:
    return list[case[0]], st.lists(case[1], max_size=3)  # type: ignore[misc]


def _maps(case: Case) -> Case:
    return dict[str, case[0]], st.dictionaries(_TEXT, case[1], max_size=3)  # type: ignore[misc]


def _optionals(case: Case) -> Case:
    return (case[0] | None if case[0] is not None else None), st.none() | case[1]


def _pairs(case: Case) -> Case:
    return tuple[int, case[0]], st.tuples(st.integers(-5, 5), case[1])  # type: ignore[misc]


def _sequences(case: Case) -> Case:
    return tuple[case[0], ...], st.lists(case[1], max_size=3).map(tuple)  # type: ignore[misc]


def _boxes(case: Case) -> Case:
    return Box[case[0]], st.builds(Box, case[1], st.none() | case[1])  # type: ignore[misc]


_AROUND = (_boxes, _lists, _maps, _optionals, _pairs, _sequences)


def _grow(inner: "st.SearchStrategy[Case]") -> "st.SearchStrategy[Case]":
    return st.one_of([inner.map(around) for around in _AROUND])


#: One annotation of each sort that the strategies below put together.
EVERY_SORT = [*(case[0] for case in _SCALARS), *(around(_SCALARS[0])[0] for around in _AROUND)]
#: (annotation, object of it), nested up to a few levels.
annotated_objects = st.recursive(st.sampled_from(_SCALARS), _grow, max_leaves=4).flatmap(
    lambda case: st.tuples(st.just(case[0]), case[1])
)
annotations = st.recursive(st.sampled_from(_SCALARS), _grow, max_leaves=4).map(lambda case: case[0])
