"""Outputs of a run as plain Python: numbers, text, lists, dicts; files stay remote until they are asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.checking import read_as

#: Encoding of artifacts that hold a serialised Value: values that were too large to travel inline.
VALUE_ENCODING = "value"

ReadBytes = Callable[[types_pb2.Artifact], Awaitable[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file-like output in the object store. `client.download(file, path)` fetches it."""

    #: "Dataset", "Model", "Metrics", "File" or a registered name.
    type: str
    digest: str
    size: int
    encoding: str
    file_name: str

    @property
    def artifact(self) -> types_pb2.Artifact:
        return types_pb2.Artifact(digest=self.digest, size=self.size, encoding=self.encoding, file_name=self.file_name)


async def plain_outputs(outputs: orchestrator_pb2.GetOutputsResponse, read: ReadBytes) -> dict[str, object]:
    """Each output by its name."""
    return {output.name: await plain_value(output.value, output.type, read) for output in outputs.outputs}


async def plain_value(value: types_pb2.Value, kind: types_pb2.Type, read: ReadBytes) -> object:
    """A value as plain Python. Records become dicts, tuples lists, enums their member's name."""
    if value.WhichOneof("kind") == "artifact" and value.artifact.encoding == VALUE_ENCODING:
        value = types_pb2.Value.FromString(await read(value.artifact))
    kind = read_as(value, kind)
    match value.WhichOneof("kind"):
        case "null" | None:
            return None
        case "artifact":
            artifact = value.artifact
            return RemoteFile(
                type=kind.semantic.name,
                digest=artifact.digest,
                size=artifact.size,
                encoding=artifact.encoding,
                file_name=artifact.file_name,
            )
        case "list":
            item = kind.list.item
            return [await plain_value(each, item, read) for each in value.list.items]
        case "map":
            item = kind.map.value
            pairs = zip(value.map.keys, value.map.values, strict=False)
            return {key: await plain_value(each, item, read) for key, each in pairs}
        case "record":
            if kind.WhichOneof("kind") == "tuple":
                items = zip(kind.tuple.items, value.record.fields, strict=False)
                return [await plain_value(each, item, read) for item, each in items]
            fields = kind.record.fields
            return {
                field.name: await plain_value(each, field.type, read)
                for field, each in zip(fields, value.record.fields, strict=False)
            }
        case name:
            scalar: object = getattr(value, name)
            return scalar
