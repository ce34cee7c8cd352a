"""Following runs by WatchRuns: the platform pushes each change, and nothing here ever polls."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING

from mwfs.client.connection import Patience
from mwfs.errors import RunFailed, Unavailable
from mwfs_api.events.v1 import events_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2

if TYPE_CHECKING:
    from mwfs.client.connection import Orchestrator

#: Ids in one WatchRuns call.
MAX_IDS = 10_000

ENDED = frozenset(
    (
        events_pb2.RUN_STATE_SUCCEEDED,
        events_pb2.RUN_STATE_FAILED,
        events_pb2.RUN_STATE_CANCELLED,
    )
)


def has_ended(run: orchestrator_pb2.Run) -> bool:
    return run.state in ENDED


async def watch_runs(
    service: Orchestrator,
    run_ids: Iterable[str],
    *,
    running_nodes: int = 0,
) -> AsyncGenerator[orchestrator_pb2.RunUpdate, None]:
    """The present state of each run, then its changes, until all have ended. Survives a restart of the platform."""
    open_ids = dict.fromkeys(run_ids)
    seen: dict[str, int] = {}
    patience = Patience(service)
    while open_ids:
        request = orchestrator_pb2.WatchRunsRequest(run_ids=open_ids, running_nodes=running_nodes)
        try:
            async with aclosing(service.read(service.stub.WatchRuns, request)) as responses:
                async for response in responses:
                    patience.reset()
                    for update in response.updates:
                        run = update.run
                        # After a reconnect the present state comes again; a lagging one must not undo what was shown.
                        if run.last_event_number < seen.get(run.run_id, 0):
                            continue
                        seen[run.run_id] = run.last_event_number
                        yield update
                        if has_ended(run):
                            open_ids.pop(run.run_id, None)
        except Unavailable:
            if not await patience.wait():
                raise
        else:
            if open_ids and not await patience.wait():
                raise Unavailable(
                    f"The {service.peer.service} at {service.peer.address} stopped reporting.",
                    f"Look again later; `{service.peer.status}` tells how the platform is.",
                )


def failure_of(run: orchestrator_pb2.Run) -> RunFailed | None:
    """The error of an ended run; None when it succeeded."""
    if run.state == events_pb2.RUN_STATE_SUCCEEDED:
        return None
    short = run.run_id[:8]
    if run.state == events_pb2.RUN_STATE_CANCELLED:
        return RunFailed(f"Run {short} was cancelled.", f"Go on with it: `mwfs runs retry {short}`.")
    failure = run.failure
    where = f" ({failure.file}:{failure.line})" if failure.file else ""
    what = (
        f"{failure.error_type}: {failure.message}" if failure.error_type else failure.message or "no reason was given"
    )
    step = failure.next_step or (
        f"See `mwfs logs {short} {failure.node}`, then `mwfs runs retry {short}`." if failure.node >= 0 else ""
    )
    return RunFailed(f"Run {short} failed: {what}{where}.", step, failure=failure)
