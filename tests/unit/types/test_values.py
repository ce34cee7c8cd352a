"""Objects become values and come back equal; what does not fit is refused with its place."""

import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pytest
from builders.annotated import (
    Blob,
    Box,
    Color,
    MemoryFiles,
    Options,
    Pair,
    Score,
    Setting,
    Size,
    annotated_objects,
    annotations,
)
from hypothesis import given
from hypothesis import strategies as st

from mwfs_api.types.v1 import types_pb2
from mwfs_types.annotations import type_of
from mwfs_types.constraints import Choices, Length, Pattern, Range
from mwfs_types.values import BadValue, check, decode, encode


class Other(NamedTuple):
    name: str
    value: float


@dataclass
class Nested:
    options: dict[str, list[Options]]


@given(annotated_objects)
def test_objects_come_back_equal(case: tuple[Any, Any]) -> None:
    annotation, obj = case
    value = encode(obj, type_of(annotation))
    check(value, type_of(annotation), patterns=True)
    back = decode(types_pb2.Value.FromString(value.SerializeToString()), annotation)
    assert back == obj
    assert type(back) is type(obj)


@given(annotated_objects)
def test_equal_objects_are_equal_bytes(case: tuple[Any, Any]) -> None:
    annotation, obj = case
    again = pickle.loads(pickle.dumps(obj))
    if isinstance(again, dict):
        again = dict(reversed(again.items()))
    assert (
        encode(obj, type_of(annotation)).SerializeToString() == encode(again, type_of(annotation)).SerializeToString()
    )


@given(annotations, annotated_objects)
def test_any_object_against_any_type_is_a_value_or_a_typed_error(annotation: Any, case: tuple[Any, Any]) -> None:
    try:
        value = encode(case[1], type_of(annotation))
    except BadValue:
        return
    check(value, type_of(annotation))


@given(annotations, annotated_objects)
def test_check_and_decode_agree(annotation: Any, case: tuple[Any, Any]) -> None:
    value = encode(case[1], type_of(case[0]))
    assert fails(lambda: check(value, type_of(annotation), patterns=True)) == fails(lambda: decode(value, annotation))


def fails(call: Callable[[], object]) -> bool:
    try:
        call()
    except BadValue:
        return True
    return False


@given(st.binary(max_size=60), annotations)
def test_damaged_values_are_typed_errors(data: bytes, annotation: Any) -> None:
    try:
        value = types_pb2.Value.FromString(data)
    except Exception:
        return
    fails(lambda: check(value, type_of(annotation)))
    fails(lambda: decode(value, annotation))


@pytest.mark.parametrize(
    ("annotation", "obj", "message"),
    [
        (int, True, r"expected int, found True \(bool\)"),
        (int, 1.0, "expected int"),
        (int, 2**63, "64 bits"),
        (int, -(2**63) - 1, "64 bits"),
        (int, 10**100, "an integer of 333 bits"),
        (float, "1", "expected float"),
        (float, True, "expected float"),
        (float, 10**400, "too large"),
        (bool, 1, "expected bool"),
        (str, b"x", "expected str, found bytes of length 1"),
        (str, "\ud800", "lone surrogate"),
        (bytes, "x", "expected bytes"),
        (None, 0, "expected None"),
        (list[int], {1}, r"expected list\[int\], found set of length 1"),
        (list[int], [1, "x"], r"^\[1\]: expected int, found 'x' \(str\)\.$"),
        (list[int], np.array([1]), r"\.tolist\(\)"),
        (list[float], Score("a"), "expected list"),
        (dict[str, int], {1: 1}, "keys that are str"),
        (dict[str, int], {"\ud800": 1}, "lone surrogate"),
        (dict[str, int], {"a b": None}, r"\['a b'\]: expected int"),
        (Color, "RED", r"Write Color\.RED"),
        (Color, Size.SMALL, "a member of Color"),
        (Score, Other("a", 1), "expected Score"),
        (Score, Score("a", "b"), r"^value: expected float"),  # type: ignore[arg-type]
        (Nested, Nested({"x": [Options(1), Options(0)]}), r"^options\['x'\]\[1\]\.depth: expected a number from 1"),
        (Setting, [("name", "a")], "expected Setting, a dict, found list of length 1"),
        (Setting, {"note": None}, "expected Setting with a key 'name', found a dict without it"),
        (Setting, {"name": "a", "levl": 1}, r"expected a key of Setting: name, level, note, found 'levl' \(str\)"),
        (Setting, {"name": "a", 1: 1}, r"found 1 \(int\)"),
        (Setting, {"name": "a", "level": 10}, "^level: expected a number from 0 up to 9"),
        (Box[int], Box("a"), "^content: expected int, found 'a'"),
        (Box[int], Score("a"), r"expected Box\[int\], found Score of length 2"),
        (Pair[int, Box[str]], Pair(1, [Box(2)]), r"^right\[0\].content: expected str"),
        (int | str, 1.5, r"expected int \| str"),
        (int | list[str], ["a", 1], r"^\[1\]: expected str"),
        (Blob, "words", r"expected Blob, found 'words' \(str\). Write Blob\('words'\)"),
        (Literal["a", "b"], "c", "one of 'a', 'b'"),
        (Annotated[float, Range(0, 1)], math.nan, "a number from 0 up to 1"),
        (Annotated[float, Range(exclusive_minimum=0)], 0, "above 0"),
        (Annotated[list[int], Length(1)], [], "a length of at least 1"),
        (Annotated[str, Length(0, 2)], "abc", "a length of 0 to 2"),
        (Annotated[str, Pattern("a+")], "ab", r"text that matches 'a\+'"),
        (Annotated[float, Choices(1, 2)], 3, "one of 1.0, 2.0"),
    ],
)
def test_objects_that_do_not_fit_are_refused(annotation: Any, obj: Any, message: str) -> None:
    with pytest.raises(BadValue, match=message):
        encode(obj, type_of(annotation))


