"""A platform in one process that does what a test tells it to: the protos, without anything behind them."""

import json
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from hashlib import sha256
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import grpc

from mwfs_api.action.v1 import action_pb2, action_pb2_grpc
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2 as ev
from mwfs_api.observability.v1 import observability_pb2, observability_pb2_grpc
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_api.orchestrator.v1 import orchestrator_pb2_grpc
from mwfs_api.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc

TOKEN = "secret"
ENDED = (ev.RUN_STATE_SUCCEEDED, ev.RUN_STATE_FAILED, ev.RUN_STATE_CANCELLED)


class FakePlatform:
    """All services on one port. What clients sent is in the attributes; what they are told is set there too."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.lock = threading.RLock()
        self.runs: dict[str, pb.Run] = {}
        self.outputs: dict[str, list[pb.RunOutput]] = {}
        self.nodes: dict[str, list[pb.Node]] = {}
        self.dags: dict[str, bytes] = {}
        self.headers: list[pb.SubmitHeader] = []
        self.submit_streams = 0
        self.watch_calls: list[list[str]] = []
        self.versions: dict[str, pb.WorkflowVersion] = {}
        self.store: dict[str, bytes] = {}
        self.uploads: list[str] = []
        self.logs: dict[tuple[str, int, int], bytes] = {}
        self.timelines: dict[str, observability_pb2.GetTimelineResponse] = {}
        self.events: dict[str, list[ev.RunEvents]] = {}
        self.list_calls: list[pb.ListRunsRequest] = []
        self.event_calls: list[pb.WatchEventsRequest] = []
        #: So many streams of events break after their first message.
        self.event_breaks = 0
        self.waiting: list[scheduler_pb2.WaitingGroup] = []
        self.when_explained: Callable[[], None] = lambda: None
        self.largest_chunk = 0
        #: A submission of this workflow is answered so instead.
        self.refusal: pb.SubmitRefused | None = None
        #: The next submissions are answered so.
        self.refusals: list[pb.SubmitRefused] = []
        #: Runs that are submitted end at once in this state, with these outputs.
        self.ends_as: ev.RunState.ValueType | None = ev.RUN_STATE_SUCCEEDED
        #: Runs that are cancelled are CANCELLING until their cleanups are skipped.
        self.cleans_up = False
        self.result: list[pb.RunOutput] = []
        self.failure: ev.Failure | None = None
        #: So many submissions are swallowed: the stream breaks before they are answered.
        self.breaks = 0
        #: So many registrations are refused: the service is there, and waits for another one.
        self.not_ready = 0
        self.watchers: list[queue.Queue[str | None]] = []
        self.watched = threading.Event()
        self.port = 0
        self.server: grpc.Server | None = None

    def start(self) -> None:
        """Listens; again on the same port after `stop`."""
        self.server = grpc.server(futures.ThreadPoolExecutor(64), interceptors=[_Token()])
        orchestrator_pb2_grpc.add_OrchestratorServiceServicer_to_server(_Orchestrator(self), self.server)
        scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server(_Scheduler(self), self.server)
        observability_pb2_grpc.add_ObservabilityServiceServicer_to_server(_Observability(self), self.server)
        action_pb2_grpc.add_ActionServiceServicer_to_server(_Action(self), self.server)
        action_pb2_grpc.add_ArtifactServiceServicer_to_server(_Artifacts(self), self.server)
        self.port = self.server.add_insecure_port(f"127.0.0.1:{self.port}")
        self.server.start()
        entry = {"address": f"127.0.0.1:{self.port}", "metrics_address": "", "pid": 0}
        names = ("orchestrator", "scheduler", "observability", "action_service")
        self.home.mkdir(exist_ok=True)
        (self.home / "endpoints.json").write_text(json.dumps({"pid": 0, "services": dict.fromkeys(names, entry)}))
        (self.home / "token").write_text(TOKEN)

    def stop(self) -> None:
        """Goes away, as a killed process does: streams break."""
        with self.lock:
            for each in self.watchers:
                each.put(None)
        if self.server is not None:
            self.server.stop(None).wait()

    def change(self, run_id: str, state: ev.RunState.ValueType, **fields: object) -> None:
        """Moves a run and tells those who watch it."""
        with self.lock:
            run = self.runs[run_id]
            run.MergeFrom(pb.Run(state=state, **fields))  # type: ignore[arg-type]
            run.last_event_number += 1
            if state in ENDED:
                run.end_time_us = run.create_time_us + 1_500_000
            for each in self.watchers:
                each.put(run_id)

    def accept(self, header: pb.SubmitHeader, dag: bytes) -> pb.SubmissionAnswer:
        with self.lock:
            self.headers.append(header)
            if self.refusals:
                return pb.SubmissionAnswer(refused=self.refusals.pop())
            if self.refusal is not None:
                return pb.SubmissionAnswer(refused=self.refusal)
            run_id = str(uuid5(NAMESPACE_URL, header.request_id))
            created = run_id not in self.runs
            if created:
                self.dags[run_id] = dag
                self.runs[run_id] = pb.Run(
                    run_id=run_id,
                    workflow=header.workflow,
                    version_digest=header.version_digest,
                    request_id=header.request_id,
                    state=ev.RUN_STATE_RUNNING,
                    round=1,
                    team="default",
                    create_time_us=1_700_000_000_000_000,
                    node_count=len(dag_pb2.Dag.FromString(dag).node_operator),
                    tags=header.tags,
                    last_event_number=1,
                )
                if self.failure is not None:
                    self.runs[run_id].failure.CopyFrom(self.failure)
                if self.ends_as is not None:
                    self.outputs[run_id] = self.result
                    self.change(run_id, self.ends_as)
            return pb.SubmissionAnswer(accepted=pb.SubmitAccepted(run_id=run_id, created=created))

    def find(self, name: str, context: grpc.ServicerContext) -> pb.Run:
        found = [run for run_id, run in self.runs.items() if run_id.startswith(name)]
        if len(found) != 1:
            context.abort(grpc.StatusCode.NOT_FOUND, f"There is no run {name}. List runs with `mwfs runs list`.")
        return found[0]


class _Token(grpc.ServerInterceptor):
    def intercept_service(self, continuation, details):
        if ("authorization", f"Bearer {TOKEN}") in details.invocation_metadata:
            return continuation(details)

        def refuse(_: object, context: grpc.ServicerContext) -> None:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "The token is not this home's token.")

        return grpc.stream_stream_rpc_method_handler(refuse)


class _Orchestrator(orchestrator_pb2_grpc.OrchestratorServiceServicer):
    def __init__(self, platform: FakePlatform) -> None:
        self.platform = platform

    def RegisterVersion(self, request, context):
        if self.platform.not_ready > 0:
            self.platform.not_ready -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "No action service is there. Try again in a moment.")
        version = request.version
        version.digest = f"sha256:{sha256(version.SerializeToString()).hexdigest()}"
        created = version.digest not in self.platform.versions
        self.platform.versions[version.digest] = version
        return pb.RegisterVersionResponse(version=version, created=created)

    def GetVersion(self, request, context):
        return pb.GetVersionResponse(version=self.platform.versions[request.digest])

    def ListWorkflows(self, request, context):
        return pb.ListWorkflowsResponse(versions=self.platform.versions.values())

    def SubmitRuns(self, requests, context):
        self.platform.submit_streams += 1
        open_parts: dict[int, tuple[pb.SubmitHeader, list[bytes]]] = {}
        for part in (part for request in requests for part in request.parts):
            match part.WhichOneof("part"):
                case "header":
                    open_parts[part.submission] = (part.header, [])
                case "dag_chunk":
                    self.platform.largest_chunk = max(self.platform.largest_chunk, len(part.dag_chunk))
                    open_parts[part.submission][1].append(part.dag_chunk)
                case "end":
                    header, chunks = open_parts.pop(part.submission)
                    dag = b"".join(chunks)
                    if not header.compile:
                        assert part.end.dag_size == len(dag)
                        assert part.end.dag_digest == f"sha256:{sha256(dag).hexdigest()}"
                    answer = self.platform.accept(header, dag)
                    if self.platform.breaks > 0:
                        self.platform.breaks -= 1
                        context.abort(grpc.StatusCode.UNAVAILABLE, "A shard is away.")
                    answer.submission = part.submission
                    yield pb.SubmitRunsResponse(answers=[answer])

    def GetRun(self, request, context):
        return pb.GetRunResponse(run=self.platform.find(request.run_id, context))

    def ListRuns(self, request, context):
        self.platform.list_calls.append(request)
        found = [run for run in self.platform.runs.values() if not request.states or run.state in request.states]
        start = int(request.page_token or 0)
        more = str(start + request.page_size) if start + request.page_size < len(found) else ""
        return pb.ListRunsResponse(runs=found[start : start + request.page_size], next_page_token=more)

    def ListNodes(self, request, context):
        found = self.platform.nodes.get(request.run_id, [])
        return pb.ListNodesResponse(
            nodes=[
                node
                for node in found
                if node.node >= request.first_node and (not request.states or node.state in request.states)
            ]
        )

    def WatchRuns(self, request, context) -> Iterator[pb.WatchRunsResponse]:
        platform = self.platform
        changes: queue.Queue[str | None] = queue.Queue()
        with platform.lock:
            platform.watch_calls.append(list(request.run_ids))
            platform.watchers.append(changes)
            open_ids = set(request.run_ids)
            runs = [pb.Run.FromString(platform.find(each, context).SerializeToString()) for each in request.run_ids]
        context.add_callback(lambda: changes.put(None))
        platform.watched.set()
        while True:
            yield pb.WatchRunsResponse(updates=[pb.RunUpdate(run=run) for run in runs])
            open_ids -= {run.run_id for run in runs if run.state in ENDED}
            if not open_ids:
                return
            while (changed := changes.get()) not in open_ids:
                if changed is None:
                    context.abort(grpc.StatusCode.UNAVAILABLE, "The orchestrator is shutting down.")
            with platform.lock:
                runs = [pb.Run.FromString(platform.runs[changed].SerializeToString())]

    def WatchEvents(self, request, context):
        self.platform.event_calls.append(request)
        run_id = self.platform.find(request.run_id, context).run_id
        for batch in self.platform.events.get(run_id, []):
            if batch.first_number + len(batch.kind) > request.first_number:
                yield pb.WatchEventsResponse(batches=[batch])
                if self.platform.event_breaks > 0:
                    self.platform.event_breaks -= 1
                    context.abort(grpc.StatusCode.UNAVAILABLE, "The run has another owner now.")

    def GetOutputs(self, request, context):
        return pb.GetOutputsResponse(outputs=self.platform.outputs[request.run_id])

    def GetDag(self, request, context):
        data = self.platform.dags[request.run_id]
        yield from (pb.GetDagResponse(chunk=data[start : start + 100]) for start in range(0, len(data), 100))

    def CancelRun(self, request, context):
        slow = self.platform.cleans_up and not request.skip_cleanups
        self.platform.change(request.run_id, ev.RUN_STATE_CANCELLING if slow else ev.RUN_STATE_CANCELLED)
        return pb.CancelRunResponse(run=self.platform.runs[request.run_id])

    def PauseRun(self, request, context):
        self.platform.change(request.run_id, ev.RUN_STATE_PAUSED)
        return pb.PauseRunResponse(run=self.platform.runs[request.run_id])

    def ResumeRun(self, request, context):
        self.platform.change(request.run_id, ev.RUN_STATE_RUNNING)
        return pb.ResumeRunResponse(run=self.platform.runs[request.run_id])

    def RetryRun(self, request, context):
        run = self.platform.find(request.run_id, context)
        if run.state == ev.RUN_STATE_SUCCEEDED:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "The run has succeeded. Submit a new one.")
        run.round += 1
        self.platform.change(request.run_id, ev.RUN_STATE_RUNNING)
        return pb.RetryRunResponse(run=run)


class _Scheduler(scheduler_pb2_grpc.SchedulerServiceServicer):
    def __init__(self, platform: FakePlatform) -> None:
        self.platform = platform

    def ExplainWaiting(self, request, context):
        self.platform.when_explained()
        return scheduler_pb2.ExplainWaitingResponse(groups=self.platform.waiting)

    def ListHosts(self, request, context):
        address = f"127.0.0.1:{self.platform.port}"
        return scheduler_pb2.ListHostsResponse(hosts=[scheduler_pb2.Host(host="local", address=address)])


class _Observability(observability_pb2_grpc.ObservabilityServiceServicer):
    def __init__(self, platform: FakePlatform) -> None:
        self.platform = platform

    def GetTimeline(self, request, context):
        picture = self.platform.timelines.get(request.run_id)
        if picture is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "No event of the run has arrived yet.")
        start = int(request.page_token or 0)
        page = observability_pb2.GetTimelineResponse()
        page.CopyFrom(picture)
        del page.attempts[:]
        page.attempts.extend(picture.attempts[start : start + 2])
        page.next_page_token = str(start + 2) if start + 2 < len(picture.attempts) else ""
        return page


class _Action(action_pb2_grpc.ActionServiceServicer):
    def __init__(self, platform: FakePlatform) -> None:
        self.platform = platform

    def ReadLogs(self, request, context):
        key = (request.key.run_id, request.key.node, request.key.attempt)
        if key not in self.platform.logs:
            context.abort(grpc.StatusCode.NOT_FOUND, "This host knows no such attempt.")
        yield action_pb2.ReadLogsResponse(data=self.platform.logs[key])


class _Artifacts(action_pb2_grpc.ArtifactServiceServicer):
    def __init__(self, platform: FakePlatform) -> None:
        self.platform = platform

    def FindMissing(self, request, context):
        missing = [digest for digest in request.digests if digest not in self.platform.store]
        return action_pb2.FindMissingResponse(digests=missing)

    def Upload(self, requests, context):
        parts = iter(requests)
        header = next(parts).header
        data = b"".join(part.data for part in parts)
        if header.digest != f"sha256:{sha256(data).hexdigest()}" or header.size != len(data):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "The digest does not match the bytes.")
        self.platform.store[header.digest] = data
        self.platform.uploads.append(header.digest)
        return action_pb2.UploadResponse(created=True)

    def Download(self, request, context):
        data = self.platform.store.get(request.digest)
        if data is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "There is no such artifact.")
        yield from (action_pb2.DownloadResponse(data=data[start : start + 10]) for start in range(0, len(data), 10))


def sample_events() -> list[ev.RunEvents]:
    """Of a run of two nodes that fails, in three commits."""
    started = ev.Detail(index=1)
    started.started.operators.append("flows:count")
    started.started.node_operator.extend([0, 0])
    failed = ev.Detail(index=1)
    failed.failure.error_type = "ValueError"
    return [
        ev.RunEvents(
            first_number=1,
            kind=[1, 3],
            node=[-1, -1],
            attempt=[0, 0],
            time_us=[1_000_000, 2_000_000],
            details=[started],
        ),
        ev.RunEvents(
            first_number=3, kind=[20, 20], node=[0, 1], attempt=[1, 1], time_us=[3_000_000] * 2, ready_us=[5, 6]
        ),
        ev.RunEvents(
            first_number=5,
            kind=[21, 22, 6],
            node=[0, 1, -1],
            attempt=[1, 1, 0],
            time_us=[4_000_000] * 3,
            body_started_us=[10, 20],
            body_ended_us=[11, 22],
            place=[0, 1],
            places=["h/w1", "h/w2"],
            details=[failed],
        ),
    ]
