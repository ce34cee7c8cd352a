"""Runs, nodes and failures as JSON documents: the shapes that `--output json` promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mwfs.cli import words
from mwfs_api.events.v1 import events_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2

if TYPE_CHECKING:
    from mwfs.client.run_events import RunEvent
    from mwfs_api.observability.v1 import observability_pb2
    from mwfs_api.scheduler.v1 import scheduler_pb2


def run_document(run: orchestrator_pb2.Run) -> dict[str, Any]:
    """A run."""
    return {
        "run_id": run.run_id,
        "workflow": run.workflow,
        "version": run.version_digest,
        "request_id": run.request_id,
        "team": run.team,
        "principal": run.principal,
        "state": words.run_state(run.state),
        "round": run.round,
        "create_time": words.iso_time(run.create_time_us),
        "start_time": words.iso_time(run.start_time_us),
        "end_time": words.iso_time(run.end_time_us),
        "seconds": (run.end_time_us - run.create_time_us) / 1e6 if run.end_time_us else None,
        "node_count": run.node_count,
        "node_counts": {words.node_state(each.state): each.count for each in run.node_counts},
        "failure": failure_document(run.failure) if run.HasField("failure") else None,
        "tags": dict(run.tags),
        "archive": archive_document(run.archive) if run.HasField("archive") else None,
    }


def archive_document(archive: orchestrator_pb2.ArchiveFacts) -> dict[str, Any]:
    """Where an archived run is."""
    return {
        "archive_time": words.iso_time(archive.archive_time_us),
        "digest": archive.digest,
        "row_group": archive.row_group,
    }


def node_document(node: orchestrator_pb2.Node) -> dict[str, Any]:
    """A node of a run."""
    return {
        "node": node.node,
        "operator": node.operator,
        "state": words.node_state(node.state),
        "attempt": node.attempt,
        "origin": {"run_id": node.origin.run_id, "node": node.origin.node} if node.HasField("origin") else None,
        "host": node.host,
        "file": node.file,
        "line": node.line,
        "depends_on": list(node.depends_on),
        "start_time": words.iso_time(node.start_time_us),
        "end_time": words.iso_time(node.end_time_us),
        "failure": failure_document(node.failure) if node.HasField("failure") else None,
        "child_run_id": node.child_run_id or None,
        "wait": {"signal": node.wait.signal or None, "until": words.iso_time(node.wait.until_time_us)}
        if node.HasField("wait")
        else None,
        **_interruptions_document(node),
    }


def _interruptions_document(node: orchestrator_pb2.Node) -> dict[str, Any]:
    known = node.interruptions
    leaves = node.state == events_pb2.NODE_STATE_RUNNING and known.told_attempt == node.attempt
    return {
        "preemptions": known.preemptions,
        "lost_seconds": known.lost_us / 1e6,
        "preempting": {"reason": known.told.reason, "deadline": words.iso_time(known.told.deadline_us)}
        if leaves
        else None,
        "checkpoints": known.checkpoints,
        "last_checkpoint": {"step": known.checkpoint_step, "time": words.iso_time(known.checkpoint_time_us)}
        if known.checkpoints
        else None,
    }


def waiting_document(group: scheduler_pb2.WaitingGroup) -> dict[str, Any]:
    """Why a node waits for room."""
    return {"reason": words.waiting_reason(group.reason), "message": group.message, "permanent": group.permanent}


def failure_document(failure: events_pb2.Failure) -> dict[str, Any]:
    """Why something failed."""
    return {
        "kind": words.failure_kind(failure.kind),
        "error_type": failure.error_type,
        "message": failure.message,
        "traceback": failure.traceback,
        "file": failure.file,
        "line": failure.line,
        "next_step": failure.next_step,
        "node": failure.node if failure.node >= 0 else None,
    }


def event_document(event: RunEvent) -> dict[str, Any]:
    """One event of a run; what does not apply to its kind is left out."""
    document: dict[str, Any] = {
        "number": event.number,
        "time": words.iso_time(event.time_us),
        "kind": words.event_kind(event.kind),
    }
    if event.node >= 0:
        document["node"] = event.node
    if event.attempt:
        document["attempt"] = event.attempt
    times = {
        "ready_time": event.ready_us,
        "body_start_time": event.body_started_us,
        "body_end_time": event.body_ended_us,
    }
    document |= {name: words.iso_time(time_us) for name, time_us in times.items() if time_us}
    if event.place:
        document["place"] = event.place
    match event.fact:
        case events_pb2.Failure():
            document["failure"] = failure_document(event.fact)
        case events_pb2.DagFacts():
            operators = event.fact.operators
            document["operators"] = [operators[index] for index in event.fact.node_operator]
        case events_pb2.ResultOrigin():
            document["origin"] = {"run_id": event.fact.run_id, "node": event.fact.node}
        case events_pb2.PreemptionFacts():
            document |= {"reason": event.fact.reason, "deadline": words.iso_time(event.fact.deadline_us)}
        case events_pb2.Checkpoint():
            document["checkpoint"] = {"step": event.fact.step, "size": event.fact.size, "key": event.fact.key}
        case events_pb2.RunFacts():
            document |= {
                "workflow": event.fact.workflow,
                "team": event.fact.team,
                "principal": event.fact.principal,
                "version": event.fact.version_digest,
                "request_id": event.fact.request_id,
            }
    return document


def attempt_document(span: observability_pb2.AttemptSpan) -> dict[str, Any]:
    """One bar of a timeline."""
    return {
        "node": span.node,
        "attempt": span.attempt,
        "operator": span.operator,
        "state": words.attempt_state(span.state),
        "ready_time": words.iso_time(span.ready_time_us),
        "commit_time": words.iso_time(span.commit_time_us),
        "body_start_time": words.iso_time(span.body_start_time_us),
        "body_end_time": words.iso_time(span.body_end_time_us),
        "end_time": words.iso_time(span.end_time_us),
        "place": span.place,
        "failure": failure_document(span.failure) if span.HasField("failure") else None,
    }


def version_document(version: orchestrator_pb2.WorkflowVersion) -> dict[str, Any]:
    """A registered version of a workflow."""
    from mwfs_types.rendering import describe

    return {
        "workflow": version.workflow,
        "digest": version.digest,
        "bundle_digest": version.bundle_digest or None,
        "create_time": words.iso_time(version.create_time_us),
        "inputs": [
            {"name": each.name, "type": describe(each.type), "required": not each.HasField("default"), "doc": each.doc}
            for each in version.inputs
        ],
        "outputs": [{"name": each.name, "type": describe(each.type)} for each in version.outputs],
        "doc": version.doc,
    }


def output_document(value: object) -> object:
    """An output as `BlockingClient.outputs` gives it, for JSON."""
    from mwfs.client.outputs import RemoteFile

    if isinstance(value, RemoteFile):
        return {
            "type": value.type,
            "digest": value.digest,
            "size": value.size,
            "encoding": value.encoding,
            "file_name": value.file_name,
        }
    if isinstance(value, list):
        return [output_document(each) for each in value]
    if isinstance(value, dict):
        return {key: output_document(each) for key, each in value.items()}
    if isinstance(value, bytes):
        import base64

        return {"base64": base64.b64encode(value).decode()}
    return value
