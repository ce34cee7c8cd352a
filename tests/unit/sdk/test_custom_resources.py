"""What operators ask for beside cores, memory and GPUs: custom resources, and labels of the host."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from fixtures.sdk_operators import increment, total

import mwfs
from mwfs.dag import Dag
from mwfs.dag_diff import diff
from mwfs.passes.hints import fuse
from mwfs.planning import plan
from mwfs.resources import BadOption
from mwfs_types.cache_keys import key_of, key_parts
from mwfs_types.dag_check import check_dag
from mwfs_types.errors import BadDag
from mwfs_types.resource_names import parse_amounts, parse_labels, problem_with

LICENSED = mwfs.Resources(custom={"licenses": 2, "fpga": 1}, labels={"zone": ["b", "a", "b"], "disk": "ssd"})


@mwfs.workflow
def licensed(n: int) -> int:
    worker = increment.with_options(resources=LICENSED)
    return total([worker(n) for _ in range(3)])


@mwfs.workflow
def plain(n: int) -> int:
    return total([increment(n) for _ in range(3)])


@mwfs.workflow
def chained(n: int) -> int:
    worker = increment.with_options(resources=mwfs.Resources(custom={"licenses": 1}))
    return worker(worker(increment(increment(n))))


def test_the_order_in_which_they_are_written_is_of_no_importance() -> None:
    other = mwfs.Resources(labels={"disk": ("ssd",), "zone": {"a", "b"}}, custom={"fpga": 1, "none": 0, "licenses": 2})
    assert other == LICENSED
    assert hash(other) == hash(LICENSED)
    assert other.to_proto().SerializeToString() == LICENSED.to_proto().SerializeToString()
    row = LICENSED.to_proto()
    assert [(one.name, one.amount) for one in row.custom] == [("fpga", 1), ("licenses", 2)]
    assert [(one.key, list(one.values)) for one in row.labels] == [("disk", ["ssd"]), ("zone", ["a", "b"])]
    assert problem_with(row) is None
    assert pickle.loads(pickle.dumps(LICENSED)) == LICENSED


def test_what_a_caller_changes_afterwards_changes_nothing() -> None:
    custom = {"licenses": 1}
    asked = mwfs.Resources(custom=custom)
    custom["licenses"] = 5
    assert asked.to_proto().custom[0].amount == 1


def test_another_try_with_more_memory_asks_for_the_same_besides() -> None:
    grown = mwfs.Resources(memory="1Gi", custom={"licenses": 1}, labels={"zone": "a"}).growing(memory=2, most="2Gi")
    (later,) = grown.of_later_attempts(3)
    assert (later.memory_bytes, later.custom, later.labels) == (2 << 30, {"licenses": 1}, {"zone": ("a",)})
    assert (later.memory_factor, later.most_memory) == (1.0, 0)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"custom": {"Licenses": 1}}, "cannot be called 'Licenses'"),
        ({"custom": {"memory": 1}}, "options of their own: Resources(cpu=2, gpu=1)"),
        ({"custom": {"gpu:h100": 1}}, "cannot be called 'gpu:h100'"),
        ({"custom": {"": 1}}, "cannot be called ''"),
        ({"custom": {"a" * 64: 1}}, "1 to 63 lower-case letters"),
        ({"custom": {1: 1}}, "cannot be called 1"),
        ({"custom": {"licenses": -1}}, "Resources(custom={'licenses': -1}) is not an amount of licenses."),
        ({"custom": {"licenses": 0.5}}, 'Give a whole number up to 1,000,000,000: custom={"licenses": 1}.'),
        ({"custom": {"licenses": float("nan")}}, "{'licenses': nan}) is not an amount"),
        ({"custom": {"licenses": float("inf")}}, "{'licenses': inf}) is not an amount"),
        ({"custom": {"licenses": True}}, "is not an amount"),
        ({"custom": {"licenses": "1"}}, "is not an amount"),
        ({"custom": {"licenses": 10**10}}, "is not an amount"),
        ({"custom": ["licenses"]}, 'Write custom={"licenses": 1}.'),
        ({"custom": {f"n{at}": 1 for at in range(17)}}, "names 17 resources"),
        ({"labels": {"zone": "a b"}}, "'a b' cannot be the key or a value of a label"),
        ({"labels": {"zone": ""}}, "'' cannot be the key or a value"),
        ({"labels": {"zone": ["a", 1]}}, "1 cannot be the key or a value"),
        ({"labels": {"zone": None}}, "None cannot be the key or a value"),
        ({"labels": {"-zone": "a"}}, "'-zone' cannot be the key"),
        ({"labels": {"zone": []}}, "has 0 values"),
        ({"labels": {"zone": [f"v{at}" for at in range(17)]}}, "has 17 values"),
        ({"labels": "zone=a"}, 'Write labels={"zone": "a"}.'),
        ({"labels": {f"n{at}": "a" for at in range(17)}}, "has 17 labels"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_is_written(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(BadOption) as caught:
        mwfs.Resources(**wrong)
    assert says in str(caught.value)
    assert caught.value.next_step


def test_local_runs_need_no_host_that_has_it() -> None:
    assert licensed.run_local(n=1) == plain.run_local(n=1)


def test_cached_results_are_the_same_whatever_was_asked_for() -> None:
    dag = mwfs.compile(plain, n=1).proto
    pure = mwfs.operator(pure=True)(increment.function)
    rows = [pure.with_options(resources=one).to_proto([0], [0]) for one in (mwfs.Resources(), LICENSED)]
    assert rows[0].resources != rows[1].resources
    assert len({key_of(key_parts(row, dag.types, [dag.constants[0]])) for row in rows}) == 1


def test_a_diff_names_them() -> None:
    (change,) = [one for one in diff(mwfs.compile(plain, n=1), mwfs.compile(licensed, n=1)) if "licenses" in one.after]
    assert "fpga=1 licenses=2 on disk=ssd on zone=a|b" in change.after
    assert "licenses" not in change.before


def test_a_plan_adds_them_up() -> None:
    found = plan(mwfs.compile(licensed, n=1).proto)
    worker = next(one for one in found.operators if one.custom)
    assert worker.custom == {"fpga": 1, "licenses": 2}
    assert worker.labels == {"disk": ["ssd"], "zone": ["a", "b"]}
    assert found.total.custom == found.peak.custom == {"fpga": 3, "licenses": 6}
    assert plan(mwfs.compile(plain, n=1).proto).total.custom == {}


def test_what_is_scarce_is_not_kept_from_one_node_to_the_next() -> None:
    proto = mwfs.compile(chained, n=1).proto
    fuse(proto)
    assert list(proto.node_group) == [1, 1, 0, 0]


def _spoiled(change: Callable[[Any], object]) -> Any:
    proto = mwfs.compile(licensed, n=1).proto
    change(next(one for one in proto.operators if one.resources.custom).resources)
    return proto


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda row: row.custom.reverse(), "ascending by name, each there once"),
        (lambda row: row.custom.add(name="x"), "the amount of x must be from 1 to 1,000,000,000, found 0"),
        (lambda row: row.custom.add(name="gpu", amount=1), "'gpu' cannot be the name of a custom resource"),
        (
            lambda row: [row.custom.add(name=f"z{at:02}", amount=1) for at in range(16)],
            "at most 16 custom resources, found 18",
        ),
        (lambda row: row.labels.reverse(), "ascending by key, each there once"),
        (lambda row: row.labels[1].values.append("a"), "the values of label zone must be ascending"),
        (lambda row: row.labels.add(key="zz"), "label 'zz' must have 1 to 16 values, found 0"),
        (lambda row: row.labels.add(key="zz", values=["a"] * 17), "must have 1 to 16 values, found 17"),
        (lambda row: row.labels.add(key="z\0", values=["a"]), "cannot be the key or a value of a label"),
    ],
)
def test_a_dag_that_somebody_made_by_hand_is_refused(change: Callable[[Any], object], says: str) -> None:
    check_dag(mwfs.compile(licensed, n=1).proto)
    with pytest.raises(BadDag) as caught:
        check_dag(_spoiled(change))
    assert says in str(caught.value)


def test_texts_of_settings_and_commands() -> None:
    assert parse_amounts(["licenses=4", " fpga = 0"]) == {"licenses": 4, "fpga": 0}
    assert parse_labels(["zone=a", "rack=r1/7"]) == {"zone": "a", "rack": "r1/7"}
    for text, says in (
        ("licenses", "has no ="),
        ("licenses=", "is not an amount"),
        ("licenses=-1", "is not an amount"),
        ("licenses=1e9", "is not an amount"),
        ("licenses=nan", "is not an amount"),
        ("licenses=99999999999999999999", "is not an amount"),
        ("GPU=1", "cannot be the name"),
    ):
        with pytest.raises(ValueError, match=says):
            parse_amounts([text])
    with pytest.raises(ValueError, match="licenses is there twice"):
        parse_amounts(["licenses=1", "licenses=2"])
    for text, says in (
        ("zone", "has no ="),
        ("zone=", "cannot be the key"),
        ("=a", "cannot be"),
        ("zone=a,b", "cannot be"),
    ):
        with pytest.raises(ValueError, match=says):
            parse_labels([text])
    with pytest.raises(ValueError, match="label zone is there twice"):
        parse_labels(["zone=a", "zone=b"])


def test_bytes_of_a_dag_keep_them() -> None:
    dag = mwfs.compile(licensed, n=1)
    again = Dag(type(dag.proto).FromString(dag.proto.SerializeToString()))
    assert diff(dag, again) == []
