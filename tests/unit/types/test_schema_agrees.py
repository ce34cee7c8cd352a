"""The JSON Schema of a type and `value_from_json` take the same documents: the schema is what forms and clients go by."""

import re
from random import Random
from typing import Annotated, Any, NamedTuple

import pytest
from builders.annotated import annotated_objects
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import mwfs
from mwfs_types.annotations import type_of
from mwfs_types.constraints import Choices, Doc, Length, Pattern, Range
from mwfs_types.errors import BadValue
from mwfs_types.json_schema import schema_of, value_from_json, value_to_json
from mwfs_types.values import encode

CHECKED_FORMATS = Draft202012Validator.FORMAT_CHECKER
DOCUMENTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("ab -:0123456789TZWs", max_size=12)
    | st.sampled_from(["2026-11-23", "2026-11-23T07:00:00Z", "1.5s", "2026-W01", "RED", "YQ=="]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "value", "depth", "color", "east", "north", "a"]), inner, max_size=3)
    ),
    max_leaves=6,
)
#: What a schema cannot say: 64 bits, base64, real days of a calendar, that an integer is written without a point.
BEYOND_SCHEMA = re.compile(
    r"expected an int of 64 bits"
    r"|expected bytes, as text in base64, found '"
    r"|expected (Date|Timestamp|Duration|DatePartition), such as '.*', found '"
    r"|expected (int|.* \| .*), found (-?\d+\.0|-?[\d.]+e\+\d+) \(float\)"
    r"|expected .* \| .*, found (an integer of|-?\d{19,} \(int\))"
    r"|expected .*(Date|bytes).* \| .*, found '"
)


def taken_by_schema(document: Any, annotation: Any) -> bool:
    return Draft202012Validator(schema_of(type_of(annotation)), format_checker=CHECKED_FORMATS).is_valid(document)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(annotated_objects)
def test_documents_of_values_are_valid(case: tuple[Any, Any]) -> None:
    annotation, obj = case
    type_ = type_of(annotation)
    Draft202012Validator.check_schema(schema_of(type_))
    assert taken_by_schema(value_to_json(encode(obj, type_), type_), annotation)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(DOCUMENTS, annotated_objects)
def test_any_document_is_taken_by_both_or_by_none(document: Any, case: tuple[Any, Any]) -> None:
    assert_both_agree(document, case[0])


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(annotated_objects, st.randoms(use_true_random=False), DOCUMENTS)
def test_a_document_with_one_thing_changed_is_taken_by_both_or_by_none(
    case: tuple[Any, Any], random: Random, other: Any
) -> None:
    annotation, obj = case
    document = value_to_json(encode(obj, type_of(annotation)), type_of(annotation))
    assert_both_agree(changed(document, random, other), annotation)


def changed(document: Any, random: Random, other: Any) -> Any:
    """The document with one part dropped, added or replaced."""
    if isinstance(document, dict) and random.random() < 0.8:
        key = random.choice([*document, "extra"])
        if random.random() < 0.3:
            return {name: part for name, part in document.items() if name != key}
        return {**document, key: changed(document.get(key), random, other)}
    if isinstance(document, list) and random.random() < 0.8:
        place = random.randrange(len(document) + 1)
        if random.random() < 0.3:
            return document[:place] + document[place + 1 :]
        return [*document[:place], changed([*document, None][place], random, other), *document[place + 1 :]]
    return other


def assert_both_agree(document: Any, annotation: Any) -> None:
    refusal = None
    try:
        value_from_json(document, type_of(annotation))
    except BadValue as error:
        refusal = str(error)
    if taken_by_schema(document, annotation):
        assert refusal is None or BEYOND_SCHEMA.search(refusal)
    else:
        assert refusal is not None


class Plan(NamedTuple):
    depth: Annotated[int, Range(1, 9)]
    names: Annotated[list[str], Length(1, 2)] = ["a"]  # noqa: RUF012


@mwfs.workflow
def trained(
    plan: Annotated[Plan, Doc("What to do.")],
    rate: Annotated[float, Range(0, 1)] = 0.5,
    solver: Annotated[str, Choices("sgd", "adam")] = "sgd",
    code: Annotated[str, Pattern("[a-z]+")] = "abc",
    note: str | None = None,
) -> None:
    pass


@pytest.mark.parametrize(
    ("inputs", "place"),
    [
        ({"plan": {"depth": 3}}, None),
        ({"plan": {"depth": 3, "names": ["x", "y"]}, "rate": 1, "solver": "adam", "code": "z", "note": "n"}, None),
        ({}, "plan"),
        ({"plan": {}}, "depth"),
        ({"plan": {"depth": 0}}, "depth"),
        ({"plan": {"depth": 3, "names": []}}, "names"),
        ({"plan": {"depth": 3}, "rate": 2}, "rate"),
        ({"plan": {"depth": 3}, "rate": "1"}, "rate"),
        ({"plan": {"depth": 3}, "solver": "lbfgs"}, "solver"),
        ({"plan": {"depth": 3}, "code": "A"}, "code"),
        ({"plan": {"depth": 3}, "code": "a\n"}, "code"),
        ({"plan": {"depth": 3}, "other": 1}, "other"),
    ],
)
def test_the_schema_of_a_workflow_says_what_its_inputs_may_be(inputs: dict[str, Any], place: str | None) -> None:
    schema = trained.input_schema()
    Draft202012Validator.check_schema(schema)
    problems = list(Draft202012Validator(schema).iter_errors(inputs))
    assert bool(problems) == (place is not None)
    if place is not None:
        assert any(place in problem.json_path or place in problem.message for problem in problems)
    assert schema["properties"]["plan"]["description"] == "What to do."
    assert schema["properties"]["rate"]["default"] == 0.5
