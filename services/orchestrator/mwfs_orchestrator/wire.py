"""Runs and nodes as messages."""

import json
from collections.abc import Sequence
from uuid import UUID

from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_api.types.v1 import types_pb2

from .active_run import ActiveRun
from .catalogue.results import Result
from .graph import Graph
from .shard.store import Row
from .states import NodeState


def run_of_active(run: ActiveRun) -> orchestrator_pb2.Run:
    """A run as it is in memory; of its end only what is committed."""
    header = run.header
    end_is_shown = run.end_committed or not run.ended
    message = orchestrator_pb2.Run(
        run_id=header.run_text,
        team=header.team,
        principal=header.principal,
        workflow=header.workflow,
        version_digest=header.version_digest,
        request_id=header.request_id,
        state=run.shown_state.value,  # type: ignore[arg-type]
        round=run.round,
        create_time_us=header.create_us,
        start_time_us=run.start_us,
        end_time_us=run.end_us if end_is_shown else 0,
        node_count=run.graph.size if run.graph is not None else 0,
        node_counts=_counts(run.counts),
        tags=header.tags,
        last_event_number=run.last_event,
    )
    if run.failure is not None and end_is_shown:
        message.failure.CopyFrom(run.failure)
    return message


def run_of_row(row: Row) -> orchestrator_pb2.Run:
    """A run as its shard has it. Node counts are known once it has ended."""
    message = orchestrator_pb2.Run(
        run_id=str(row["run_id"]),
        team=row["team"],
        principal=row["principal"],
        workflow=row["workflow"],
        version_digest=row["version_digest"],
        request_id=row["request_id"],
        state=row["state"],
        round=row["round"],
        create_time_us=row["create_us"],
        start_time_us=row["start_us"],
        end_time_us=row["end_us"],
        node_count=row["node_count"],
        node_counts=_counts(json.loads(row["node_counts"] or "[]")),
        tags=json.loads(row["tags"]),
        last_event_number=row["last_event"],
    )
    if row["failure"] is not None:
        message.failure.ParseFromString(row["failure"])
    return message


def _counts(counts: Sequence[int]) -> list[orchestrator_pb2.NodeCount]:
    return [
        orchestrator_pb2.NodeCount(state=state, count=count)  # type: ignore[arg-type]
        for state, count in enumerate(counts)
        if count
    ]


def node_of(
    graph: Graph, node: int, state: int, row: Row | None, host_address: str, child: UUID | None
) -> orchestrator_pb2.Node:
    """A node with what its row knows of it."""
    operator = graph.operator_of(node)
    message = orchestrator_pb2.Node(
        node=node,
        operator=f"{operator.module}:{operator.qualname}",
        state=state,  # type: ignore[arg-type]
        depends_on=graph.dependencies_of(node),
    )
    message.file, message.line = graph.source_of(node)
    if child is not None:
        message.child_run_id = str(child)
    if row is not None:
        message.attempt = row["attempt"]
        message.host = row["host"]
        message.host_address = host_address
        message.start_time_us, message.end_time_us = row["start_us"], row["end_us"]
        waits = state == NodeState.WAITING and graph.is_control(node) and row["state"] == NodeState.WAITING
        if waits and not operator.control.cleanup:
            if child is not None:
                message.wait.child_run_id = str(child)
            else:
                message.wait.signal, message.wait.until_time_us = operator.control.name, row["end_us"]
            message.end_time_us = 0
        if row["failure"] is not None:
            message.failure.ParseFromString(row["failure"])
        if row["interruptions"] is not None:
            message.interruptions.ParseFromString(row["interruptions"])
        if row["origin"] is not None:
            message.origin.ParseFromString(row["origin"])
    return message


def stored_result(result: Result) -> orchestrator_pb2.StoredResult:
    """An entry of the result cache."""
    return orchestrator_pb2.StoredResult(
        key=result.key,
        parts=result.parts,
        operator=result.operator,
        outputs=types_pb2.ListValue.FromString(result.outputs).items,
        run_id=str(result.run_id),
        node=result.node,
        create_time_us=result.create_us,
    )
