"""Dags as untrusted bytes: fetched, bounded, checked, and only then believed."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import grpc
from google.protobuf.message import DecodeError

from mwfs_api.action.v1 import action_pb2, action_pb2_grpc
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_chassis.channel import open_channel
from mwfs_chassis.identity import Identity
from mwfs_types.dag_check import BadDag, DagLimits, check_patch
from mwfs_types.dag_steps import patch_of
from mwfs_types.shapes import DIGEST

from .graph import Graph
from .known_dags import MAX_BYTES, KnownDags
from .model import RunHeader

#: A million nodes are about 70 MB.
MAX_DAG_BYTES: Final = 512 * 1024 * 1024
#: Of what one dynamic operator makes: a hundred thousand nodes are about 7 MB, and it is stored as one row.
MAX_PATCH_BYTES: Final = 64 * 1024 * 1024
#: Of what a worker says that a run takes from an earlier one: a few bytes for each node.
MAX_RERUN_BYTES: Final = 16 * 1024 * 1024
CHUNK_BYTES: Final = 1024 * 1024
#: Larger Dags are read on a thread, so that leases are renewed meanwhile.
_THREAD_BYTES: Final = MAX_BYTES
_FETCH_TIMEOUT_S: Final = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledDag:
    """A Dag that has passed all checks, with its bytes in chunks as they are stored."""

    chunks: list[bytes]
    graph: Graph


class CompiledDags:
    """Reads Dags from submissions, shards and compile attempts."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._known = KnownDags()

    async def checked(self, data: bytes, workflow: str) -> CompiledDag:
        """Believes a Dag of `workflow`. Raises BadDag."""
        check = self._known.check
        graph = await asyncio.to_thread(check, data) if len(data) > _THREAD_BYTES else check(data)
        if graph.dag.workflow != workflow:
            raise BadDag(f"it is of the workflow {graph.dag.workflow!r}, not {workflow!r}")
        return CompiledDag(chunks=[data[i : i + CHUNK_BYTES] for i in range(0, len(data), CHUNK_BYTES)], graph=graph)

    async def graph_of(self, data: bytes) -> Graph:
        """The graph of a Dag that was checked when it was stored."""
        return await asyncio.to_thread(_parse, data) if len(data) > _THREAD_BYTES else _parse(data)

    async def fetch(
        self, address: str, header: RunHeader, outcome: action_pb2.Outcome
    ) -> CompiledDag | events_pb2.Failure:
        """What a compile attempt made, from the object store behind `address`; a failure when it is not a Dag that can be believed."""
        try:
            data = await self._download(address, _artifact_of(outcome), MAX_DAG_BYTES)
            return await self.checked(data, header.workflow)
        except (DecodeError, BadDag) as error:
            return _refusal(f"What the compiler made is not a valid Dag: {error}")
        except grpc.aio.AioRpcError as error:
            return _refusal(f"The compiled Dag could not be fetched: {error.details()}")

    async def fetch_rerun(self, address: str, outcome: action_pb2.Outcome) -> events_pb2.RerunFacts:
        """What a compile attempt says that the run takes from an earlier one. Raises BadDag, DecodeError, AioRpcError."""
        data = await self._download(address, _artifact_of(outcome, 1), MAX_RERUN_BYTES)
        return events_pb2.RerunFacts.FromString(data)

    async def fetch_patch(
        self,
        address: str,
        operator: dag_pb2.Operator,
        types: Sequence[types_pb2.Type],
        outcome: action_pb2.Outcome,
    ) -> dag_pb2.DagPatch | action_pb2.Outcome:
        """What the attempt of a dynamic operator made, from the object store behind `address`; another outcome when it is not a Dag that can be believed."""
        try:
            data = await self._download(address, _artifact_of(outcome), MAX_PATCH_BYTES)
            if len(data) > _THREAD_BYTES:
                return await asyncio.to_thread(_check_patch, data, operator, types, outcome.key.node)
            return _check_patch(data, operator, types, outcome.key.node)
        except (DecodeError, BadDag) as error:
            failure = _refusal(
                f"What the dynamic operator made is not a valid Dag: {error}",
                next_step="Call the operator in a workflow with `run_local` to see more.",
            )
            failure.kind = events_pb2.FAILURE_KIND_BAD_RESULT
            return _instead(outcome, events_pb2.ATTEMPT_STATE_FAILED, failure)
        except grpc.aio.AioRpcError as error:
            failure = events_pb2.Failure(
                kind=events_pb2.FAILURE_KIND_LOST,
                error_type="ArtifactMissing",
                message=f"The Dag that the dynamic operator made could not be fetched: {error.details()}",
                next_step="It is tried again.",
                node=-1,
            )
            return _instead(outcome, events_pb2.ATTEMPT_STATE_LOST, failure)

    async def _download(self, address: str, artifact: types_pb2.Artifact, most: int) -> bytes:
        if artifact.size > most:
            raise BadDag(f"it has {artifact.size:,} bytes, more than the {most:,} that are allowed")
        parts, size = [], 0
        async with open_channel(address) as channel:
            call = action_pb2_grpc.ArtifactServiceStub(channel).Download(
                action_pb2.DownloadRequest(digest=artifact.digest),
                metadata=self._identity.metadata,
                timeout=_FETCH_TIMEOUT_S,
            )
            async for response in call:
                parts.append(response.data)
                size += len(response.data)
                if size > most:
                    raise BadDag(f"it has more than the {most:,} bytes that are allowed")
        data = b"".join(parts)
        if artifact.digest != "sha256:" + sha256(data).hexdigest():
            raise BadDag("its bytes do not match its digest")
        return data


