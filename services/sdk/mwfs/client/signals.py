"""Signals into a run: the payload is encoded by the type that the workflow declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mwfs.client.transfers import Progress, upload_missing
from mwfs.errors import InvalidInput
from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.rendering import describe

if TYPE_CHECKING:
    from mwfs.client.connection import Connection
    from mwfs.local_files import LocalFiles

#: What can be told apart without a declared type.
_PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """An encoded payload, and the files that it refers to."""

    value: types_pb2.Value
    files: Mapping[str, Path]


async def list_signals(connection: Connection, run: str) -> list[orchestrator_pb2.Signal]:
    service = connection.orchestrator
    request = orchestrator_pb2.ListSignalsRequest(run_id=run)
    return list((await service.call(service.stub.ListSignals, request)).signals)


async def declared_signals(connection: Connection, run: str) -> dict[str, types_pb2.Type]:
    """The types of the signals that something in the run has declared so far."""
    return {signal.name: signal.type for signal in await list_signals(connection, run) if signal.HasField("type")}


async def send(
    connection: Connection, run: str, name: str, payload: Payload, request_id: str, progress: Progress | None = None
) -> bool:
    """Whether it is new."""
    if payload.files:
        await upload_missing(connection.artifacts, payload.files, progress)
    service = connection.orchestrator
    request = orchestrator_pb2.SignalRunRequest(run_id=run, name=name, payload=payload.value, request_id=request_id)
    return (await service.call(service.stub.SignalRun, request)).created


def encode_payload(name: str, payload: Any, declared: Mapping[str, types_pb2.Type]) -> Payload:
    """Raises InvalidInput unless the payload is of the declared type. The platform says whether it takes a signal that is not declared."""
    from mwfs.local_files import LocalFiles
    from mwfs_types.annotations import type_of
    from mwfs_types.errors import BadValue

    kind = declared.get(name)
    if kind is None:
        if not isinstance(payload, _PLAIN):
            raise InvalidInput(
                f"Nothing in the run declares the signal `{name}` so far (its signals: {', '.join(sorted(declared)) or 'none'}), "
                "so its payload cannot be encoded.",
                "Take one of these names, send it when a node waits for it, or send a plain number, text or bool.",
            )
        kind = type_of(type(payload))
    files = LocalFiles()
    try:
        value = files.spill(_encode(payload, kind, files))
    except BadValue as error:
        raise InvalidInput(
            f"The payload of the signal `{name}{error.path}` expects {error.expected}, found {error.found}.",
            error.fix or f"Send a value of type {describe(kind)}.",
        ) from None
    return Payload(value=value, files=files.paths)


def _encode(payload: Any, kind: types_pb2.Type, files: LocalFiles) -> types_pb2.Value:
    """A value of the workflow's own classes, or the JSON document of one: who sends a signal need not have the code. Raises BadValue."""
    from mwfs_types.errors import BadValue
    from mwfs_types.json_schema import value_from_json
    from mwfs_types.values import encode

    try:
        return encode(payload, kind, files)
    except BadValue:
        if not isinstance(payload, (dict, list)):
            raise
    return value_from_json(payload, kind)
