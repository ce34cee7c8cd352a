"""Where values that are too large, or are files, are kept: the seam that the SDK's artifact store fills."""

from typing import Any, NoReturn, Protocol

from mwfs_api.types.v1 import types_pb2
from mwfs_types.errors import BadValue

#: Encoding of an artifact that holds a serialised Value, which any value may become when it is large.
SPILLED = "value"


class Files(Protocol):
    """Stores and fetches what does not travel inline."""

    def save(self, obj: Any, semantic: str) -> types_pb2.Artifact:
        """Stores the bytes of `obj`, which is of the semantic type with this name."""

    def load(self, artifact: types_pb2.Artifact, cls: type[Any]) -> Any:
        """Fetches an artifact as a `cls`. With `types_pb2.Value` as `cls`: parses what encoding "value" stored."""


class NoFiles:
    """Files for where there are none: every use is a BadValue."""

    def save(self, obj: Any, semantic: str) -> NoReturn:
        raise BadValue(expected="a value that travels inline", found=semantic, fix="Files need an artifact store.")

    def load(self, artifact: types_pb2.Artifact, cls: type[Any]) -> NoReturn:
        raise BadValue(expected="a value that travels inline", found="an artifact", fix="Files need an artifact store.")


NO_FILES: Files = NoFiles()


def is_spilled(value: types_pb2.Value) -> bool:
    """True when the value stands for a larger one that was stored as an artifact."""
    return value.WhichOneof("kind") == "artifact" and value.artifact.encoding == SPILLED


def unspill(value: types_pb2.Value, files: Files) -> types_pb2.Value:
    """The value that a spilled one stands for."""
    loaded: types_pb2.Value = files.load(value.artifact, types_pb2.Value)
    if is_spilled(loaded):
        raise BadValue(expected="a stored value", found="an artifact that refers to another", fix="Store it again.")
    return loaded