@pytest.mark.parametrize(
    ("annotation", "obj", "plain"),
    [
        (float, 3, 3.0),
        (int, np.int32(4), 4),
        (int, Size.LARGE, 2),
        (float, np.float32(0.5), 0.5),
        (bool, np.bool_(True), True),
        (str, np.str_("x"), "x"),
        (bytes, bytearray(b"x"), b"x"),
        (list[int], (1, 2), [1, 2]),
        (Annotated[float, Choices(1, 2)], 2, 2.0),
        (int | float, 3, 3),
        (int | float, 3.0, 3.0),
    ],
)
def test_near_objects_are_taken_without_loss(annotation: Any, obj: Any, plain: Any) -> None:
    back = decode(encode(obj, type_of(annotation)), annotation)
    assert back == plain
    assert type(back) is type(plain)


def test_not_a_number_and_infinity_survive() -> None:
    back = decode(encode([math.nan, math.inf], type_of(list[float])), list[float])
    assert math.isnan(back[0])
    assert back[1] == math.inf


def test_the_caller_says_where_the_value_came_from() -> None:
    with pytest.raises(BadValue, match=r"^inputs\.depths\[2\]: expected int, found 'x' \(str\)\.$") as caught:
        encode([1, 2, "x"], type_of(list[int]), path="inputs.depths")
    assert (caught.value.path, caught.value.expected) == ("inputs.depths[2]", "int")
    with pytest.raises(BadValue, match=r"^inputs\.n: "):
        decode(types_pb2.Value(text="x"), int, path="inputs.n")
    with pytest.raises(BadValue, match=r"^inputs\.n: "):
        check(types_pb2.Value(text="x"), type_of(int), path="inputs.n")


def test_an_integer_is_read_as_a_float_wherever_a_float_is_expected() -> None:
    value = encode([1, 2], type_of(list[int]))
    check(value, type_of(list[float]))
    back = decode(value, list[float])
    assert back == [1.0, 2.0]
    assert type(back[0]) is float


def test_semantic_values_go_through_files() -> None:
    files = MemoryFiles()
    value = encode({"a": Blob("words")}, type_of(dict[str, Blob]), files)
    check(value, type_of(dict[str, Blob]))
    assert decode(value, dict[str, Blob], files) == {"a": Blob("words")}
    with pytest.raises(BadValue, match="artifact store"):
        encode(Blob("words"), type_of(Blob))


def test_spilled_values_are_read_at_every_level() -> None:
    files = MemoryFiles()
    one = files.spill(encode(1, type_of(int)))
    outer = files.spill(types_pb2.Value(list=types_pb2.ListValue(items=[one, encode(2, type_of(int))])))
    for annotation in (list[int], list[float] | None, list[int | str], list[int] | str):
        check(outer, type_of(annotation))
        assert decode(outer, annotation, files) == [1, 2]
    with pytest.raises(BadValue, match="expected str"):
        decode(one, str, files)


def test_a_spilled_value_that_leads_to_another_is_refused() -> None:
    files = MemoryFiles()
    with pytest.raises(BadValue, match="refers to another"):
        decode(files.spill(files.spill(encode(1, type_of(int)))), int, files)


def values_of(*items: types_pb2.Value) -> types_pb2.ListValue:
    return types_pb2.ListValue(items=items)


ONE = types_pb2.Value(integer=1)


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (int, types_pb2.Value(), "an empty value"),
        (bool, ONE, "expected bool"),
        (Color, types_pb2.Value(member="PURPLE"), "a member of Color: RED, GREEN, found 'PURPLE'"),
        (Color, types_pb2.Value(text="RED"), "a member of Color"),
        (Score, types_pb2.Value(record=types_pb2.RecordValue()), "0 fields"),
        (dict[str, int], types_pb2.Value(map=types_pb2.MapValue(keys=["a"])), "one for each key"),
        (dict[str, int], types_pb2.Value(map=types_pb2.MapValue(keys=["a", "a"], values=[ONE, ONE])), "twice"),
        (dict[str, int], types_pb2.Value(map=types_pb2.MapValue(keys=["b", "a"], values=[ONE, ONE])), "sorted"),
        (Blob, types_pb2.Value(artifact=types_pb2.Artifact(digest="sha256:0")), "digest"),
        (Blob, types_pb2.Value(artifact=types_pb2.Artifact(digest="sha256:" + "0" * 64)), "encoding"),
        (Blob, types_pb2.Value(list=values_of(types_pb2.Value())), r"^\[0\]: expected a value"),
        (int, types_pb2.Value(artifact=types_pb2.Artifact(digest="x", encoding="value")), "digest"),
    ],
)
def test_values_from_the_wire_are_checked(annotation: Any, value: types_pb2.Value, message: str) -> None:
    with pytest.raises(BadValue, match=message):
        check(value, type_of(annotation))


def test_values_inside_a_semantic_type_may_not_nest_for_ever() -> None:
    value = types_pb2.Value()
    inner = value
    for _ in range(500):
        inner = inner.list.items.add()
    inner.integer = 1
    with pytest.raises(BadValue, match="levels of nesting"):
        check(value, type_of(Blob))


def test_patterns_are_left_to_those_who_own_them() -> None:
    kind = type_of(Annotated[str, Pattern("a+")])
    value = types_pb2.Value(text="b")
    check(value, kind)
    with pytest.raises(BadValue, match="matches"):
        check(value, kind, patterns=True)


def test_errors_survive_pickling() -> None:
    error = BadValue(expected="int", found="'x'", path=".a", fix="Try 1.")
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == "a: expected int, found 'x'. Try 1."