def _artifact_of(outcome: action_pb2.Outcome, output: int = 0) -> types_pb2.Artifact:
    """The artifact that an attempt made: the first is a Dag. Raises BadDag, DecodeError."""
    found = types_pb2.Value.FromString(outcome.outputs[output]) if output < len(outcome.outputs) else types_pb2.Value()
    if found.WhichOneof("kind") != "artifact" or not DIGEST.fullmatch(found.artifact.digest):
        raise BadDag("its outcome is no artifact")
    return found.artifact


def _parse(data: bytes) -> Graph:
    dag = dag_pb2.Dag()
    dag.ParseFromString(data)
    return Graph(dag)


def _check_patch(
    data: bytes, operator: dag_pb2.Operator, types: Sequence[types_pb2.Type], node: int
) -> dag_pb2.DagPatch:
    """Raises BadDag unless a run may grow by this Dag, and its outputs are the operator's."""
    dag = dag_pb2.Dag()
    try:
        dag.ParseFromString(data)
    except DecodeError as error:
        raise BadDag("the bytes are not a Dag message") from error
    patch = patch_of(dag, node)
    check_patch(patch, limits=DagLimits())
    declared = [(output.name, types[output.type]) for output in operator.outputs]
    if [(output.name, dag.types[output.type]) for output in dag.outputs] != declared:
        raise BadDag("its outputs are not those that the operator declares")
    return patch


def _instead(
    outcome: action_pb2.Outcome, state: events_pb2.AttemptState.ValueType, failure: events_pb2.Failure
) -> action_pb2.Outcome:
    """The same attempt with another end."""
    changed = action_pb2.Outcome()
    changed.CopyFrom(outcome)
    changed.ClearField("outputs")
    changed.state = state
    changed.failure.CopyFrom(failure)
    return changed


def _refusal(
    message: str,
    error_type: str = "BadDag",
    next_step: str = "Compile it on your machine with `mwfs compile` to see more.",
) -> events_pb2.Failure:
    return events_pb2.Failure(
        kind=events_pb2.FAILURE_KIND_COMPILE, error_type=error_type, message=message, next_step=next_step, node=-1
    )
