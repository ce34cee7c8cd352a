"""Directory, Checkpoint, FeatureSet, HyperparameterSet and Model: as inputs, as results, and where they are refused."""

import gc
import json
import math
import os
import pickle
import shutil
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mwfs
from mwfs import Checkpoint, Dataset, Directory, FeatureSet, File, HyperparameterSet, Metrics, Model
from mwfs.cli.inputs import read_inputs
from mwfs.client.outputs import plain_value
from mwfs.compiler import compile_values
from mwfs.errors import BadResult, InvalidInput
from mwfs.invoke import invoke
from mwfs.local_files import LocalFiles
from mwfs.local_run import run_dag
from mwfs_api.types.v1 import types_pb2
from mwfs_types.annotations import type_of
from mwfs_types.errors import BadValue
from mwfs_types.json_schema import schema_of, value_from_json, value_to_json
from mwfs_types.values import check, decode, encode


class Click(NamedTuple):
    user: int
    clicks: int


class Features(NamedTuple):
    length: float
    width: float


class Told(NamedTuple):
    files: list[str]
    step: int
    best: float
    depth: int
    features: list[str]
    takes: str


@mwfs.operator
def make_folder(text: str) -> Directory:
    folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"mwfs-test-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.txt").write_text(text)
    return Directory(folder)


@mwfs.operator
def train(data: Directory, settings: HyperparameterSet) -> Checkpoint:
    return Checkpoint(data / "sub" / "a.txt", step=12, epoch=2, metrics=Metrics(loss=0.25))


@mwfs.operator
def fit(rows: FeatureSet[Click]) -> Model[Features, int]:
    return Model({"rows": len(list(rows.data.records()))})


@mwfs.operator
def tell(
    folder: Directory,
    at: Checkpoint,
    settings: HyperparameterSet,
    rows: FeatureSet[Click],
    model: Model[Features, int],
) -> Told:
    assert at.path.read_text() == (folder / "sub" / "a.txt").read_text()
    assert model.estimator == {"rows": 2}
    depth = settings["depth"]
    assert isinstance(depth, int)
    return Told(folder.files(), at.step, at.metrics["loss"], depth, rows.features, str(model.signature))


@mwfs.workflow
def everything(settings: HyperparameterSet, rows: FeatureSet[Click], text: str = "abc") -> Told:
    folder = make_folder(text)
    return tell(folder, train(folder, settings), settings, rows, fit(rows))


@mwfs.workflow
def of_paths(folder: Directory, start: Checkpoint) -> Directory:
    return folder


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "clicks.csv"
    path.write_text("user,clicks,at\n1,2,2026-01-01\n2,3,2026-01-02\n")
    return path


def test_all_of_them_travel_through_a_workflow(rows: Path) -> None:
    settings = HyperparameterSet(depth=4, rate=0.5, solver="adam", warm=True)
    told = everything.run_local(settings=settings, rows=FeatureSet(rows, keys=["user"], time="at"))
    assert told == Told(["sub/a.txt"], 12, 0.25, 4, ["clicks"], "Features → int")


