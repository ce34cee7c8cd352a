"""Finding the host that has the logs of an attempt, and reading them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from mwfs.client import pages
from mwfs.client.connection import Connection
from mwfs.client.watching import has_ended, watch_runs
from mwfs.errors import MwfsError, NotFound, Unavailable
from mwfs_api.action.v1 import action_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_api.scheduler.v1 import scheduler_pb2

#: Node number of the attempt that compiles a workflow on the platform.
COMPILE_NODE = -1


async def read_logs(
    connection: Connection, run_id: str, node: int, attempt: int, *, follow: bool, tail_bytes: int
) -> AsyncGenerator[bytes, None]:
    """The log of one attempt, in pieces. Asks the host of the node first, then the other hosts."""
    hosts = [""]
    if node != COMPILE_NODE:
        found = await _started_node(connection, run_id, node, wait=follow)
        attempt = attempt or found.attempt
        hosts = [found.host_address]
    key = action_pb2.AttemptKey(run_id=run_id, node=node, attempt=attempt or 1)
    missing: MwfsError | None = None
    for address in [*hosts, *await _other_hosts(connection, hosts)]:
        service = connection.action_service(address)
        request = action_pb2.ReadLogsRequest(key=key, follow=follow, tail_bytes=tail_bytes)
        try:
            async with aclosing(service.read(service.stub.ReadLogs, request)) as responses:
                async for response in responses:
                    yield response.data
            return
        except NotFound as error:
            missing = error
    raise missing or NotFound(f"No host has logs of node {node} of run {run_id[:8]}, attempt {key.attempt}.")


async def _started_node(connection: Connection, run_id: str, node: int, *, wait: bool) -> orchestrator_pb2.Node:
    found = await pages.node(connection.orchestrator, run_id, node)
    if found.attempt or not wait:
        return _started(found, run_id)
    async with aclosing(watch_runs(connection.orchestrator, [run_id])) as updates:
        async for update in updates:
            found = await pages.node(connection.orchestrator, run_id, node)
            if found.attempt or has_ended(update.run):
                break
    return _started(found, run_id)


def _started(node: orchestrator_pb2.Node, run_id: str) -> orchestrator_pb2.Node:
    if not node.attempt:
        state = events_pb2.NodeState.Name(node.state).removeprefix("NODE_STATE_")
        raise NotFound(
            f"Node {node.node} of run {run_id[:8]} has not started (it is {state}), so it has no log.",
            f"See how the run goes: `mwfs nodes {run_id[:8]}`.",
        )
    return node


async def _other_hosts(connection: Connection, known: list[str]) -> list[str]:
    service = connection.scheduler
    try:
        hosts = (await service.call(service.stub.ListHosts, scheduler_pb2.ListHostsRequest())).hosts
    except Unavailable:
        return []
    return [host.address for host in hosts if host.address not in known]
