"""Submissions of small runs at a given rate, whatever the platform makes of them: many clients, open loop."""

import asyncio
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import grpc

from mwfs.bench import workflows
from mwfs.client.async_client import Client
from mwfs.compiler import compile as compile_workflow
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_api.orchestrator.v1 import orchestrator_pb2_grpc
from mwfs_chassis.channel import open_channel
from mwfs_chassis.identity import Identity

_TICK_S = 0.02
#: A client that could not send a submission for so long gives it up: it offers new ones all the time.
_GIVE_UP_S = 5.0
_SEEDS = 64


@dataclass(slots=True)
class Answers:
    """What became of what was offered."""

    offered: int = 0
    #: Not sent, as the platform did not read for so long.
    held_back: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    #: Refused without saying when to come again.
    without_retry: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    run_ids: list[str] = field(default_factory=list)
    accept_s: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        ranked = sorted(self.accept_s) or [0.0]
        return {
            "offered": self.offered,
            "held_back": self.held_back,
            "accepted": self.accepted,
            "refused": dict(self.refused),
            "refused_without_retry_time": self.without_retry,
            "broken_streams": dict(self.broken),
            "accept_ms_median": round(1000 * ranked[len(ranked) // 2], 1),
            "accept_ms_p99": round(1000 * ranked[int(len(ranked) * 0.99)], 1),
        }


class Load:
    """Ready-made submissions of `workflows.small`."""

    def __init__(self, address: str, identity: Identity, header: pb.SubmitHeader, dags: list[bytes]) -> None:
        self._address = address
        self._identity = identity
        self._header = header.SerializeToString()
        self._bodies = [
            (
                pb.SubmissionPart(dag_chunk=dag),
                pb.SubmissionPart(end=pb.SubmitEnd(dag_size=len(dag), dag_digest="sha256:" + sha256(dag).hexdigest())),
            )
            for dag in dags
        ]

    @classmethod
    async def prepare(cls, client: Client, address: str, token: str) -> "Load":
        version = await client.register(workflows.small)
        bundle = dag_pb2.Dag(bundle_digest=version.bundle_digest).SerializeToString()
        dags = [compile_workflow(workflows.small, seed=seed).serialize() + bundle for seed in range(_SEEDS)]
        header = pb.SubmitHeader(workflow=version.workflow, version_digest=version.digest)
        return cls(address, Identity(token=token, principal="soak", team="default"), header, dags)

    async def offer(self, rate: float, seconds: float, *, clients: int = 32, answers: Answers | None = None) -> Answers:
        """So many submissions a second from so many clients, each with a channel and a stream of its own."""
        answers = answers if answers is not None else Answers()
        begun = time.monotonic()
        await asyncio.gather(
            *(self._one(rate / clients, begun, begun + seconds, answers, number) for number in range(clients))
        )
        return answers

    async def _one(self, rate: float, begun: float, until: float, answers: Answers, number: int) -> None:
        sent = 0.0
        await asyncio.sleep(_TICK_S * (number % 8) / 8)
        while time.monotonic() < until:
            async with open_channel(self._address) as channel:
                call = orchestrator_pb2_grpc.OrchestratorServiceStub(channel).SubmitRuns(
                    metadata=self._identity.metadata, wait_for_ready=True
                )
                waiting: dict[int, float] = {}
                reader = asyncio.create_task(_read(call, waiting, answers))
                try:
                    while (now := time.monotonic()) < until and not reader.done():
                        due = rate * (now - begun) - sent
                        late = int(due - rate * _GIVE_UP_S)
                        if late > 0:
                            sent, due = sent + late, due - late
                            answers.offered += late
                            answers.held_back += late
                        if due >= 1:
                            sent += int(due)
                            answers.offered += int(due)
                            message = self._message(int(due), waiting, now)
                            async with asyncio.timeout(max(until - now, 0.1)):
                                await call.write(message)
                        await asyncio.sleep(_TICK_S)
                    async with asyncio.timeout(_GIVE_UP_S):
                        await call.done_writing()
                        await reader
                except (grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
                    pass
                finally:
                    reader.cancel()
                    await asyncio.gather(reader, return_exceptions=True)
                    answers.broken["unanswered"] += len(waiting)
                    call.cancel()

    def _message(self, count: int, waiting: dict[int, float], now: float) -> pb.SubmitRunsRequest:
        message = pb.SubmitRunsRequest()
        for _ in range(count):
            number = len(waiting) + 1 if not waiting else max(next(reversed(waiting)) + 1, 1)
            waiting[number] = now
            request_id = uuid.uuid4()
            header = pb.SubmitHeader.FromString(self._header)
            header.request_id = str(request_id)
            chunk, end = self._bodies[request_id.int % len(self._bodies)]
            message.parts.add(submission=number, header=header)
            message.parts.add(submission=number, dag_chunk=chunk.dag_chunk)
            message.parts.add(submission=number, end=end.end)
        return message


async def _read(call: Any, waiting: dict[int, float], answers: Answers) -> None:
    try:
        async for response in call:
            now = time.monotonic()
            for answer in response.answers:
                since = waiting.pop(answer.submission, now)
                if answer.HasField("accepted"):
                    answers.accepted += 1
                    answers.accept_s.append(now - since)
                    answers.run_ids.append(answer.accepted.run_id)
                else:
                    answers.refused[answer.refused.code] += 1
                    answers.without_retry += answer.refused.retry_after_seconds <= 0
    except grpc.aio.AioRpcError as error:
        answers.broken[error.code().name] += 1
