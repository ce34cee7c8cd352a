"""JSON documents become values and come back equal; bad ones are refused with their place; schemas say what is taken."""

import json
import math
from contextlib import suppress
from typing import Annotated, Any, Literal

import pytest
from builders.annotated import Blob, Color, MemoryFiles, Options, Score, annotated_objects, annotations
from hypothesis import given
from hypothesis import strategies as st

from mwfs_api.types.v1 import types_pb2
from mwfs_types.annotations import type_of
from mwfs_types.constraints import Choices, Doc, Length, Pattern, Range, Unit
from mwfs_types.errors import UnsupportedType
from mwfs_types.json_schema import BadValue, inputs_schema, load_json, schema_of, value_from_json, value_to_json
from mwfs_types.values import check, decode, encode

DIGEST = "sha256:" + "0" * 64
METRICS = types_pb2.Type(semantic=types_pb2.SemanticType(name="Metrics", version=1))
DATASET = types_pb2.Type(semantic=types_pb2.SemanticType(name="Dataset", version=1))

documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("ab é\ud800", max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(annotated_objects)
def test_documents_come_back_equal(case: tuple[Any, Any]) -> None:
    annotation, obj = case
    type_ = type_of(annotation)
    document = value_to_json(encode(obj, type_), type_)
    text = json.dumps(document, allow_nan=False)
    assert decode(value_from_json(load_json(text), type_), annotation) == obj


@given(documents, annotations)
def test_any_document_is_a_value_or_a_typed_error(document: Any, annotation: Any) -> None:
    try:
        value = value_from_json(document, type_of(annotation))
    except BadValue:
        return
    check(value, type_of(annotation), patterns=True)
    json.dumps(value_to_json(value, type_of(annotation)), allow_nan=False)


@pytest.mark.parametrize(
    ("annotation", "document", "message"),
    [
        (int, True, "expected int, found True"),
        (int, 1.0, "expected int, found 1.0"),
        (int, 2**63, "64 bits"),
        (int, None, "expected int, found None"),
        (float, math.nan, "finite"),
        (float, math.inf, "finite"),
        (float, 10**400, "finite"),
        (float, "NaN", "expected float"),
        (bool, 1, "Write true or false"),
        (str, 1, "expected str"),
        (str, "\ud800", "lone surrogate"),
        (bytes, "not base64!", "base64"),
        (bytes, "é", "base64"),
        (None, 0, "expected null"),
        (Color, "PURPLE", "a member of Color: RED, GREEN, found 'PURPLE'"),
        (Color, "RET", "Did you mean 'RED'"),
        (Color, ["RED"], "a member of Color"),
        (list[int], {"a": 1}, "Write a JSON list"),
        (list[int], [1, "x"], r"^inputs\.x\[1\]: expected int"),
        (dict[str, int], [1], "Write a JSON object"),
        (dict[str, int], {"a": "x"}, r"^inputs\.x\['a'\]: expected int"),
        (Options, [1], "with its fields"),
        (Options, {}, r"^inputs\.x\.depth: expected Annotated\[int.*found nothing"),
        (Options, {"depth": 0}, r"^inputs\.x\.depth: expected a number from 1"),
        (Options, {"dept": 1}, "Did you mean 'depth'"),
        (Options, {"depth": 1, "zzz": 1}, "The fields are depth, color, scores, note"),
        (int | list[str], [1], r"^inputs\.x\[0\]: expected str"),
        (int | str, 1.5, r"expected int \| str"),
        (Blob, "path.txt", "uploaded by the client"),
        (Blob, {"digest": "x", "encoding": "csv"}, r"inputs\.x\.digest"),
        (Blob, {"digest": DIGEST, "encoding": "csv", "size": -1}, r"inputs\.x\.size"),
        (Blob, {"digest": 5, "encoding": "csv"}, "expected str"),
        (Annotated[str, Pattern("a+")], "b", "matches"),
        (Annotated[list[int], Length(1)], [], "a length of at least 1"),
        (Literal["a"], "b", "one of 'a'"),
    ],
)
def test_bad_documents_are_refused_with_their_place(annotation: Any, document: Any, message: str) -> None:
    with pytest.raises(BadValue, match=message) as caught:
        value_from_json(document, type_of(annotation), path="inputs.x")
    assert caught.value.path.startswith("inputs.x")


def test_left_out_fields_take_their_defaults() -> None:
    value = value_from_json({"depth": 2, "scores": [{"name": "a"}]}, type_of(Options))
    assert decode(value, Options) == Options(2, scores=[Score("a", 0.5)])


def test_documents_nested_too_deep_are_refused() -> None:
    document: Any = 1
    for _ in range(3000):
        document = [document]
    with pytest.raises(BadValue):
        value_from_json(document, type_of(list[list[int]]))


def test_metrics_are_plain_json() -> None:
    value = value_from_json({"f1": 1, "accuracy": 0.5}, METRICS)
    assert value_to_json(value, METRICS) == {"accuracy": 0.5, "f1": 1.0}
    assert value.map.values[1].number == 1.0
    with pytest.raises(BadValue, match=r"^\['f1'\]: expected float"):
        value_from_json({"f1": "good"}, METRICS)
    with pytest.raises(BadValue, match=r"^\['f1'\]: expected float"):
        check(types_pb2.Value(map=types_pb2.MapValue(keys=["f1"], values=[types_pb2.Value(text="x")])), METRICS)


def test_datasets_are_artifacts() -> None:
    document = {"digest": DIGEST, "size": 3, "encoding": "csv", "file_name": "a.csv"}
    assert value_to_json(value_from_json(document, DATASET), DATASET) == document
    with pytest.raises(BadValue, match="Dataset, as an artifact"):
        check(types_pb2.Value(integer=1), DATASET)


def test_numbers_that_json_lacks_are_shown_as_words() -> None:
    value = encode([math.nan, math.inf, -math.inf], type_of(list[float]))
    assert value_to_json(value, type_of(list[float])) == ["NaN", "Infinity", "-Infinity"]


def test_an_integer_is_shown_as_the_float_that_is_meant() -> None:
    assert json.dumps(value_to_json(types_pb2.Value(integer=1), type_of(float))) == "1.0"


def test_spilled_values_are_shown_as_artifacts() -> None:
    spilled = MemoryFiles().spill(types_pb2.Value(integer=1))
    assert value_to_json(spilled, type_of(int))["encoding"] == "value"


@given(annotated_objects, annotations)
def test_writing_a_value_of_another_type_is_a_typed_error(case: tuple[Any, Any], annotation: Any) -> None:
    value = encode(case[1], type_of(case[0]))
    with suppress(BadValue):
        json.dumps(value_to_json(value, type_of(annotation)), allow_nan=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1, column 2"),
        ("", "expected JSON"),
        ('{"a": 1, "b": 2, "a": 3}', r"'a' \(str\) twice"),
        ('[{"a": 1, "a": 1}]', "each key once"),
        ("NaN", "found NaN"),
        ("[-Infinity]", "found -Infinity"),
        ("[" * 100_000, "nesting"),
        ("1" * 10_000, "thousands of digits"),
        (b"\xff\xfe\xfa", "expected JSON"),
    ],
)
def test_json_text_is_read_strictly(text: str | bytes, message: str) -> None:
    with pytest.raises(BadValue, match=message):
        load_json(text)


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (int, {"type": "integer"}),
        (bytes, {"type": "string", "contentEncoding": "base64"}),
        (list[int | None], {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}),
        (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (Color, {"type": "string", "title": "Color", "enum": ["RED", "GREEN"]}),
        (int | str, {"anyOf": [{"title": "int", "type": "integer"}, {"title": "str", "type": "string"}]}),
        (Annotated[float, Range(0, exclusive_maximum=0.5)], {"type": "number", "minimum": 0, "exclusiveMaximum": 0.5}),
        (Annotated[str, Length(1), Pattern("a+")], {"type": "string", "minLength": 1, "pattern": r"^(?:a+)$(?!\n)"}),
        (
            Annotated[bytes, Choices(b"a")],
            {"type": "string", "contentEncoding": "base64", "enum": ["YQ=="]},
        ),
        (
            Annotated[list[int], Length(1, 2)],
            {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2},
        ),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Annotated[float, Unit("s")], {"type": "number", "x-mwfs-unit": "s"}),
    ],
)
def test_schemas_say_what_is_taken(annotation: Any, schema: dict[str, Any]) -> None:
    assert schema_of(type_of(annotation)) == schema


