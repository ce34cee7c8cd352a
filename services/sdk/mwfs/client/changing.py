"""Stopping runs, letting them go on, and telling them something."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from mwfs.client import signals
from mwfs.client.connection import Connection
from mwfs.client.submissions import RunName
from mwfs_api.orchestrator.v1 import orchestrator_pb2


class Changing:
    """A part of `Client`."""

    connection: Connection

    async def cancel(self, run: RunName, *, skip_cleanups: bool = False) -> orchestrator_pb2.Run:
        """Stops a run. Cancelling an ended run changes nothing.

        The run ends once the cleanups of what had begun (`mwfs.with_cleanup`) have run, ten minutes later at most. skip_cleanups: they do not
        run, also when the run is being cancelled already.
        """
        service = self.connection.orchestrator
        request = orchestrator_pb2.CancelRunRequest(run_id=str(run), skip_cleanups=skip_cleanups)
        return (await service.call(service.stub.CancelRun, request)).run

    async def pause(self, run: RunName) -> orchestrator_pb2.Run:
        """Nothing new starts in the run until `resume`; what runs goes on. Pausing a paused run changes nothing."""
        service = self.connection.orchestrator
        request = orchestrator_pb2.PauseRunRequest(run_id=str(run))
        return (await service.call(service.stub.PauseRun, request)).run

    async def resume(self, run: RunName) -> orchestrator_pb2.Run:
        """A paused run goes on. Resuming one that is not paused changes nothing."""
        service = self.connection.orchestrator
        request = orchestrator_pb2.ResumeRunRequest(run_id=str(run))
        return (await service.call(service.stub.ResumeRun, request)).run

    async def retry(self, run: RunName, *, request_id: str = "") -> orchestrator_pb2.Run:
        """Revives a failed or cancelled run: what succeeded stays, the rest runs again."""
        service = self.connection.orchestrator
        request = orchestrator_pb2.RetryRunRequest(run_id=str(run), request_id=request_id or str(uuid.uuid4()))
        return (await service.call(service.stub.RetryRun, request)).run

    async def signal(self, run: RunName, name: str, payload: Any = None, *, request_id: str = "") -> bool:
        """Sends a signal to the nodes that wait for it (`mwfs.signal`), now or later; a run takes each name once.

        payload: a value of the workflow's own classes, or its JSON document (a dict for a record).
        Returns once the platform has it safely; False when it had it before (safe to repeat with the same request id).
        Raises InvalidInput when the payload is not what the workflow declares, Rejected when the run has ended.
        """
        declared = await signals.declared_signals(self.connection, str(run))
        encoded = await asyncio.to_thread(signals.encode_payload, name, payload, declared)
        return await signals.send(self.connection, str(run), name, encoded, request_id or str(uuid.uuid4()))

    async def signals(self, run: RunName) -> list[orchestrator_pb2.Signal]:
        """The signals that a run declares, and those that were sent into it, by name."""
        return await signals.list_signals(self.connection, str(run))
