"""Lists that come in pages, as one iterator each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from mwfs.errors import NotFound
from mwfs_api.events.v1 import events_pb2
from mwfs_api.observability.v1 import observability_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2

if TYPE_CHECKING:
    from mwfs.client.connection import Observability, Orchestrator

_RUNS_PER_PAGE = 1_000
_NODES_PER_PAGE = 10_000
_ATTEMPTS_PER_PAGE = 50_000
_KEYS_PER_CALL = 1_000


async def runs(
    service: Orchestrator, request: orchestrator_pb2.ListRunsRequest, limit: int | None
) -> AsyncGenerator[orchestrator_pb2.Run, None]:
    left = limit if limit is not None else -1
    while left != 0:
        request.page_size = min(left, _RUNS_PER_PAGE) if left > 0 else _RUNS_PER_PAGE
        page = await service.call(service.stub.ListRuns, request)
        for run in page.runs[: left if left > 0 else None]:
            left -= 1
            yield run
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


async def nodes(
    service: Orchestrator,
    run_id: str,
    states: tuple[events_pb2.NodeState.ValueType, ...],
    limit: int | None,
    first: int = 0,
) -> AsyncGenerator[orchestrator_pb2.Node, None]:
    left = limit if limit is not None else -1
    request = orchestrator_pb2.ListNodesRequest(run_id=run_id, states=states, first_node=first)
    while left != 0:
        request.page_size = min(left, _NODES_PER_PAGE) if left > 0 else _NODES_PER_PAGE
        page = await service.call(service.stub.ListNodes, request)
        for node in page.nodes[: left if left > 0 else None]:
            left -= 1
            yield node
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


async def node(service: Orchestrator, run_id: str, number: int) -> orchestrator_pb2.Node:
    async with aclosing(nodes(service, run_id, (), 1, number)) as found:
        async for each in found:
            if each.node == number:
                return each
    raise NotFound(f"The run {run_id} has no node {number}.", f"`mwfs nodes {run_id[:8]}` lists them.")


async def workflows(service: Orchestrator) -> AsyncGenerator[orchestrator_pb2.WorkflowVersion, None]:
    request = orchestrator_pb2.ListWorkflowsRequest(page_size=1_000)
    while True:
        page = await service.call(service.stub.ListWorkflows, request)
        for version in page.versions:
            yield version
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


async def lookup_results(service: Orchestrator, keys: list[str]) -> dict[str, orchestrator_pb2.StoredResult]:
    found: dict[str, orchestrator_pb2.StoredResult] = {}
    while keys:
        request = orchestrator_pb2.LookupResultsRequest(keys=keys[:_KEYS_PER_CALL])
        page = await service.call(service.stub.LookupResults, request)
        found.update((result.key, result) for result in page.results)
        keys = keys[page.answered :]
    return found


async def timeline(
    service: Observability, run_id: str, complete_to: int, timeout: float
) -> observability_pb2.GetTimelineResponse:
    """The whole picture. The projection has nothing to wait on, so until it has caught up it is asked again."""
    clock = asyncio.get_running_loop().time
    until, pause = clock() + timeout, 0.02
    while True:
        try:
            picture = await _timeline(service, run_id)
            if picture.last_event_number >= complete_to or clock() >= until:
                return picture
        except NotFound:
            if not complete_to or clock() >= until:
                raise
        await asyncio.sleep(pause)
        pause = min(pause * 2, 0.5)


async def _timeline(service: Observability, run_id: str) -> observability_pb2.GetTimelineResponse:
    request = observability_pb2.GetTimelineRequest(run_id=run_id, page_size=_ATTEMPTS_PER_PAGE)
    picture = await service.call(service.stub.GetTimeline, request)
    page = picture
    while page.next_page_token:
        request.page_token = page.next_page_token
        page = await service.call(service.stub.GetTimeline, request)
        picture.attempts.extend(page.attempts)
    picture.next_page_token = ""
    return picture