def test_paths_and_documents_on_the_command_line(rows: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(b"123")
    typed = read_inputs(of_paths, [f"folder={folder}", f"start={rows}"], None)
    dag = compile_values(of_paths, typed.values, typed.files)
    outputs = run_dag(dag, typed.files)
    assert decode(outputs["result"], Directory, typed.files).files() == ["weights.bin"]
    documents = ['settings={"depth": 3, "rate": 0.5}', f'rows={{"data": "{rows}", "keys": ["user"]}}']
    typed = read_inputs(everything, documents, None)
    assert decode(typed.values["settings"], HyperparameterSet) == HyperparameterSet(depth=3, rate=0.5)
    assert decode(typed.values["rows"], FeatureSet[Click], typed.files).features == ["clicks", "at"]
    with pytest.raises(InvalidInput, match=r"expected a folder, found .*which is a file"):
        read_inputs(of_paths, [f"folder={rows}"], None)
    with pytest.raises(InvalidInput, match="expected a file, found /no/such/file, which is not there"):
        read_inputs(of_paths, ["start=/no/such/file"], None)


def test_features_without_their_keys_are_refused(rows: Path) -> None:
    message = r"expects FeatureSet\[Click\] with person, at, found clicks\.csv with no column `person`"
    with pytest.raises(InvalidInput, match=message):
        everything.run_local(settings=HyperparameterSet(), rows=FeatureSet(rows, keys=["person"], time="at"))
    for keys, time in [([], None), (["a", "a"], None), (["a"], "a")]:
        with pytest.raises(ValueError, match="different key columns"):
            FeatureSet(rows, keys=keys, time=time)
    assert FeatureSet(rows, keys="user").keys == ("user",)


def test_features_given_as_a_path_only_are_told_how_to_say_their_keys(rows: Path) -> None:
    with pytest.raises(InvalidInput, match="FeatureSet with its key columns, found only a path") as refused:
        everything.run_local(settings=HyperparameterSet(), rows=rows)
    assert 'FeatureSet("clicks.csv", keys=["user"])' in str(refused.value)
    with pytest.raises(InvalidInput, match="FeatureSet with its key columns, found only a path"):
        read_inputs(everything, [f"rows={rows}"], None)


def typed(workflow: Any, **documents: Any) -> Any:
    """The inputs of a workflow as the command line reads them."""
    pairs = [f"{name}={json.dumps(document)}" for name, document in documents.items()]
    read = read_inputs(workflow, pairs, None)
    (value,) = read.values.values()
    return decode(value, workflow.parameters[0].annotation, read.files)


def test_documents_with_paths_are_checked_like_values(rows: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(b"123")
    assert typed(of_features, value={"data": str(rows), "keys": ["user"], "time": "at"}).features == ["clicks"]
    at = typed(of_checkpoint, value={"content": str(folder), "step": 3, "metrics": {"loss": 0.5}})
    assert ((at.path / "weights.bin").read_bytes(), at.step, dict(at.metrics)) == (b"123", 3, {"loss": 0.5})
    rows.write_text("user,clicks,at\n1,many,2026-01-01\n")
    for workflow, document, message in [
        (of_features, {"data": str(rows), "keys": ["user"]}, "column `clicks` row 1: 'many' is not int"),
        (of_features, {"data": str(rows), "keys": ["person"]}, "no column `person`"),
        (of_features, {"data": str(rows), "keys": "user"}, "column `clicks` row 1"),
        (of_features, {"data": str(rows)}, r"`value\.keys`: expected list\[str\], found nothing"),
        (of_features, {"data": str(rows), "keys": []}, "one or more different key columns"),
        (of_features, {"data": str(rows), "keys": ["user"], "tim": "at"}, "tim"),
        (of_features, {"data": "/no/such/file", "keys": ["user"]}, "which is not there"),
        (of_checkpoint, {"content": str(folder), "step": 1.5}, r"`value\.step`: expected int"),
        (of_checkpoint, {"content": str(rows), "metrics": [1]}, r"`value\.metrics`"),
        (of_checkpoint, {"content": 3}, "`value"),
    ]:
        with pytest.raises(InvalidInput, match=message):
            typed(workflow, value=document)


@mwfs.operator
def same_dataset(value: Dataset[Click]) -> Dataset[Click]:
    return Dataset.from_rows(value.records())


@mwfs.operator
def same_features(value: FeatureSet[Click]) -> FeatureSet[Click]:
    return FeatureSet(Dataset[Click].from_rows(value.data.records()), keys=value.keys, time=value.time)


@mwfs.operator
def same_model(value: Model[Features, int]) -> Model[Features, int]:
    return Model(value.estimator)


@mwfs.operator
def same_checkpoint(value: Checkpoint) -> Checkpoint:
    return Checkpoint(value.path, step=value.step, epoch=value.epoch, metrics=value.metrics)


@mwfs.operator
def same_metrics(value: Metrics) -> Metrics:
    return Metrics(value)


@mwfs.operator
def same_hyperparameters(value: HyperparameterSet) -> HyperparameterSet:
    return value.with_values()


@mwfs.operator
def same_file(value: File) -> File:
    return File.from_bytes(value.read_bytes())


@mwfs.operator
def same_directory(value: Directory) -> Directory:
    return Directory(value.path)


@mwfs.workflow
def of_dataset(value: Dataset[Click]) -> Dataset[Click]:
    return same_dataset(value)


@mwfs.workflow
def of_features(value: FeatureSet[Click]) -> FeatureSet[Click]:
    return same_features(value)


@mwfs.workflow
def of_model(value: Model[Features, int]) -> Model[Features, int]:
    return same_model(value)


@mwfs.workflow
def of_checkpoint(value: Checkpoint) -> Checkpoint:
    return same_checkpoint(value)


@mwfs.workflow
def of_metrics(value: Metrics) -> Metrics:
    return same_metrics(value)


@mwfs.workflow
def of_hyperparameters(value: HyperparameterSet) -> HyperparameterSet:
    return same_hyperparameters(value)


@mwfs.workflow
def of_file(value: File) -> File:
    return same_file(value)


@mwfs.workflow
def of_directory(value: Directory) -> Directory:
    return same_directory(value)


def seen(value: Any) -> Any:
    """What a user can read from a value."""
    match value:
        case Dataset():
            return list(value.records())
        case FeatureSet():
            return value.keys, value.time, seen(value.data)
        case Model():
            return value.estimator, str(value.signature)
        case Checkpoint():
            return value.path.read_bytes(), value.step, value.epoch, dict(value.metrics)
        case File():
            return value.read_bytes()
        case Directory():
            return {name: (value / name).read_bytes() for name in value.files()}
    return {name: (type(one), one) for name, one in value.items()}


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """Paths to give as inputs."""
    (tmp_path / "folder" / "sub").mkdir(parents=True)
    (tmp_path / "folder" / "sub" / "a.bin").write_bytes(b"\0\1")
    (tmp_path / "clicks.csv").write_text("user,clicks\n1,2\n2,3\n")
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"a": 1}))
    return {name: tmp_path / name for name in ("folder", "clicks.csv", "model.pkl")}


