"""Directory: what comes back, what equal folders are, and what hostile folders and archives do."""

import io
import os
import shutil
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mwfs import Directory, File
from mwfs.errors import ArtifactDamaged
from mwfs.local_files import LocalFiles
from mwfs.types import folder_archives
from mwfs.types.folder_archives import pack, unpack
from mwfs_types.annotations import type_of
from mwfs_types.errors import BadValue
from mwfs_types.values import decode, encode

NAMES = st.one_of(
    st.text("abé .-漢\n", min_size=1, max_size=6),
    st.binary(min_size=1, max_size=4).map(os.fsdecode),  # also names that are no UTF-8
    st.just("x" * 255),
).filter(lambda name: name not in (".", "..") and "/" not in name and "\0" not in name)
TREES = st.recursive(
    st.binary(max_size=20), lambda inner: st.dictionaries(NAMES, inner, max_size=4), max_leaves=8
).filter(lambda tree: isinstance(tree, dict))


def plant(tree: Any, path: Path) -> None:
    if isinstance(tree, bytes):
        path.write_bytes(tree)
        return
    path.mkdir()
    for name, inner in tree.items():
        plant(inner, path / name)


def grown(path: Path) -> Any:
    return path.read_bytes() if path.is_file() else {each.name: grown(each) for each in path.iterdir()}


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=TREES)
def test_folders_come_back_and_equal_ones_have_equal_bytes(tree: Any, tmp_path: Path) -> None:
    work = Path(os.path.realpath(tmp_path)) / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    plant(tree, work / "one")
    plant(tree, work / "other")
    os.utime(work / "other", (1, 1))
    pack(work / "one", work / "one.tar")
    pack(work / "other", work / "other.tar")
    assert (work / "one.tar").read_bytes() == (work / "other.tar").read_bytes()
    unpack(work / "one.tar", work / "again")
    assert grown(work / "again") == tree


def test_links_inside_are_followed_and_links_out_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a").write_text("x")
    (root / "b").symlink_to("a")
    pack(root, tmp_path / "fine.tar")
    unpack(tmp_path / "fine.tar", tmp_path / "fine")
    assert (tmp_path / "fine" / "b").read_text() == "x"
    (root / "out").symlink_to("/etc/hostname")
    with pytest.raises(BadValue, match="links that lead out of it"):
        pack(root, tmp_path / "out.tar")
    (root / "out").unlink()
    (root / "again").symlink_to(".")
    with pytest.raises(BadValue, match="links in a circle"):
        pack(root, tmp_path / "circle.tar")


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def sparse(name: str, size: int) -> tarfile.TarInfo:
    """A member of no bytes that claims to be a file of this size with a hole."""
    info = tarfile.TarInfo(name)
    info.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.name": name,
        "GNU.sparse.size": str(size),
        "GNU.sparse.realsize": str(size),
        "GNU.sparse.numblocks": "1",
        "GNU.sparse.map": "0,0",
    }
    return info


@pytest.mark.parametrize(
    "content",
    [
        b"not a tar",
        tar_of((member("../outside"), b"x")),
        tar_of((member("/outside"), b"x"), (member("../../outside"), b"x")),
        tar_of((member("link", tarfile.SYMTYPE, "/etc"), b"")),
        tar_of((member("link", tarfile.LNKTYPE, "/etc/passwd"), b"")),
        tar_of((member("device", tarfile.CHRTYPE), b"")),
        tar_of((member("a"), b"x" * 2000))[:1500],
        tar_of((member("a/" * 1900 + "b"), b"x")),
        tar_of((sparse("a", 1 << 40), b"")),
        tar_of((member("a"), b"x"), (member("a/b"), b"x")),
    ],
)
def test_hostile_archives_are_refused_and_write_nothing_outside(content: bytes, tmp_path: Path) -> None:
    archive = tmp_path / "hostile.tar"
    archive.write_bytes(content)
    with pytest.raises(ArtifactDamaged):
        unpack(archive, tmp_path / "folder")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["folder", "hostile.tar"]
    assert not [each for each in (tmp_path / "folder").rglob("*") if each.is_symlink()]
    assert sum(each.stat().st_size for each in (tmp_path / "folder").rglob("*") if each.is_file()) <= len(content)


CHANGES = st.lists(
    st.tuples(st.integers(0, 11), st.integers(0, 344), st.binary(min_size=1, max_size=4)), min_size=1, max_size=5
)


