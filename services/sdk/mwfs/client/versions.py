"""Workflow versions: what the platform has to know of a workflow before it can run it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from mwfs.client.connection import Connection
from mwfs.client.transfers import Progress, upload_missing
from mwfs_api.orchestrator.v1 import orchestrator_pb2

if TYPE_CHECKING:
    from mwfs.workflows import Workflow


class Versions:
    """Registers workflows with the bundles of their code, each once a client."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = asyncio.Lock()
        self._registered: dict[Workflow[..., Any], orchestrator_pb2.WorkflowVersion] = {}

    async def register(
        self, workflow: Workflow[..., Any], progress: Progress | None = None
    ) -> orchestrator_pb2.WorkflowVersion:
        """Uploads the bundle when the platform lacks it. The code is taken as it is when a client first sees the workflow."""
        known = self._registered.get(workflow)
        if known is not None:
            return known
        async with self._lock:
            known = self._registered.get(workflow)
            if known is None:
                known = self._registered[workflow] = await self._register(workflow, progress)
            return known

    async def _register(
        self, workflow: Workflow[..., Any], progress: Progress | None
    ) -> orchestrator_pb2.WorkflowVersion:
        from mwfs.bundle import build_bundle

        bundle = await asyncio.to_thread(build_bundle, workflow.module)
        if bundle is not None:
            await upload_missing(self._connection.artifacts, {bundle.digest: bundle.data}, progress)
        service = self._connection.orchestrator
        digest = bundle.digest if bundle is not None else ""
        request = orchestrator_pb2.RegisterVersionRequest(version=describe_version(workflow, digest))
        return (await service.call(service.stub.RegisterVersion, request)).version


def describe_version(workflow: Workflow[..., Any], bundle_digest: str) -> orchestrator_pb2.WorkflowVersion:
    """What is registered of a workflow: its types and documentation, and which code it is (none: it is installed on workers)."""
    return orchestrator_pb2.WorkflowVersion(
        workflow=workflow.ref,
        bundle_digest=bundle_digest,
        inputs=[
            orchestrator_pb2.WorkflowInput(name=each.name, type=each.type, default=each.default, doc=each.doc)
            for each in workflow.inputs
        ],
        outputs=[orchestrator_pb2.WorkflowOutput(name=each.name, type=each.type) for each in workflow.outputs],
        doc=workflow.doc,
    )
