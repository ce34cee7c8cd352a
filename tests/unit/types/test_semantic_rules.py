"""Semantic types from the wire: what they may say of versions, layouts, viewers and widgets, and what checking them may cost."""

from collections.abc import Callable

import pytest
from builders.annotated import GeoPoint
from builders.dags import INT, INTS, DagBuilder

from mwfs_api.types.v1 import types_pb2
from mwfs_types.annotations import UnsupportedType, type_of
from mwfs_types.assignability import is_assignable
from mwfs_types.dag_check import BadDag, check_dag
from mwfs_types.errors import BadValue
from mwfs_types.type_rules import check_type
from mwfs_types.values import check

TEXT = types_pb2.Type(scalar=types_pb2.SCALAR_KIND_STRING)


def semantic(name: str, layout: types_pb2.Type, older: list[types_pb2.Type]) -> types_pb2.Type:
    made = types_pb2.SemanticType(name=name, version=len(older) + 1, representation=layout)
    for version, one in enumerate(older, 1):
        made.reads.add(version=version, representation=one)
    return types_pb2.Type(semantic=made)


def change(how: Callable[[types_pb2.SemanticType], object]) -> types_pb2.Type:
    type_ = types_pb2.Type()
    type_.CopyFrom(type_of(GeoPoint))
    how(type_.semantic)
    return type_


def nested(levels: int) -> types_pb2.Type:
    type_ = INT
    for _ in range(levels):
        type_ = types_pb2.Type(list=types_pb2.ListType(item=type_))
    return type_


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (lambda one: one.reads.add(version=3), "the older versions that it reads"),
        (lambda one: one.reads.add(version=0), "the older versions that it reads"),
        (lambda one: one.reads.add(version=2), "the older versions that it reads"),
        (lambda one: one.reads.insert(0, types_pb2.OlderVersion(version=9)), "the older versions that it reads"),
        (lambda one: one.reads.extend([types_pb2.OlderVersion(version=1)] * 1000), "the older versions that it reads"),
        (lambda one: one.reads.add(version=1), "ascending"),
        (lambda one: setattr(one, "version", 0), "a version from 1"),
        (lambda one: setattr(one, "name", "two words"), "an identifier"),
        (lambda one: setattr(one, "name", "x" * 300), "an identifier"),
        (lambda one: setattr(one, "viewer", "a\nb"), "printable name"),
        (lambda one: setattr(one, "widget", "x" * 300), "printable name"),
        (lambda one: one.representation.SetInParent() or one.representation.Clear(), "empty"),
        (lambda one: one.representation.CopyFrom(nested(24)), "nest"),
        (lambda one: one.reads[0].representation.CopyFrom(nested(24)), "nest"),
    ],
)
def test_types_that_say_what_cannot_be_are_refused(how: Callable[[types_pb2.SemanticType], object], words: str) -> None:
    check_type(type_of(GeoPoint))
    with pytest.raises(UnsupportedType, match=words):
        check_type(change(how))


def test_viewers_and_widgets_make_no_other_type() -> None:
    shown = change(lambda one: setattr(one, "viewer", "globe"))
    assert is_assignable(shown, type_of(GeoPoint))
    assert is_assignable(type_of(GeoPoint), shown)


def test_values_of_every_layout_are_checked_by_those_who_have_no_class() -> None:
    kind = semantic("Thing", TEXT, [INT, INTS])
    for value in (types_pb2.Value(text="a"), types_pb2.Value(integer=1), types_pb2.Value(list=types_pb2.ListValue())):
        check(value, kind)
    with pytest.raises(BadValue, match="expected str"):
        check(types_pb2.Value(boolean=True), kind)


def test_a_long_constant_against_many_layouts_is_refused() -> None:
    inner = semantic("Inner", TEXT, [TEXT] * 20)
    outer = semantic("Outer", TEXT, [inner] * 20)
    numbers = types_pb2.Value(list=types_pb2.ListValue(items=[types_pb2.Value(integer=1)] * 100_000))
    builder = DagBuilder()
    kind = types_pb2.Type(list=types_pb2.ListType(item=outer))
    builder.node(builder.operator("flows:take", [kind]), builder.constant(numbers))
    with pytest.raises(BadDag, match="too complex"):
        check_dag(builder.dag)
