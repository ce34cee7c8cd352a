"""What is sent as the payload of a signal: a value of the declared type, or its JSON document."""

from typing import Any, NamedTuple

import pytest

from mwfs.client.signals import encode_payload
from mwfs.errors import InvalidInput
from mwfs_types.annotations import type_of


class Settings(NamedTuple):
    depth: int
    note: str | None = None


DECLARED = {"settings": type_of(Settings), "count": type_of(int), "all": type_of(list[Settings])}


def test_a_record_and_its_json_document_are_the_same_payload() -> None:
    record = encode_payload("settings", Settings(3, "x"), DECLARED)
    assert record == encode_payload("settings", {"depth": 3, "note": "x"}, DECLARED)
    assert [field.integer for field in record.value.record.fields[:1]] == [3]
    assert encode_payload("all", [{"depth": 3}], DECLARED) == encode_payload("all", [Settings(3)], DECLARED)


@pytest.mark.parametrize(
    ("name", "payload", "words"),
    [
        ("count", "three", "expects int"),
        ("settings", {"depth": "deep"}, "expects int"),
        ("settings", {"width": 3}, "width"),
        ("unknown", {"depth": 3}, "its signals: all, count, settings"),
    ],
)
def test_another_payload_is_refused_before_it_is_sent(name: str, payload: Any, words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        encode_payload(name, payload, DECLARED)
    assert words in str(refused.value)


def test_a_plain_payload_may_go_before_anything_declares_it() -> None:
    assert encode_payload("later", 9, DECLARED).value.integer == 9
