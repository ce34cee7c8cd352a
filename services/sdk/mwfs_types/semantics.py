"""What the semantic types that come with the platform look like as values. Those that teams add may be anything well formed."""

from typing import Final

from mwfs_api.types.v1 import types_pb2

#: Always an artifact.
ARTIFACTS: Final = frozenset(("Dataset", "Model", "File"))

#: Travel inline, as values of these types; `value_from_json` takes them as plain JSON.
INLINE: Final = {
    "Metrics": types_pb2.Type(
        map=types_pb2.MapType(value=types_pb2.Type(scalar=types_pb2.SCALAR_KIND_FLOAT)),
    )
}
