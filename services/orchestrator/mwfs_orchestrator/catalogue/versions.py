"""Registers workflow versions: immutable, named by what they are made of."""

from hashlib import sha256
from typing import Final

from mwfs_api.action.v1 import action_pb2, action_pb2_grpc
from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_chassis.channel import open_channel
from mwfs_chassis.clock import Clock
from mwfs_chassis.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from mwfs_chassis.identity import Identity
from mwfs_orchestrator.host_links import HostLinks
from mwfs_orchestrator.names import check_digest, check_workflow

from .store import CatalogueStore

_MAX_VERSION_BYTES: Final = 1024 * 1024
_FIND_TIMEOUT_S: Final = 10.0
#: A platform that has just started attaches to its hosts within a second.
_HOST_PATIENCE_S: Final = 5.0


class Versions:
    """Workflow versions of all teams."""

    def __init__(self, *, store: CatalogueStore, hosts: HostLinks, identity: Identity, clock: Clock) -> None:
        self._store = store
        self._hosts = hosts
        self._identity = identity
        self._clock = clock

    async def register(
        self, team: str, version: orchestrator_pb2.WorkflowVersion
    ) -> tuple[orchestrator_pb2.WorkflowVersion, bool]:
        """Stores the version, or finds it; and whether it is new. Raises InvalidArgument, FailedPrecondition, Unavailable."""
        check_workflow(version.workflow)
        if version.ByteSize() > _MAX_VERSION_BYTES:
            raise InvalidArgument(
                f"The version has {version.ByteSize():,} bytes; at most {_MAX_VERSION_BYTES:,} are allowed."
            )
        named = orchestrator_pb2.WorkflowVersion()
        named.CopyFrom(version)
        named.digest, named.create_time_us = "", 0
        named.digest = "sha256:" + sha256(named.SerializeToString(deterministic=True)).hexdigest()
        known = await self._store.get_version(team, named.workflow, named.digest)
        if known is not None:
            return known, False
        if named.bundle_digest:
            check_digest(named.bundle_digest, "bundle digest")
            await self._check_bundle(named.bundle_digest)
        named.create_time_us = self._clock.now_us()
        return named, await self._store.add_version(team, named)

    async def _check_bundle(self, digest: str) -> None:
        address = await self._hosts.any_address(_HOST_PATIENCE_S)
        if not address:
            raise Unavailable("No action service is there to ask for the code bundle.", "Try again in a moment.")
        async with open_channel(address) as channel:
            missing = await action_pb2_grpc.ArtifactServiceStub(channel).FindMissing(
                action_pb2.FindMissingRequest(digests=[digest]),
                metadata=self._identity.metadata,
                timeout=_FIND_TIMEOUT_S,
            )
        if missing.digests:
            raise FailedPrecondition(f"The code bundle {digest} is not in the object store.", "Upload it first.")

    async def get(self, team: str, workflow: str, digest: str) -> orchestrator_pb2.WorkflowVersion:
        """The named version, or the newest. Raises NotFound."""
        version = await self._store.get_version(team, workflow, digest)
        if version is None:
            raise NotFound(
                f"Team {team} has no workflow {workflow} {digest}".rstrip() + ".", "Register it with `mwfs register`."
            )
        return version

    async def list_newest(self, team: str, after: str, limit: int) -> list[orchestrator_pb2.WorkflowVersion]:
        return await self._store.list_workflows(team, after, limit)