CASES: dict[str, tuple[Any, str, Any]] = {
    "Dataset": (of_dataset, "clicks.csv", [Click(1, 2), Click(2, 3)]),
    "Model": (of_model, "model.pkl", ({"a": 1}, "Features → int")),
    "Checkpoint": (of_checkpoint, "model.pkl", (pickle.dumps({"a": 1}), 0, 0, {})),
    "File": (of_file, "model.pkl", pickle.dumps({"a": 1})),
    "Directory": (of_directory, "folder", {"sub/a.bin": b"\0\1"}),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("as_text", [True, False])
def test_a_path_is_enough_for_an_input_that_is_a_file(name: str, as_text: bool, places: dict[str, Path]) -> None:
    workflow, place, expected = CASES[name]
    path = places[place]
    assert seen(workflow.run_local(value=str(path) if as_text else path)) == expected
    typed = read_inputs(workflow, [f"value={path}"], None)
    outputs = run_dag(compile_values(workflow, typed.values, typed.files), typed.files)
    assert seen(decode(outputs["result"], workflow.parameters[0].annotation, typed.files)) == expected


def test_values_with_more_to_them_come_back_whole(places: dict[str, Path]) -> None:
    at = Checkpoint(places["model.pkl"], step=12, epoch=2, metrics={"loss": 0.5})
    assert seen(of_checkpoint.run_local(value=at)) == (pickle.dumps({"a": 1}), 12, 2, {"loss": 0.5})
    features: Any = FeatureSet(places["clicks.csv"], keys=["user"], time="clicks")
    assert seen(of_features.run_local(value=features)) == (("user",), "clicks", [Click(1, 2), Click(2, 3)])
    settings = HyperparameterSet(depth=4, rate=1.0, solver="adam", warm=True)
    assert seen(of_hyperparameters.run_local(value=settings)) == seen(settings)
    metrics = Metrics({"f1/macro": 1, "loss": math.inf})
    assert seen(of_metrics.run_local(value=metrics)) == seen(metrics)


def test_a_checkpoint_is_of_a_file_or_a_folder() -> None:
    with pytest.raises(TypeError, match="a path, a File or a Directory, found NoneType"):
        Checkpoint(None)  # type: ignore[arg-type]


def test_checkpoints_count_in_whole_numbers(places: dict[str, Path]) -> None:
    with pytest.raises(InvalidInput, match=r"Input `value\.step` of workflow `of_checkpoint` expects int, found 1\.5"):
        of_checkpoint.run_local(value=Checkpoint(places["model.pkl"], step=1.5))  # type: ignore[arg-type]


@mwfs.operator
def wrong_file(n: int) -> File:
    return File("/no/such/file")


@mwfs.operator
def wrong_dataset(n: int) -> Dataset[Click]:
    return Dataset(Path(__file__).parent)


@mwfs.operator
def wrong_model(n: int) -> Model:
    return Model(lambda row: row)


@mwfs.operator
def wrong_settings(n: int) -> HyperparameterSet:
    return {"depth": n}  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        (wrong_file, "returned /no/such/file, which is not there, where a file was expected"),
        (wrong_dataset, "which is a folder, where a file was expected"),
        (wrong_model, "returned function (Can't pickle"),
        (wrong_settings, "Write HyperparameterSet({…})"),
    ],
)
def test_results_that_cannot_be_kept_are_bad_results_at_the_operator(operator: Any, message: str) -> None:
    with pytest.raises(BadResult) as refused:
        invoke(operator, [encode(1, type_of(int))], LocalFiles(copies=True))
    assert message in str(refused.value)
    assert refused.value.site is not None
    assert Path(refused.value.site.file).name == Path(__file__).name


