"""What goes into a code bundle, and that equal folders give equal bundles."""

import importlib
import io
import os
import zipfile
from pathlib import Path

import pytest

from mwfs.bundle import BadBundle, BundleTooLarge, build_bundle, extract_bundle, project_root
from mwfs.errors import NotLoadable


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    (folder / "bundled_pkg" / "nested").mkdir(parents=True)
    (folder / "bundled_pkg" / "__init__.py").write_text("")
    (folder / "bundled_pkg" / "nested" / "__init__.py").write_text("")
    (folder / "bundled_pkg" / "nested" / "flow.py").write_text("X = 1\n")
    (folder / "bundled_pkg" / "table.json").write_text("{}")
    (folder / "bundled_single.py").write_text("Y = 1\n")
    monkeypatch.syspath_prepend(folder)
    importlib.invalidate_caches()
    return folder


def test_a_bundle_holds_the_folder_of_the_top_level_package(folder: Path) -> None:
    bundle = build_bundle("bundled_pkg.nested.flow")
    assert bundle is not None
    assert bundle.root == folder
    assert bundle.files == (
        "bundled_pkg/__init__.py",
        "bundled_pkg/nested/__init__.py",
        "bundled_pkg/nested/flow.py",
        "bundled_pkg/table.json",
        "bundled_single.py",
    )
    assert bundle.size == len(bundle.data)


def test_a_module_and_a_package_of_one_folder_share_a_bundle(folder: Path) -> None:
    one, other = build_bundle("bundled_single"), build_bundle("bundled_pkg")
    assert one is not None
    assert other is not None
    assert one.digest == other.digest


def test_touching_a_file_changes_nothing_and_editing_it_does(folder: Path) -> None:
    first = build_bundle("bundled_pkg")
    os.utime(folder / "bundled_single.py", (1, 1))
    touched = build_bundle("bundled_pkg")
    (folder / "bundled_single.py").write_text("Y = 2\n")
    edited = build_bundle("bundled_pkg")
    assert first is not None
    assert touched is not None
    assert edited is not None
    assert first.data == touched.data
    assert edited.digest != first.digest


def test_what_is_not_code_is_left_out(folder: Path) -> None:
    for name in (".git/config", ".venv/lib.py", "__pycache__/x.pyc", "node_modules/x.js", "own_env/pyvenv.cfg"):
        path = folder / name
        path.parent.mkdir(parents=True)
        path.write_text("x")
    (folder / "own_env" / "inside.py").write_text("")
    (folder / ".hidden.py").write_text("")
    (folder / "data.csv").write_bytes(b"x" * (1024 * 1024 + 1))
    (folder / "small.csv").write_text("a,b\n")
    bundle = build_bundle("bundled_pkg")
    assert bundle is not None
    assert {name.partition("/")[0] for name in bundle.files} == {"bundled_pkg", "bundled_single.py", "small.csv"}


def test_a_folder_that_is_too_large_names_its_largest_files(folder: Path) -> None:
    with (folder / "huge.py").open("wb") as file:
        file.truncate(51 * 1024 * 1024)
    with pytest.raises(BundleTooLarge, match=r"51 MiB.*50 MiB.*huge\.py"):
        build_bundle("bundled_pkg")


@pytest.mark.parametrize("module", ["mwfs", "mwfs.examples.tabular", "json", "sys", "pytest", "google.protobuf"])
def test_what_workers_have_anyway_needs_no_bundle(module: str) -> None:
    assert build_bundle(module) is None


@pytest.mark.parametrize("module", ["no_such_module_anywhere", "__main__", ""])
def test_a_module_that_does_not_exist_is_a_typed_error(module: str) -> None:
    with pytest.raises(NotLoadable):
        project_root(module)


def test_an_extracted_bundle_is_the_folder_again(folder: Path, tmp_path: Path) -> None:
    bundle = build_bundle("bundled_pkg")
    assert bundle is not None
    target = extract_bundle(bundle.data, tmp_path / "out" / bundle.digest[7:])
    assert (target / "bundled_pkg" / "nested" / "flow.py").read_text() == "X = 1\n"
    assert extract_bundle(b"not even read", target) == target
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize("name", ["../outside.py", "/absolute.py", "a/../../b.py", "a\\..\\b.py", "folder/"])
def test_a_bundle_cannot_write_outside_its_folder(name: str, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "x")
    with pytest.raises(BadBundle):
        extract_bundle(buffer.getvalue(), tmp_path / "out" / "target")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 no zip", b"x" * 1000])
def test_bytes_that_are_no_bundle_are_a_typed_error(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(BadBundle):
        extract_bundle(data, tmp_path / "target")
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_would_unpack_to_too_much_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.py", bytes(60 * 1024 * 1024))
    with pytest.raises(BadBundle):
        extract_bundle(buffer.getvalue(), tmp_path / "target")