def test_the_schema_of_inputs_is_a_form() -> None:
    rate = type_of(Annotated[float, Range(0, 1), Doc("…")])
    rows = [
        ("labeled", DATASET, None, "The table."),
        ("test_fraction", rate, encode(0.25, rate), "Held back."),
        ("note", type_of(str | None), None, ""),
        ("options", type_of(Options), None, ""),
    ]
    schema = inputs_schema(rows)
    assert schema["required"] == ["labeled", "options"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["labeled"]["x-mwfs-semantic"] == {"name": "Dataset", "version": 1}
    assert schema["properties"]["test_fraction"] == {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "title": "Test fraction",
        "description": "Held back.",
        "default": 0.25,
    }
    assert schema["properties"]["note"] == {"type": ["string", "null"], "title": "Note"}
    options = schema["properties"]["options"]
    assert options["title"] == "Options"
    assert options["required"] == ["depth"]
    assert options["properties"]["depth"]["description"] == "How deep."
    assert options["properties"]["color"]["default"] == "RED"


@given(annotations)
def test_every_type_has_a_schema_that_is_json(annotation: Any) -> None:
    json.dumps(schema_of(type_of(annotation)), allow_nan=False)


def test_types_without_a_kind_have_no_schema() -> None:
    with pytest.raises(UnsupportedType):
        schema_of(types_pb2.Type())