def test_reading_keeps_what_is_read() -> None:
    assert list(Dataset.from_rows([Click(1, 2)]).rows()) == [{"user": "1", "clicks": "2"}]
    dataset = Dataset.from_rows([Click(1, 2)])
    dataset.__mwfs_declared__(Dataset[Click])
    records = dataset.records()
    del dataset
    gc.collect()
    assert list(records) == [Click(1, 2)]


def record(*fields: types_pb2.Value) -> types_pb2.Value:
    return types_pb2.Value(record=types_pb2.RecordValue(fields=fields))


def test_records_that_are_not_what_they_should_be_are_refused(places: dict[str, Path]) -> None:
    files = LocalFiles()
    good = encode(FeatureSet(places["clicks.csv"], keys=["user"]), type_of(FeatureSet), files)
    data, keys, time = good.record.fields
    none = types_pb2.Value(list=types_pb2.ListValue())
    for wrong in (record(), record(data, keys), record(data, none, time), record(data, keys, keys), record(data, time)):
        with pytest.raises(BadValue):
            decode(wrong, FeatureSet, files)
    with pytest.raises(BadValue, match="Checkpoint as a record of 4 fields"):
        decode(good, Checkpoint, files)


async def test_outputs_of_these_types_are_shown_by_their_fields(places: dict[str, Path]) -> None:
    async def read(artifact: types_pb2.Artifact) -> bytes:
        raise AssertionError

    files = LocalFiles()
    at: Any = Checkpoint(places["model.pkl"], step=3, metrics={"loss": 0.5})
    shown: Any = await plain_value(encode(at, type_of(Checkpoint), files), type_of(Checkpoint), read)
    assert shown["content"].file_name == "model.pkl"
    assert {**shown, "content": None} == {"content": None, "step": 3, "epoch": 0, "metrics": {"loss": 0.5}}
    features: Any = FeatureSet(places["clicks.csv"], keys=["user"])
    shown = await plain_value(encode(features, type_of(FeatureSet[Click]), files), type_of(FeatureSet[Click]), read)
    assert (shown["data"].type, shown["keys"], shown["time"]) == ("Dataset", ["user"], None)
    settings: Any = HyperparameterSet(depth=3)
    shown = await plain_value(encode(settings, type_of(HyperparameterSet)), type_of(HyperparameterSet), read)
    assert shown == {"depth": 3}


