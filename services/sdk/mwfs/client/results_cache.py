"""Earlier results on the platform, as plans and passes ask for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mwfs_api.types.v1 import types_pb2

if TYPE_CHECKING:
    from mwfs.client.blocking import BlockingClient
    from mwfs.local_files import LocalFiles


class PlatformResults:
    """Results that runs of the team left, by key."""

    def __init__(self, client: BlockingClient) -> None:
        self._client = client

    def find(self, keys: Sequence[str]) -> Mapping[str, list[types_pb2.Value]]:
        """Outputs by key; keys without a result are not there."""
        return {key: list(found.outputs) for key, found in self._client.lookup_results(keys).items()}


def read_through(client: BlockingClient, files: LocalFiles) -> None:
    """From now on these files also fetch what lies on the platform, for as long as the client is open."""
    folder = files.scratch()

    def fetch(artifact: types_pb2.Artifact) -> Path:
        target = folder / artifact.digest.removeprefix("sha256:") / (artifact.file_name or "value")
        target.parent.mkdir(exist_ok=True)
        return client.download(artifact, target)

    files.elsewhere["the platform"] = fetch
