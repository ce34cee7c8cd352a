"""The store of one process: files stay where they are while compiling, results go to a temporary folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mwfs.artifacts import Artifact, Store, digest_of, hash_file, safe_name
from mwfs.errors import ArtifactDamaged, ArtifactMissing


class LocalFiles(Store):
    """Knows the file of each digest (`paths`). Files are not copied, so they must not change while they are in use;
    with `copies` they are, as for what operators return: the next operator may write to the same path.
    """

    def __init__(self, known: Mapping[str, Path] | None = None, *, copies: bool = False) -> None:
        super().__init__()
        self._copies = copies
        self.paths.update(known or {})
        #: Where else artifacts may be fetched from, by the home of a platform.
        self.elsewhere: dict[str, Callable[[Artifact], Path]] = {}
        # Values made in memory own their files, so they must live as long as the paths do.
        self._held: list[object] = []

    def save(self, value: Any, name: str) -> Artifact:
        self._held.append(value)
        return super().save(value, name)

    def put_bytes(self, data: bytes, encoding: str, file_name: str = "") -> Artifact:
        digest = digest_of(data)
        if digest not in self.paths:
            path = self.scratch() / (safe_name(file_name) or "value")
            path.write_bytes(data)
            self.paths[digest] = path
        return Artifact(digest=digest, size=len(data), encoding=encoding, file_name=safe_name(file_name))

    def put_file(self, path: Path | str, encoding: str = "file", file_name: str = "") -> Artifact:
        path = Path(path).absolute()
        digest, size = hash_file(path)
        if digest not in self.paths:
            if self._copies:
                path = Path(shutil.copyfile(path, self.scratch() / (safe_name(path.name) or "file")))
            self.paths[digest] = path
        return Artifact(digest=digest, size=size, encoding=encoding, file_name=safe_name(file_name or path.name))

    def get_bytes(self, artifact: Artifact) -> bytes:
        data = self.fetch(artifact).read_bytes()
        if digest_of(data) != artifact.digest:
            raise ArtifactDamaged(
                f"{self.paths[artifact.digest]} was changed after it was read.", "Leave input files alone during a run."
            )
        return data

    def fetch(self, artifact: Artifact) -> Path:
        path = self.paths.get(artifact.digest)
        if path is None:
            for fetch in self.elsewhere.values():
                with suppress(ArtifactMissing):
                    self.paths[artifact.digest] = path = fetch(artifact)
                    break
        if path is None or not path.is_file():
            raise ArtifactMissing(
                f"No local file has the digest {artifact.digest[:19]}… ({artifact.file_name or artifact.encoding}).",
                "Give the file as an input again.",
            )
        return path