def with_checksums(content: bytes) -> bytes:
    """The tar with the checksums of its headers made right."""
    fixed = bytearray(content)
    for start in range(0, len(fixed) - 511, 512):
        header = fixed[start : start + 512]
        if header[257:262] == b"ustar":
            header[148:156] = b" " * 8
            fixed[start + 148 : start + 156] = b"%06o\0 " % sum(header)
    return bytes(fixed)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=CHANGES)
@example(changes=[(0, 136, b"\x80\xff\xff\xff"), (0, 140, b"\xff\xff\xff\xff")])  # a time that is none
def test_changed_archives_are_unpacked_inside_or_refused(changes: list[tuple[int, int, bytes]], tmp_path: Path) -> None:
    source = tmp_path / "source"
    if not source.exists():
        (source / "sub").mkdir(parents=True)
        (source / "a").write_bytes(b"x" * 700)
        (source / "sub" / "é").write_bytes(b"y")
        pack(source, tmp_path / "source.tar")
    content = bytearray((tmp_path / "source.tar").read_bytes())
    for block, place, instead in changes:
        content[block * 512 + place : block * 512 + place + len(instead)] = instead
    (tmp_path / "changed.tar").write_bytes(with_checksums(content))
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    with suppress(ArtifactDamaged):
        unpack(tmp_path / "changed.tar", tmp_path / "out")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["changed.tar", "out", "source", "source.tar"]


def sent(folder: Path) -> Directory:
    """A folder as another process receives it."""
    files = LocalFiles(copies=True)
    received = decode(encode(Directory(folder), type_of(Directory), files), Directory, files)
    assert isinstance(received, Directory)
    received._files = files  # type: ignore[attr-defined]  # lives as long as its store
    return received


@pytest.mark.parametrize("name", ["folder", "x" * 255, "漢" * 85, "a.b.tar", "two\nlines"])
def test_a_folder_keeps_its_name_as_far_as_names_go(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "a").write_text("x")
    received = sent(tmp_path / name)
    before = received.name
    assert (received / "a").read_text() == "x"
    assert received.path.name == received.name == before == name[:60]
    assert received.files() == ["a"]


def test_who_packs_a_folder_makes_no_difference(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    script, secret = tmp_path / "folder" / "run.sh", tmp_path / "folder" / "secret"
    script.touch(0o755)
    secret.touch(0o600)
    first = sent(tmp_path / "folder")
    script.chmod(0o700)
    secret.chmod(0o644)
    os.utime(secret, (5, 5))
    second = sent(tmp_path / "folder")
    assert first._artifact is not None
    assert first._artifact == second._artifact
    assert [os.access(second / name, os.X_OK) for name in ("run.sh", "secret")] == [True, False]


def test_folders_that_are_too_much_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    inner = tmp_path / "deep"
    for _ in range(3):
        inner = inner / "a"
        inner.mkdir()
        (inner / "b").write_bytes(b"xyz")
    pack(tmp_path / "deep", tmp_path / "fine.tar")
    for limit, most, message in [
        ("MAX_DEPTH", 3, "folders nested at most 3 deep"),
        ("MAX_BYTES", 8, "a folder of at most 8 bytes"),
        ("MAX_ENTRIES", 5, "a folder of at most 5 files"),
    ]:
        with monkeypatch.context() as patched:
            patched.setattr(folder_archives, limit, most)
            with pytest.raises(BadValue, match=message):
                pack(tmp_path / "deep", tmp_path / "refused.tar")
    monkeypatch.setattr(folder_archives, "MAX_ENTRIES", 5)
    with pytest.raises(ArtifactDamaged):
        unpack(tmp_path / "fine.tar", tmp_path / "again")


def test_pipes_are_refused_without_reading_them(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "folder" / "pipe")
    with pytest.raises(BadValue, match="a folder of files and folders"):
        pack(tmp_path / "folder", tmp_path / "refused.tar")


def test_what_is_no_folder_is_said(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(BadValue, match="loop, which is not there"):
        encode(Directory(loop), type_of(Directory), LocalFiles())
    with pytest.raises(BadValue, match="/dev/null, which is no regular file"):
        encode(File("/dev/null"), type_of(File), LocalFiles())
    for path, words in [(tmp_path / "none", "which is not there"), (Path(__file__), "which is a file")]:
        with pytest.raises(BadValue, match=words):
            encode(Directory(path), type_of(Directory), LocalFiles())
