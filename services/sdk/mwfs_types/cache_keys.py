"""The key under which the result of a pure operator is kept: what it is made of, part by part, so that a miss can be explained.

The client predicts with it, the orchestrator decides with it; both must come to the same key for the same call.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2

Type = types_pb2.Type
Value = types_pb2.Value

CODE = "code"
ENVIRONMENT = "environment"
SIGNATURE = "signature"
#: Followed by the name of a parameter.
INPUT = "input:"


def key_parts(operator: dag_pb2.Operator, types: Sequence[Type], arguments: Sequence[Value]) -> dict[str, str]:
    """Digests by name. `types`: what the operator's type indices refer to; `arguments`: one for each of its parameters."""
    parts = {
        CODE: operator.code_digest,
        ENVIRONMENT: operator.environment_digest,
        SIGNATURE: _signature(operator, types),
    }
    for parameter, argument in zip(operator.parameters, arguments, strict=True):
        parts[INPUT + parameter.name] = value_digest(argument)
    return parts


def key_of(parts: Mapping[str, str]) -> str:
    """One digest over all parts: "sha256:…"."""
    return _digest(text.encode() for name in sorted(parts) for text in (name, parts[name]))


def value_digest(value: Value) -> str:
    """Equal for equal values. Of an artifact its digest and encoding count, not the name of the file that it came from."""
    if _has_artifact(value):
        bare = Value()
        bare.CopyFrom(value)
        _strip(bare)
        value = bare
    return _digest((value.SerializeToString(deterministic=True),))


def _signature(operator: dag_pb2.Operator, types: Sequence[Type]) -> str:
    fields = [operator.module.encode(), operator.qualname.encode()]
    rows: list[dag_pb2.Parameter | dag_pb2.Output] = [*operator.parameters, *operator.outputs]
    fields.append(str(len(operator.parameters)).encode())
    for row in rows:
        fields += [row.name.encode(), types[row.type].SerializeToString(deterministic=True)]
    return _digest(fields)


def _digest(fields: Iterable[bytes]) -> str:
    digest = sha256()
    for field in fields:
        digest.update(len(field).to_bytes(8, "big"))
        digest.update(field)
    return f"sha256:{digest.hexdigest()}"


def _inside(value: Value) -> Sequence[Value]:
    match value.WhichOneof("kind"):
        case "list":
            return value.list.items
        case "map":
            return value.map.values
        case "record":
            return value.record.fields
    return ()


def _has_artifact(value: Value) -> bool:
    return value.WhichOneof("kind") == "artifact" or any(map(_has_artifact, _inside(value)))


def _strip(value: Value) -> None:
    if value.WhichOneof("kind") == "artifact":
        value.artifact.file_name = ""
        value.artifact.size = 0
    for inner in _inside(value):
        _strip(inner)
