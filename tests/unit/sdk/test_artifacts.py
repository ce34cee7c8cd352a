"""The object store keeps bytes under their digest, gives back exactly those, and says so when it cannot."""

from pathlib import Path

import pytest

from mwfs.artifacts import INLINE_LIMIT, Artifact, ArtifactStore, Store, key_of, safe_name
from mwfs.errors import ArtifactDamaged, ArtifactMissing, MwfsError
from mwfs.local_files import LocalFiles
from mwfs.types import Dataset, File, Metrics, Model
from mwfs_api.types.v1 import types_pb2


@pytest.fixture(params=["folder", "url", "local"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return LocalFiles()
    root = tmp_path / "artifacts"
    return ArtifactStore(root if request.param == "folder" else f"file://{root}")


def test_bytes_come_back(store: Store) -> None:
    artifact = store.put_bytes(b"hello", "text", "greeting.txt")
    assert (artifact.size, artifact.encoding, artifact.file_name) == (5, "text", "greeting.txt")
    assert store.get_bytes(artifact) == b"hello"
    assert store.fetch(artifact).read_bytes() == b"hello"
    assert store.put_bytes(b"hello", "text", "greeting.txt") == artifact


def test_file_comes_back_under_its_name(store: Store, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(b"a\n1\n")
    artifact = store.put_file(tmp_path / "table.csv", "csv")
    fetched = store.fetch(artifact)
    assert (fetched.name, fetched.read_bytes()) == ("table.csv", b"a\n1\n")


def test_missing_artifact(store: Store) -> None:
    nowhere = Artifact(digest="sha256:" + "0" * 64, encoding="file", file_name="gone.csv")
    for read in (store.get_bytes, store.fetch):
        with pytest.raises(ArtifactMissing):
            read(nowhere)


def test_damaged_artifact_is_never_given_out(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    artifact = store.put_bytes(b"hello", "file")
    (tmp_path / key_of(artifact.digest)).write_bytes(b"HELLO")
    for read in (store.get_bytes, store.fetch):
        with pytest.raises(ArtifactDamaged):
            read(artifact)


def test_artifact_lies_under_its_digest(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    digest = store.put_bytes(b"hello", "file").digest
    assert (tmp_path / "sha256" / digest[7:9] / digest[9:]).read_bytes() == b"hello"
    assert store.has(digest)
    assert not store.has("sha256:" + "1" * 64)


@pytest.mark.parametrize("digest", ["", "sha256:..", "sha256:" + "A" * 64, "../../etc/passwd", "md5:" + "0" * 32])
def test_malformed_digest_never_becomes_a_path(digest: str) -> None:
    with pytest.raises(MwfsError, match="not a digest"):
        key_of(digest)


@pytest.mark.parametrize(
    ("name", "safe"),
    [("../../etc/passwd", "passwd"), ("a\\b\\c.csv", "c.csv"), ("..", ""), ("", ""), ("x\0y", "xy"), ("/", "")],
)
def test_file_names_from_outside_are_only_names(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_file_like_values_come_back(store: Store) -> None:
    text = store.load(store.save(File.from_text("hi", "a.txt"), "File"), File)
    rows = store.load(store.save(Dataset.from_rows([{"x": 1, "y": "z"}]), "Dataset"), Dataset)
    model = store.load(store.save(Model([1, 2]), "Model"), Model)
    assert text.read_text() == "hi"
    assert (text.name, rows.columns, list(rows.rows())) == ("a.txt", ["x", "y"], [{"x": "1", "y": "z"}])
    assert model.estimator == [1, 2]


def test_passing_a_value_on_stores_nothing_new(store: Store) -> None:
    first = store.save(Dataset.from_rows([{"x": 1}]), "Dataset")
    assert store.save(store.load(first, Dataset), "Dataset") == first


def test_only_large_values_become_artifacts(store: Store) -> None:
    small = types_pb2.Value(text="x")
    large = types_pb2.Value(data=b"x" * INLINE_LIMIT)
    assert store.spill(small) is small
    spilled = store.spill(large)
    assert spilled.artifact.encoding == "value"
    assert store.load(spilled.artifact, types_pb2.Value) == large


def test_memory_store_by_url_needs_no_folder() -> None:
    store = ArtifactStore("memory:///")
    artifact = store.put_bytes(b"far away", "file", "far.txt")
    assert store.get_bytes(artifact) == b"far away"
    assert store.fetch(artifact).read_bytes() == b"far away"
    assert store.has(artifact.digest)
    with pytest.raises(ArtifactMissing):
        store.fetch(Artifact(digest="sha256:" + "0" * 64))


def test_dataset_reads_as_a_frame_and_back() -> None:
    pytest.importorskip("pandas")
    frame = Dataset.from_rows([{"x": 1, "y": 2.5}, {"x": 2, "y": 3.5}]).read()
    assert frame["y"].sum() == 6.0
    assert list(Dataset.from_frame(frame).rows())[1] == {"x": "2", "y": "3.5"}


def test_metrics_are_a_mapping_of_numbers() -> None:
    metrics = Metrics({"f1/macro": 1}, accuracy=0.5)
    assert dict(metrics) == {"f1/macro": 1.0, "accuracy": 0.5}
    assert repr(metrics) == "Metrics({'f1/macro': 1.0, 'accuracy': 0.5})"
