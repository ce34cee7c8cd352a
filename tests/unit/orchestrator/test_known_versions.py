"""Bundles of versions are asked for once while they are in use, and never are more remembered than agreed."""

import pytest

from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_chassis.errors import NotFound
from mwfs_orchestrator.known_versions import KnownVersions


class Catalogue:
    def __init__(self) -> None:
        self.asked: list[str] = []

    async def get_version(self, team: str, workflow: str, digest: str) -> orchestrator_pb2.WorkflowVersion | None:
        self.asked.append(digest)
        return None if digest == "none" else orchestrator_pb2.WorkflowVersion(bundle_digest=f"{team}-{digest}")


async def test_the_versions_that_are_named_last_are_remembered() -> None:
    catalogue = Catalogue()
    known = KnownVersions(catalogue, most=2)  # type: ignore[arg-type]
    for digest in ("a", "b", "a", "c", "a", "b"):
        assert await known.bundle_of("red", "flows:train", digest) == f"red-{digest}"
    assert catalogue.asked == ["a", "b", "c", "b"]
    assert await known.bundle_of("blue", "flows:train", "b") == "blue-b"


async def test_what_is_not_registered_yet_is_asked_for_again() -> None:
    catalogue = Catalogue()
    known = KnownVersions(catalogue)  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(NotFound):
            await known.bundle_of("red", "flows:train", "none")
    assert catalogue.asked == ["none", "none"]
