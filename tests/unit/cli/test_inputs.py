"""Inputs as they are typed: name=value against the workflow's types."""

import enum
import json
from dataclasses import dataclass

import pytest

import mwfs
from mwfs.artifacts import hash_file
from mwfs.cli.inputs import read_inputs
from mwfs.errors import InvalidInput


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclass
class Split:
    share: float
    source: mwfs.File | None = None


@mwfs.workflow
def everything(
    count: int = 1,
    rate: float = 0.5,
    fast: bool = False,
    name: str = "",
    colour: Colour = Colour.RED,
    limit: int | None = None,
    depths: list[int] = [],  # noqa: B006
    weights: dict[str, float] = {},  # noqa: B006
    split: Split = Split(0.5),
    table: mwfs.Dataset | None = None,
    files: list[mwfs.File] = [],  # noqa: B006
) -> None:
    return None


def value_of(pair: str):
    name = pair.partition("=")[0]
    return read_inputs(everything, [pair], None).values[name]


@pytest.mark.parametrize(
    ("pair", "field", "expected"),
    [
        ("count=3", "integer", 3),
        ("count=-3", "integer", -3),
        ("rate=3", "number", 3.0),
        ("rate=1e-3", "number", 0.001),
        ("fast=true", "boolean", True),
        ("fast=False", "boolean", False),
        ("name=3", "text", "3"),
        ("name=a=b", "text", "a=b"),
        ("name=[1]", "text", "[1]"),
        ("name=", "text", ""),
        ("colour=BLUE", "member", "BLUE"),
        ("limit=4", "integer", 4),
        ("limit=null", "null", True),
    ],
)
def test_scalars_are_written_plainly(pair, field, expected):
    value = value_of(pair)
    assert value.WhichOneof("kind") == field
    assert getattr(value, field) == expected


def test_all_else_is_json():
    assert [item.integer for item in value_of("depths=[1, 2]").list.items] == [1, 2]
    assert list(value_of('weights={"a": 1}').map.keys) == ["a"]
    assert value_of('split={"share": 0.25}').record.fields[0].number == 0.25


def test_paths_stand_for_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("x\n1\n")
    digest, size = hash_file(tmp_path / "a.csv")
    typed = read_inputs(everything, ["table=a.csv", 'files=["a.csv"]', 'split={"share": 1, "source": "a.csv"}'], None)
    artifact = typed.values["table"].artifact
    assert (artifact.digest, artifact.size, artifact.encoding, artifact.file_name) == (digest, size, "csv", "a.csv")
    assert typed.values["files"].list.items[0].artifact.encoding == "file"
    assert typed.values["split"].record.fields[1].artifact.digest == digest
    assert typed.files.paths == {digest: tmp_path / "a.csv"}


def test_a_file_of_inputs_gives_way_to_typed_ones(tmp_path):
    path = tmp_path / "inputs.json"
    path.write_text(json.dumps({"count": 2, "depths": [1]}), encoding="utf-8-sig")
    values = read_inputs(everything, ["count=5"], str(path)).values
    assert values["count"].integer == 5
    assert values["depths"].list.items[0].integer == 1


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("count=three", r"Input `count`: expected int, found 'three'"),
        ("count=2.5", r"Input `count`: expected int, found 2\.5"),
        ("fast=maybe", r"Input `fast`: expected bool"),
        ("colour=GREEN", r"Input `colour`: expected"),
        ("depths=[1, true]", r"Input `depths\[1\]`: expected int"),
        ("depths=1,2", r"must be written as JSON.*--input 'depths=\[1, 2, 3\]'"),
        ('split={"shares": 1}', r"Input `split"),
        ("table=missing.csv", r"Input `table`: expected a file, found missing\.csv, which is not there"),
        ('files=["missing.csv"]', r"Input `files\[0\]`: expected a file, found missing\.csv"),
        ("cuont=1", r"no input `cuont`.*Did you mean `count`\?"),
        ("depths=" + "[" * 100_000, r"must be written as JSON; '\[+'… is not \(expected JSON of reasonable depth"),
        ("depths=[NaN]", "found NaN"),
        ("count", "is not NAME=VALUE"),
        ("=1", "is not NAME=VALUE"),
    ],
)
def test_what_is_wrong_is_named(pair, said):
    with pytest.raises(InvalidInput, match=said):
        read_inputs(everything, [pair], None)


@pytest.mark.parametrize(
    "text", ["[1]", "{", "3", '{"count": 1, "count": 2}', '{"count": NaN}', '{"a": ' + "[" * 100_000]
)
def test_a_file_of_inputs_must_be_an_object(tmp_path, text):
    path = tmp_path / "inputs.json"
    path.write_text(text)
    with pytest.raises(InvalidInput, match="Write an object"):
        read_inputs(everything, [], str(path))
