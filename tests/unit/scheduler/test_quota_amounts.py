"""Amounts as people write them, and files of quotas: exact, or refused with what would do."""

from __future__ import annotations

import json
import tomllib
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from mwfs_scheduler.quotas import BadQuotas, TeamQuota
from mwfs_scheduler.team_quotas.amounts import document, listed, parse, shown, weight_of
from mwfs_scheduler.team_quotas.file import quotas_of, read_file

GIB = 1 << 30


@pytest.mark.parametrize(
    ("text", "amounts"),
    [
        ("gpu=8", {"gpu": 8}),
        (
            "gpu=8,cpu=64,memory=512GiB,gpu:h100=4",
            {"gpu": 8, "cpu": 64_000, "memory": 512 * GIB, "gpu:h100": 4},
        ),
        (" cpu = 0.5 , memory=1.5 TiB ", {"cpu": 500, "memory": 1536 * GIB}),
        ("memory=1GB,gpu=none", {"memory": 10**9, "gpu": None}),
        ("memory=1024", {"memory": 1024}),
        ("cpu=1_000,gpu=0", {"cpu": 1_000_000, "gpu": 0}),
    ],
)
def test_amounts_are_read(text: str, amounts: dict[str, int | None]) -> None:
    assert parse(text) == amounts


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "'' is not RESOURCE=AMOUNT"),
        ("gpu", "'gpu' is not RESOURCE=AMOUNT"),
        ("gpu=8,,cpu=1", "'' is not RESOURCE=AMOUNT"),
        ("gpus=8", "no resource 'gpus'"),
        ("gpu=8,gpu=9", "gpu is there twice"),
        ("gpu=-1", "'-1' is not an amount of gpu"),
        ("gpu=1.5", "'1.5' is not an amount of gpu"),
        ("gpu=NaN", "'NaN' is not an amount of gpu"),
        ("gpu=1e9", "'1e9' is not an amount of gpu"),
        ("gpu=inf", "'inf' is not an amount of gpu"),
        ("gpu=8GiB", "'8GiB' is not an amount of gpu"),
        ("gpu=", "'' is not an amount of gpu"),
        ("cpu=0.0005", "'0.0005' is not an amount of cpu"),
        ("cpu=" + "9" * 90, "is not an amount of cpu"),
        ("memory=5 parsecs", "'5 parsecs' is not an amount of memory"),
        ("memory=2000PiB", "'2000PiB' is not an amount of memory"),
    ],
)
def test_other_amounts_are_refused(text: str, says: str) -> None:
    with pytest.raises(BadQuotas) as caught:
        parse(text)
    assert says in caught.value.message
    assert caught.value.next_step


@pytest.mark.parametrize("given", ["two", "NaN", "inf", "1e999999999", True, None, [], float("nan"), ""])
def test_a_weight_is_a_number(given: object) -> None:
    with pytest.raises(BadQuotas, match="is not a weight"):
        weight_of(given)


def test_weights_are_exact() -> None:
    assert weight_of("0.1") == weight_of(0.1) == weight_of(Decimal("0.1")) == Fraction(1, 10)


def test_amounts_are_shown_as_they_are_written() -> None:
    amounts = {"memory": 512 * GIB, "gpu": 8, "cpu": 500, "gpu:h100": 4}
    assert listed(amounts) == "cpu 0.5, gpu 8, gpu:h100 4, memory 512 GiB"
    assert parse(listed(amounts).replace(", ", ",").replace(" ", "=", 4).replace("gpu:h100 4", "gpu:h100=4")) == amounts
    assert document(amounts) == {"cpu": 0.5, "gpu": 8, "gpu:h100": 4, "memory": 512 * GIB}
    assert shown("memory", 1000) == "1000 B"
    assert listed({}, empty="none") == "none"


FILE = """
[teams.org]
guaranteed = {gpu = 16, memory = "1TiB"}

[teams.ads]
parent = "org"
weight = 2.5
guaranteed = {gpu = 8, cpu = 0.5}
burst = {gpu = 12}

[teams.free]
"""
TREE = (
    TeamQuota(
        team="ads",
        parent="org",
        weight=Fraction(5, 2),
        guaranteed={"gpu": 8, "cpu": 500},
        burst={"gpu": 12},
    ),
    TeamQuota(team="free"),
    TeamQuota(team="org", guaranteed={"gpu": 16, "memory": 1 << 40}),
)


def test_a_file_holds_the_tree(tmp_path: Path) -> None:
    toml, as_json = tmp_path / "teams.toml", tmp_path / "teams.json"
    toml.write_text(FILE)
    as_json.write_text(json.dumps(tomllib.loads(FILE)))
    assert read_file(str(toml)).teams == TREE
    assert read_file(str(as_json)).teams == TREE


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "has no teams"),
        ({"team": {}}, "has no teams"),
        ({"teams": {}, "colour": 1}, "no key 'colour'"),
        ({"teams": 3}, "no table"),
        ({"teams": {"ads": 3}}, "no table with a name"),
        ({"teams": [{"weight": 3}]}, "no table with a name"),
        ({"teams": {"ads": {"guarantee": {}}}}, "'ads' has no key 'guarantee'"),
        ({"teams": {"ads": {"parent": 3}}}, "parent must be the name"),
        ({"teams": {"ads": {"parent": "org"}}}, "'org', which is not there"),
        ({"teams": {"ads": {"guaranteed": [1]}}}, "amounts by resource"),
        ({"teams": {"ads": {"guaranteed": {"gpu": "many"}}}}, "'many' is not an amount of gpu"),
        ({"teams": {"ads": {"guaranteed": {"gpu": -1}}}}, "'-1' is not an amount of gpu"),
        ({"teams": {"ads": {"guaranteed": {"gpu": float("nan")}}}}, "'nan' is not an amount of gpu"),
        ({"teams": {"ads": {"guaranteed": {"gpu": float("inf")}}}}, "'inf' is not an amount of gpu"),
        ({"teams": {"ads": {"guaranteed": {"gpu": True}}}}, "'True' is not an amount of gpu"),
        ({"teams": {"ads": {"weight": 0}}}, "a weight is above 0"),
    ],
)
def test_other_files_are_refused(given: Any, says: str) -> None:
    with pytest.raises(BadQuotas) as caught:
        quotas_of(given)
    assert says in caught.value.message


def test_what_is_no_file_of_quotas_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("teams = ")
    (tmp_path / "bad.json").write_text("[" * 100_000)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    for name, says in (("bad.toml", "is not TOML"), ("bad.json", "is not JSON"), ("binary.toml", "is not TOML")):
        with pytest.raises(BadQuotas, match=says):
            read_file(str(tmp_path / name))
    with pytest.raises(BadQuotas, match="cannot be read"):
        read_file(str(tmp_path / "absent.toml"))
