"""Every kind of type, scalar, constraint and semantic type of this version goes there and back; a new one without a case fails here."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from builders.annotated import EVERY_SORT
from hypothesis import given, settings
from hypothesis import strategies as st

from mwfs import Checkpoint, Dataset, Directory, FeatureSet, File, Model
from mwfs.local_files import LocalFiles
from mwfs_api.types.v1 import types_pb2
from mwfs_types.annotations import type_of
from mwfs_types.json_schema import value_from_json, value_to_json
from mwfs_types.semantics import BUILT_IN
from mwfs_types.values import check, decode, encode


class Sample(NamedTuple):
    key: int
    text: str
    size: float | None


def parts_of(message: Any) -> Iterator[types_pb2.Type]:
    """Every Type inside of a message."""
    if isinstance(message, types_pb2.Type):
        yield message
    for field, found in message.ListFields():
        if field.message_type is not None:
            for one in found if field.is_repeated else [found]:
                yield from parts_of(one)


ROWS = st.lists(
    st.builds(Sample, st.integers(-5, 5), st.text("ab,\"é\n'", min_size=1), st.none() | st.floats(allow_nan=False)),
    min_size=1,
    max_size=3,
)
CONTENT = st.binary(max_size=20)
NUMBERS = st.integers(-(2**63), 2**63 - 1)
SCORES = st.dictionaries(st.text(max_size=3), st.floats(allow_nan=False, allow_infinity=False), max_size=2)


def folder_of(contents: dict[str, bytes]) -> Directory:
    made = Directory("")
    made._path = made._scratch()
    for name, content in contents.items():
        (made._path / name).write_bytes(content)
    return made


def checkpoint_of(content: bytes, step: int, epoch: int, metrics: dict[str, float]) -> Checkpoint:
    return Checkpoint(File.from_bytes(content), step=step, epoch=epoch, metrics=metrics)


def features_of(rows: list[Sample], time: str | None) -> FeatureSet[Sample]:
    return FeatureSet(Dataset[Sample].from_rows(rows), keys=["key"], time=time)


#: Name → annotation, objects, and what a user can read from one.
WITH_FILES: dict[str, tuple[Any, "st.SearchStrategy[Any]", Callable[[Any], object]]] = {
    "File": (File, st.builds(File.from_bytes, CONTENT), lambda file: file.read_bytes()),
    "Directory": (
        Directory,
        st.builds(folder_of, st.dictionaries(st.sampled_from(["a", "é", "b.txt"]), CONTENT)),
        lambda folder: {name: (folder / name).read_bytes() for name in folder.files()},
    ),
    "Dataset": (Dataset[Sample], st.builds(Dataset[Sample].from_rows, ROWS), lambda data: list(data.rows())),
    "FeatureSet": (
        FeatureSet[Sample],
        st.builds(features_of, ROWS, st.sampled_from([None, "size"])),
        lambda features: (features.keys, features.time, features.features, list(features.data.rows())),
    ),
    "Model": (
        Model[Sample, int],
        st.builds(Model, st.dictionaries(st.text(max_size=3), st.none() | NUMBERS)),
        lambda model: model.estimator,
    ),
    "Checkpoint": (
        Checkpoint,
        st.builds(checkpoint_of, CONTENT, NUMBERS, NUMBERS, SCORES),
        lambda at: (at.path.read_bytes(), at.step, at.epoch, dict(at.metrics)),
    ),
}


def test_the_strategies_have_every_kind_scalar_constraint_and_semantic_type() -> None:
    found = [part for annotation in EVERY_SORT for part in parts_of(type_of(annotation))]
    kinds = types_pb2.Type.DESCRIPTOR.oneofs_by_name["kind"].fields
    assert {part.WhichOneof("kind") for part in found} == {field.name for field in kinds}
    scalars = set(types_pb2.ScalarKind.values()) - {types_pb2.SCALAR_KIND_UNSPECIFIED}
    assert {part.scalar for part in found if part.HasField("scalar")} == scalars
    narrowed = {field.name for part in found for field, _ in part.constraints.ListFields()}
    assert narrowed == set(types_pb2.Constraints.DESCRIPTOR.fields_by_name)
    assert {part.semantic.name for part in found} >= BUILT_IN - set(WITH_FILES)


@pytest.mark.parametrize("name", WITH_FILES)
def test_files_come_back_equal(name: str) -> None:
    annotation, objects, seen = WITH_FILES[name]
    type_ = type_of(annotation)

    @settings(deadline=None, max_examples=15)
    @given(objects)
    def come_back(obj: Any) -> None:
        files = LocalFiles()
        value = types_pb2.Value.FromString(encode(obj, type_, files).SerializeToString())
        check(value, type_)
        assert value_from_json(value_to_json(value, type_), type_) == value
        assert seen(decode(value, annotation, files)) == seen(obj)

    come_back()
