"""What a value looks like, whatever its type: words for it, and whether it is well formed."""

import re
from collections.abc import Iterable
from itertools import pairwise

from mwfs_api.types.v1 import types_pb2
from mwfs_types.errors import BadValue, show
from mwfs_types.limits import MAX_LONG_NAME, MAX_VALUE_DEPTH

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ENCODING = re.compile(r"[a-z0-9][a-z0-9._+-]{0,63}")


def found_in(value: types_pb2.Value) -> str:
    """The value in a few words, for an error."""
    match value.WhichOneof("kind"):
        case None:
            return "an empty value"
        case "null":
            return "None"
        case "list":
            return f"list of length {len(value.list.items)}"
        case "map":
            return f"dict of length {len(value.map.keys)}"
        case "record":
            return f"a record of {len(value.record.fields)} fields"
        case "member":
            return f"enum member {show(value.member)}"
        case "artifact":
            return f"an artifact of encoding {show(value.artifact.encoding)}"
        case kind:
            return show(getattr(value, kind))


def check_artifact(artifact: types_pb2.Artifact) -> None:
    """Raises BadValue unless the address is one that the object store could have given."""
    if not DIGEST.fullmatch(artifact.digest):
        raise BadValue(
            expected='a digest "sha256:" and 64 hexadecimal digits', found=show(artifact.digest), path=".digest"
        )
    if not _ENCODING.fullmatch(artifact.encoding):
        raise BadValue(expected="the name of an encoding", found=show(artifact.encoding), path=".encoding")
    if len(artifact.file_name) > MAX_LONG_NAME or "\0" in artifact.file_name:
        raise BadValue(expected=f"a file name up to {MAX_LONG_NAME} characters", found="another", path=".file_name")


def check_keys(value: types_pb2.MapValue) -> None:
    """Raises BadValue unless the keys are sorted, unique, and as many as the values."""
    keys = list(value.keys)
    if len(keys) != len(value.values):
        raise BadValue(expected=f"{len(keys)} values, one for each key", found=str(len(value.values)))
    for left, right in pairwise(keys):
        if left >= right:
            problem = "twice" if left == right else f"after {show(left)}"
            raise BadValue(expected="sorted, unique keys", found=f"{show(right)} {problem}")


def check_well_formed(value: types_pb2.Value, depth: int = 0) -> None:
    """Raises BadValue unless the value could be one of some type: for what a semantic type carries inline."""
    if depth > MAX_VALUE_DEPTH:
        raise BadValue(expected=f"at most {MAX_VALUE_DEPTH} levels of nesting", found="more")
    kind = value.WhichOneof("kind")
    if kind is None:
        raise BadValue(expected="a value", found="an empty value")
    if kind == "artifact":
        check_artifact(value.artifact)
    elif kind == "list":
        _check_parts(value.list.items, depth)
    elif kind == "record":
        _check_parts(value.record.fields, depth)
    elif kind == "map":
        check_keys(value.map)
        _check_parts(value.map.values, depth)


def _check_parts(parts: Iterable[types_pb2.Value], depth: int) -> None:
    for index, part in enumerate(parts):
        try:
            check_well_formed(part, depth + 1)
        except BadValue as error:
            raise error.under(f"[{index}]") from None
