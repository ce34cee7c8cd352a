"""Dags as untrusted bytes: fetched, bounded, checked, and only then believed."""

import asyncio
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
from mwfs_types.dag_check import BadDag, check_dag

from .graph import Graph
from .model import RunHeader

#: A million nodes are about 70 MB.
MAX_DAG_BYTES: Final = 512 * 1024 * 1024
CHUNK_BYTES: Final = 1024 * 1024
#: Larger Dags are checked on a thread, so that leases are renewed meanwhile.
_THREAD_BYTES: Final = 64 * 1024
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

    async def checked(self, data: bytes, workflow: str) -> CompiledDag:
        """Believes a Dag of `workflow`. Raises BadDag."""
        graph = await asyncio.to_thread(_check, data, workflow) if len(data) > _THREAD_BYTES else _check(data, workflow)
        return CompiledDag(chunks=[data[i : i + CHUNK_BYTES] for i in range(0, len(data), CHUNK_BYTES)], graph=graph)

    async def graph_of(self, data: bytes) -> Graph:
        """The graph of a Dag that was checked when it was stored."""
        return await asyncio.to_thread(_parse, data) if len(data) > _THREAD_BYTES else _parse(data)

    async def fetch(
        self, address: str, header: RunHeader, outcome: action_pb2.Outcome
    ) -> CompiledDag | events_pb2.Failure:
        """What a compile attempt made, from the object store behind `address`; a failure when it is not a Dag that can be believed."""
        try:
            artifact = types_pb2.Value.FromString(outcome.outputs[0]).artifact
            data = await self._download(address, artifact)
            return await self.checked(data, header.workflow)
        except (IndexError, DecodeError, BadDag) as error:
            return _refusal(f"What the compiler made is not a valid Dag: {error}")
        except grpc.aio.AioRpcError as error:
            return _refusal(f"The compiled Dag could not be fetched: {error.details()}")

    async def _download(self, address: str, artifact: types_pb2.Artifact) -> bytes:
        if artifact.size > MAX_DAG_BYTES:
            raise BadDag(f"it has {artifact.size:,} bytes, more than the {MAX_DAG_BYTES:,} that are allowed")
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
                if size > MAX_DAG_BYTES:
                    raise BadDag(f"it has more than the {MAX_DAG_BYTES:,} bytes that are allowed")
        data = b"".join(parts)
        if artifact.digest != "sha256:" + sha256(data).hexdigest():
            raise BadDag("its bytes do not match its digest")
        return data


def _parse(data: bytes) -> Graph:
    dag = dag_pb2.Dag()
    dag.ParseFromString(data)
    return Graph(dag)


def _check(data: bytes, workflow: str) -> Graph:
    dag = dag_pb2.Dag()
    try:
        dag.ParseFromString(data)
    except DecodeError as error:
        raise BadDag("the bytes are not a Dag message") from error
    check_dag(dag)
    if dag.workflow != workflow:
        raise BadDag(f"it is of the workflow {dag.workflow!r}, not {workflow!r}")
    return Graph(dag)


def _refusal(message: str) -> events_pb2.Failure:
    return events_pb2.Failure(
        kind=events_pb2.FAILURE_KIND_COMPILE,
        error_type="BadDag",
        message=message,
        next_step="Compile it on your machine with `mwfs compile` to see more.",
        node=-1,
    )