@given(st.dictionaries(st.text(max_size=5), st.floats(), max_size=5))
def test_metrics_come_back_equal(values: dict[str, float]) -> None:
    type_ = type_of(Metrics)
    value = encode(Metrics(values), type_)
    check(value, type_)
    assert {name: struct.pack("d", one) for name, one in decode(value, Metrics).items()} == {
        name: struct.pack("d", one) for name, one in values.items()
    }
    if all(map(math.isfinite, values.values())):
        assert value_from_json(value_to_json(value, type_), type_) == value


def test_a_signature_is_a_schema() -> None:
    model: Model[Features, int] = Model(None)
    assert model.signature is None
    model.__mwfs_declared__(Model[Features, int])
    assert model.signature is not None
    assert list(model.signature.input_schema()["properties"]) == ["length", "width"]
    assert model.signature.prediction_schema() == {"type": "integer"}


def test_every_semantic_type_has_a_schema_and_refuses_other_values() -> None:
    for cls in (Checkpoint, Dataset, Directory, FeatureSet, HyperparameterSet, Metrics, Model):
        assert schema_of(type_of(cls))["x-mwfs-semantic"]["name"] == cls.__name__
        with pytest.raises(BadValue):
            value_from_json([1], type_of(cls))
        with pytest.raises(BadValue):
            check(encode(3, type_of(int)), type_of(cls))
        with pytest.raises(BadValue):
            encode(3, type_of(cls))


SETTINGS = st.dictionaries(
    st.text(max_size=5),
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    max_size=4,
)


@given(SETTINGS)
def test_hyperparameters_keep_their_types(values: dict[str, Any]) -> None:
    type_ = type_of(HyperparameterSet)
    value = encode(HyperparameterSet(values), type_)
    check(value, type_)
    decoded = decode(value, HyperparameterSet)
    assert {name: (type(one), one) for name, one in decoded.items()} == {
        name: (type(one), one) for name, one in values.items()
    }
    assert value_from_json(value_to_json(value, type_), type_) == value


@pytest.mark.parametrize("value", ["0.9", True, np.bool_(True), None, [1]])
def test_a_metric_is_a_number_and_told_by_its_name(value: Any) -> None:
    with pytest.raises(TypeError, match="The metric 'loss' must be a number, found "):
        Metrics(loss=value)


def test_metrics_take_the_numbers_of_libraries() -> None:
    class Tensor:
        def __float__(self) -> float:
            return 0.5

    assert Metrics(a=np.float32(0.5), b=np.int64(1), c=Tensor()) == {"a": 0.5, "b": 1.0, "c": 0.5}  # type: ignore[arg-type]


def test_a_feature_set_names_its_columns_by_text() -> None:
    for names in ({"keys": [1]}, {"keys": "user", "time": 2}):
        with pytest.raises(TypeError, match="names its columns as str, found"):
            FeatureSet("clicks.csv", **names)


def test_hyperparameters_that_cannot_travel() -> None:
    with pytest.raises(BadValue, match="an int of 64 bits"):
        encode(HyperparameterSet(seed=2**64), type_of(HyperparameterSet))
    with pytest.raises(BadValue, match=r"expected bool \| int \| float \| str"):
        encode(HyperparameterSet({"layers": [1, 2]}), type_of(HyperparameterSet))  # type: ignore[dict-item]
    assert HyperparameterSet(a=1).with_values(a=2, b="x") == HyperparameterSet(a=2, b="x")
