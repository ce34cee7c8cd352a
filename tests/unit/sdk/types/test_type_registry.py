"""Types that teams add: registering, versions, and what is refused."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
from builders.annotated import GeoPoint

import mwfs
from mwfs.errors import BadDefinition, InvalidInput, WrongType
from mwfs.type_registry import registered_types
from mwfs_types.annotations import type_of
from mwfs_types.dag_check import check_dag
from mwfs_types.errors import BadValue
from mwfs_types.json_schema import schema_of, value_from_json, value_to_json
from mwfs_types.values import check, decode, encode


@mwfs.register_type("Temperature", version=1, travels_as=float, encode=lambda one: one.celsius)
@dataclass(frozen=True)
class Old:
    celsius: float


class Reading(NamedTuple):
    kelvin: float
    place: str


@mwfs.register_type(
    "Temperature",
    version=2,
    travels_as=Reading,
    encode=lambda one: Reading(one.kelvin, one.place),
    decode=lambda reading: Temperature(reading.kelvin, reading.place),
    reads={1: (float, lambda celsius: Temperature(celsius + 273.15, ""))},
)
@dataclass(frozen=True)
class Temperature:
    kelvin: float
    place: str


@mwfs.register_type("Embedding", viewer="projector")
class Embedding(mwfs.File):
    """Vectors in a file of their own kind."""


@mwfs.register_type("Embedding", version=2, reads={1: None})
class Projected(mwfs.File):
    """The same, with more in it; it finds out by itself what it reads."""


@mwfs.operator
def project(embedding: Projected) -> int:
    return len(embedding.read_text())


@mwfs.workflow
def projected(text: str) -> int:
    return project(embed(text))  # type: ignore[arg-type]


@mwfs.operator
def measure(celsius: float) -> Old:
    return Old(celsius)


@mwfs.operator
def kelvin(temperature: Temperature) -> float:
    return temperature.kelvin


@mwfs.operator
def old_only(temperature: Old) -> float:
    return temperature.celsius


@mwfs.operator
def embed(text: str) -> Embedding:
    made = Embedding.from_text(text)
    assert isinstance(made, Embedding)
    return made


@mwfs.operator
def dimensions(embedding: Embedding) -> int:
    return len(embedding.read_text())


@mwfs.workflow
def upgrade(celsius: float) -> float:
    return kelvin(measure(celsius))  # type: ignore[arg-type]


@mwfs.workflow
def downgrade(temperature: Temperature) -> float:
    return old_only(temperature)  # type: ignore[arg-type]


@mwfs.workflow
def embedded(text: str) -> int:
    return dimensions(embed(text))


@mwfs.workflow
def north(place: GeoPoint) -> float:
    return place.north


def test_a_newer_version_reads_the_older_one() -> None:
    assert upgrade.run_local(celsius=1.0) == 274.15


@mwfs.operator
def hottest(temperatures: list[Temperature]) -> float:
    return max(one.kelvin for one in temperatures)


@mwfs.workflow
def mixed(first: Old, second: Temperature) -> float:
    return hottest([first, second, measure(3.0)])  # type: ignore[list-item]


@mwfs.workflow
def kept() -> Temperature:
    return measure(7.0)  # type: ignore[return-value]


def test_objects_and_results_of_the_older_version_are_read_wherever_they_stand() -> None:
    for second in (Temperature(5.0, "here"), Old(-270.15)):
        dag = mixed.compile(first=Old(-272.15), second=second)
        check_dag(dag.proto)
        assert mixed.run_local(first=Old(-272.15), second=second) == 276.15
    assert kept.run_local() == Temperature(280.15, "")


def test_values_of_the_older_version_are_checked_and_shown_as_what_they_are() -> None:
    value, type_ = encode(Old(1.5), type_of(Temperature)), type_of(Temperature)
    check(value, type_)
    assert value_to_json(value, type_) == 1.5
    assert decode(value, Temperature) == Temperature(274.65, "")
    with pytest.raises(BadValue, match="expected Reading"):
        check(encode("hot", type_of(str)), type_)
    with pytest.raises(BadValue, match="expected Temperature"):
        encode(Temperature(1.0, ""), type_of(Old))


def test_an_older_version_is_not_given_a_newer_one() -> None:
    with pytest.raises(WrongType) as refused:
        mwfs.compile(downgrade, temperature=Temperature(1.0, "here"))
    assert "Temperature" in str(refused.value)


def test_subclasses_of_file_are_types_of_their_own() -> None:
    assert embedded.run_local(text="abc") == 3
    assert projected.run_local(text="abcd") == 4
    assert type_of(Embedding).semantic.name == "Embedding"


def test_a_registered_type_is_plain_json_and_checked_by_servers() -> None:
    type_ = type_of(GeoPoint)
    value = value_from_json({"east": 1.0, "north": 2}, type_)
    assert decode(value, GeoPoint) == GeoPoint(1.0, 2.0)
    assert encode(GeoPoint(1.0, 2.0), type_) == value_from_json({"east": 1.0, "north": 2.0}, type_)
    schema = schema_of(type_)
    assert (schema["type"], schema["x-mwfs-viewer"], schema["x-mwfs-widget"]) == ("object", "map", "map-picker")
    with pytest.raises(BadValue, match="expected float"):
        value_from_json({"east": "1"}, type_)
    with pytest.raises(BadValue):
        check(encode(1, type_of(int)), type_)
    with pytest.raises(InvalidInput, match="Input `place` of workflow `north` expects GeoPoint"):
        north.run_local(place=[1.0])


def test_what_is_registered_is_listed_after_what_mwfs_brings() -> None:
    found = {(one.name, one.version): one for one in registered_types()}
    assert found["Metrics", 1].site is None
    assert (found["Temperature", 2].cls, [one.version for one in found["Temperature", 2].type.semantic.reads]) == (
        Temperature,
        [1],
    )
    site = found["Embedding", 1].site
    assert site is not None
    assert Path(site.file).name == "test_type_registry.py"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "Dataset"}, "the name belongs to mwfs"),
        ({"name": "Date"}, "the name belongs to mwfs"),
        ({"name": "Two words", "travels_as": int, "encode": int, "decode": int}, "the name is no identifier"),
        ({"name": 3, "travels_as": int, "encode": int}, "the name is no str"),
        ({"name": "Pﬁx", "travels_as": int, "encode": int}, "not in the Unicode form NFKC"),
        ({"name": "dataset", "travels_as": int, "encode": int}, "differs from `Dataset` only by case"),
        ({"name": "Geopoint", "travels_as": int, "encode": int}, "differs from `GeoPoint` only by case"),
        ({"name": "X", "travels_as": int, "encode": "int"}, "`encode` cannot be called"),
        ({"name": "X", "travels_as": int, "encode": int, "decode": 3}, "`decode` cannot be called"),
        ({"name": "X", "travels_as": int, "encode": int, "viewer": 3}, "`viewer` or `widget` is no str"),
        ({"name": "X", "version": True, "travels_as": int, "encode": int}, "the version is no int from 1"),
        (
            {"name": "X", "version": 2, "travels_as": int, "encode": int, "reads": {1: int}},
            "how older versions travelled",
        ),
        ({"name": "X", "version": 2, "travels_as": int, "encode": int, "reads": [1]}, "how older versions travelled"),
        ({"name": "X"}, "it is not said how values travel"),
        ({"name": "X", "version": 2, "reads": {1: (int, int)}}, "layouts in `reads` need `travels_as`"),
        (
            {"name": "X", "version": 2, "travels_as": int, "encode": int, "decode": int, "reads": {1: None}},
            "does not say how an older version travelled",
        ),
        ({"name": "X", "travels_as": int}, "`travels_as` needs `encode`"),
        ({"name": "X", "encode": str, "decode": str}, "need `travels_as`"),
        ({"name": "X", "travels_as": set[int], "encode": set, "decode": set}, "Use list"),
        ({"name": "X", "version": 0, "travels_as": int, "encode": int, "decode": int}, "the version is no int from 1"),
        (
            {"name": "X", "travels_as": int, "encode": int, "decode": int, "reads": {1: (int, int)}},
            "versions that are not older",
        ),
        ({"name": "X", "travels_as": int, "encode": int, "decode": int, "viewer": "a\nb"}, "printable name"),
        (
            {
                "name": "X",
                "version": 2,
                "travels_as": float,
                "encode": float,
                "decode": float,
                "reads": {1: (int, float)},
            },
            "values of version 1 look like those of version 2",
        ),
        (
            {
                "name": "X",
                "version": 3,
                "travels_as": str,
                "encode": str,
                "decode": str,
                "reads": {1: (int, str), 2: (Literal[2, 3], str)},
            },
            "values of version 1 look like those of version 2",
        ),
        ({"name": "GeoPoint", "version": 3, "travels_as": int, "encode": int, "decode": int}, "both have it"),
    ],
)
def test_what_makes_no_sense_is_refused_at_the_users_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(BadDefinition) as refused:
        mwfs.register_type(**arguments)(type("Fresh", (), {}))
    assert message in str(refused.value)
    assert refused.value.site is not None
    assert Path(refused.value.site.file).name == "test_type_registry.py"
    assert ("X", 1) not in {(one.name, one.version) for one in registered_types()}


@pytest.mark.parametrize("what", [int, 5, lambda: 0])
def test_only_a_class_of_the_user_is_registered(what: Any) -> None:
    with pytest.raises(BadDefinition, match="is no class of yours"):
        mwfs.register_type("X", travels_as=int, encode=int)(what)


def test_a_subclass_says_anew_how_it_travels() -> None:
    with pytest.raises(BadDefinition, match="objects of the class that it inherits from"):
        mwfs.register_type("Warmth")(type("Warmth", (Temperature,), {}))


def test_a_value_that_the_encoder_gets_wrong_is_a_typed_error() -> None:
    @mwfs.register_type("Broken", travels_as=int, encode=lambda one: "text", decode=int)
    class Broken:
        pass

    with pytest.raises(BadValue, match="expected int, found 'text'"):
        encode(Broken(), type_of(Broken))
