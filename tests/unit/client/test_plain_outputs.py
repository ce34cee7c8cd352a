"""Outputs as plain Python, by the type that a value turns out to have."""

import asyncio
from datetime import date
from typing import Any

import pytest
from builders.annotated import Box, Color, GeoPoint, Pair, Score, Setting, annotated_objects
from hypothesis import HealthCheck, given, settings

import mwfs
from mwfs.client.outputs import plain_value
from mwfs_api.types.v1 import types_pb2
from mwfs_types.annotations import type_of
from mwfs_types.json_schema import value_to_json
from mwfs_types.values import encode


async def nothing(artifact: types_pb2.Artifact) -> bytes:
    raise AssertionError(artifact)


def plain(obj: Any, annotation: Any) -> object:
    type_ = type_of(annotation)
    return asyncio.run(plain_value(encode(obj, type_), type_, nothing))


@pytest.mark.parametrize(
    ("annotation", "obj", "expected"),
    [
        (Score | int, Score("a", 0.5), {"name": "a", "value": 0.5}),
        (Score | int | None, 3, 3),
        (list[Score | None], [None, Score("a")], [None, {"name": "a", "value": 0.5}]),
        (dict[str, Box[Score] | Color], {"x": Box(Score("a")), "y": Color.RED}, None),
        (Pair[Score, int], Pair(Score("a"), [1]), {"left": {"name": "a", "value": 0.5}, "right": [1]}),
        (Setting, {"name": "a", "note": None}, {"name": "a", "level": None, "note": None}),
        (date | int, date(2026, 11, 23), "2026-11-23"),
        (mwfs.Metrics | int, mwfs.Metrics({"a": 1.0}), {"a": 1.0}),
        (GeoPoint | int, GeoPoint(1.0, 2.0), {"east": 1.0, "north": 2.0}),
    ],
)
def test_records_show_their_fields_wherever_they_stand(annotation: Any, obj: Any, expected: object) -> None:
    if expected is None:
        expected = {"x": {"content": {"name": "a", "value": 0.5}, "spare": None}, "y": "RED"}
    assert plain(obj, annotation) == expected


def test_a_value_of_an_older_version_is_shown_by_its_own_layout() -> None:
    older = types_pb2.Value(record=types_pb2.RecordValue(fields=[types_pb2.Value(number=1), types_pb2.Value(number=2)]))
    assert asyncio.run(plain_value(older, type_of(GeoPoint), nothing)) == [1.0, 2.0]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(annotated_objects)
def test_they_look_as_in_json(case: tuple[Any, Any]) -> None:
    annotation, obj = case
    if "bytes" not in repr(annotation):
        assert plain(obj, annotation) == value_to_json(encode(obj, type_of(annotation)), type_of(annotation))
