"""Types from damaged or made-up bytes: each is refused with UnsupportedType, or everything can be done with it."""

from typing import Any

from builders.annotated import annotations
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mwfs_api.types.v1 import types_pb2
from mwfs_types.annotations import UnsupportedType, type_of
from mwfs_types.assignability import explain_mismatch, is_assignable
from mwfs_types.checking import checker_for
from mwfs_types.errors import BadValue
from mwfs_types.json_schema import schema_of, value_from_json
from mwfs_types.limits import MAX_DEPTH
from mwfs_types.rendering import describe
from mwfs_types.telling_apart import confusable_arms
from mwfs_types.type_rules import check_type, height_of, parse_type

EDITS = st.lists(st.tuples(st.integers(0, 10_000), st.sampled_from("rid"), st.integers(0, 255)), min_size=1, max_size=4)


def edited(data: bytes, edits: list[tuple[int, str, int]]) -> bytes:
    changed = bytearray(data)
    for place, how, byte in edits:
        at = place % (len(changed) + 1)
        if how == "i":
            changed.insert(at, byte)
        elif at < len(changed) and how == "r":
            changed[at] = byte
        elif at < len(changed):
            del changed[at]
    return bytes(changed)


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(annotations, EDITS, annotations)
def test_what_is_believed_can_be_used(annotation: Any, edits: list[tuple[int, str, int]], other: Any) -> None:
    try:
        type_ = parse_type(edited(type_of(annotation).SerializeToString(), edits))
        assert describe(type_)
        assert describe(type_, full=True)
        assert explain_mismatch(type_, type_of(other)) is None or not is_assignable(type_, type_of(other))
        check_type(type_)
    except UnsupportedType:
        return
    schema_of(type_)
    height_of(type_)
    confusable_arms([type_, type_of(other)])
    assert is_assignable(type_, type_)
    for use in (
        lambda: checker_for(type_.SerializeToString())(types_pb2.Value(integer=1)),
        lambda: value_from_json({"name": [1]}, type_, patterns=False),
    ):
        try:
            use()
        except BadValue:
            continue


@given(st.binary(max_size=80))
def test_any_bytes_are_a_type_that_is_refused_or_not(data: bytes) -> None:
    try:
        type_ = parse_type(data)
        assert describe(type_)
        check_type(type_)
    except UnsupportedType:
        return
    schema_of(type_)


@given(annotations)
def test_types_are_one_message_each(annotation: Any) -> None:
    """Bytes are a normal form: parsing and serialising gives the same bytes, so digests of types can be compared."""
    data = type_of(annotation).SerializeToString(deterministic=True)
    assert parse_type(data).SerializeToString(deterministic=True) == data
    assert height_of(type_of(annotation)) <= MAX_DEPTH
