"""A plan is exact as far as a run can be known before it starts, and says where that ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from fixtures.sdk_operators import increment, numbers, total

import mwfs
from mwfs.dag import Dag
from mwfs.planning import Plan, plan
from mwfs_api.types.v1 import types_pb2
from mwfs_types.cache_keys import key_of, key_parts

Value = types_pb2.Value


@mwfs.operator(pure=True)
def listed(n: int) -> list[int]:
    return list(range(n))


@mwfs.operator(pure=True)
def squared(x: int) -> int:
    return x * x


@mwfs.operator(pure=True)
def joined(xs: list[int]) -> int:
    return sum(xs)


@mwfs.operator
def seen(x: int) -> int:
    return x // 100


class Kept:
    """Earlier results, as runs in this process leave them; counts how often it is asked."""

    def __init__(self) -> None:
        self.results: dict[str, list[Value]] = {}
        self.asked = 0

    def find(self, keys: Sequence[str]) -> Mapping[str, list[Value]]:
        self.asked += 1
        return {key: self.results[key] for key in keys if key in self.results}

    def lookup(self, operator: Any, types: Any, arguments: Any, files: Any = None) -> list[Value] | None:
        return self.results.get(key_of(key_parts(operator, types, arguments)))

    def store(self, operator: Any, types: Any, arguments: Any, outputs: Any, files: Any) -> None:
        self.results[key_of(key_parts(operator, types, arguments))] = list(outputs)


def shown(found: Plan) -> dict[str, tuple[int, bool, int, int]]:
    return {one.operator.rpartition(":")[2]: (one.nodes, one.more, one.hits, one.maybe) for one in found.operators}


def ran(workflow: mwfs.Workflow[..., Any], kept: Kept, **inputs: Any) -> dict[str, tuple[int, int]]:
    """Nodes and hits by operator of a run that follows."""
    here = mwfs.LocalRun(cache=kept)
    here.run(workflow, **inputs)
    names = {node.name for node in here.nodes}
    return {
        name: (
            sum(node.name == name for node in here.nodes),
            sum(node.cached for node in here.nodes if node.name == name),
        )
        for name in names
    }


@mwfs.workflow
def sums(n: int) -> int:
    x = increment(n)
    big = increment.with_options(resources=mwfs.Resources(cpu=2, memory="1Gi"))
    return total([big(x) for _ in range(3)])


@mwfs.workflow
def grown(n: int) -> int:
    return joined(mwfs.map(squared, listed(n)))


@mwfs.workflow
def hidden(n: int) -> int:
    return squared(seen(joined([squared(i) for i in range(n)])))


@mwfs.workflow
def looped(n: int) -> int:
    return mwfs.repeat_while(lambda x: x < 9, lambda x: seen(squared(x)), squared(n), limit=5)


@mwfs.workflow
def branched(n: int) -> int:
    return mwfs.when(squared(n) > 5, lambda: seen(n), lambda: mwfs.reduce(lambda x, y: seen(x) + y, listed(n)))


DAG = mwfs.compile(sums, n=4)
HERE = increment.module


def test_nodes_resources_and_chain_of_a_fixed_graph() -> None:
    found = plan(DAG.proto)
    assert (found.nodes, found.more, found.hits, found.maybe, found.longest) == (5, False, 0, 0, 3)
    assert (found.peak.cpu, found.peak.memory_bytes) == (6.0, 3 << 30)
    assert found.total.cpu == 1 + 6 + 1
    assert found.seconds is None


def test_peak_counts_what_overlaps_even_when_it_is_not_equally_far_from_the_start() -> None:
    @mwfs.workflow
    def uneven(n: int) -> list[int]:
        long = total([n])
        return [long, *(increment(increment(n)) for _ in range(3))]

    history = {f"{HERE}:increment": 1.0, f"{HERE}:total": 5.0}
    assert plan(mwfs.compile(uneven, n=1).proto, seconds=history).peak.cpu == 4.0


def test_critical_path_is_predicted_from_history() -> None:
    found = plan(DAG.proto, seconds={f"{HERE}:increment": 2.0, f"{HERE}:total": 0.5})
    assert (found.seconds, [name.rpartition(":")[2] for name in found.critical]) == (
        4.5,
        ["increment", "increment", "total"],
    )


@pytest.mark.parametrize(
    ("workflow", "n"), [(grown, 0), (grown, 1), (grown, 4), (hidden, 0), (hidden, 4), (branched, 1), (branched, 4)]
)
def test_after_a_run_the_plan_is_what_the_next_run_does(workflow: mwfs.Workflow[..., Any], n: int) -> None:
    kept = Kept()
    ran(workflow, kept, n=n)
    found = plan(mwfs.compile(workflow, n=n).proto, results=kept)
    did = ran(workflow, kept, n=n)
    for name, (nodes, more, hits, maybe) in shown(found).items():
        count, taken = did.get(name, (0, 0))
        assert nodes <= count if more else nodes == count, name
        assert hits <= taken <= hits + maybe + (count - nodes), name
    if not found.more:
        assert found.nodes == sum(count for count, _ in did.values())


def test_growth_is_planned_as_far_as_results_are_known() -> None:
    kept = Kept()
    assert shown(plan(mwfs.compile(grown, n=3).proto, results=kept)) == {
        "listed": (1, False, 0, 0),
        "map(squared)": (1, False, 0, 0),
        "joined": (1, False, 0, 1),
        "squared": (0, True, 0, 0),
    }
    ran(grown, kept, n=3)
    kept.asked = 0
    found = plan(mwfs.compile(grown, n=3).proto, results=kept)
    assert shown(found) == {
        "listed": (1, False, 1, 0),
        "map(squared)": (1, False, 0, 0),
        "squared": (3, False, 3, 0),
        "joined": (1, False, 1, 0),
    }
    assert not found.more
    assert kept.asked == 3, "all calls that can be asked for together are"


def test_what_an_impure_call_hides_is_said_to_be_unknown() -> None:
    kept = Kept()
    ran(hidden, kept, n=3)
    found = plan(mwfs.compile(hidden, n=3).proto, results=kept)
    assert shown(found)["squared"] == (4, False, 3, 1)
    assert (found.hits, found.maybe) == (4, 1)


def test_loop_may_always_add_more() -> None:
    found = plan(mwfs.compile(looped, n=2).proto, results=Kept())
    assert found.more
    assert shown(found)["seen"] == (0, True, 0, 0)
    assert [one.operator for one in found.operators if one.grows] == ["mwfs:repeat_while(lambda)"]


def test_control_nodes_take_as_long_as_before_when_their_nodes_are_not_known() -> None:
    dag = mwfs.compile(grown, n=3).proto
    history = {f"{__name__}:{name}": 1.0 for name in ("listed", "joined", "squared")} | {"mwfs:map(squared)": 7.0}
    assert plan(dag, seconds=history).seconds == 9.0
    kept = Kept()
    ran(grown, kept, n=3)
    kept.results = {key: value for key, value in kept.results.items() if len(value[0].list.items) == 3}
    assert plan(dag, seconds=history, results=kept).seconds == 2.0


def test_branch_is_known_when_its_condition_is() -> None:
    kept = Kept()
    ran(branched, kept, n=4)
    found = shown(plan(mwfs.compile(branched, n=4).proto, results=kept))
    assert found["seen"] == (1, False, 0, 0)
    assert "listed" not in found or found["listed"][0] == 1


def test_large_plan_asks_once_for_all_calls_that_are_ready() -> None:
    @mwfs.workflow
    def wide(n: int) -> int:
        return joined([squared(i) for i in range(n)])

    kept = Kept()
    dag: Dag = mwfs.compile(wide, n=2000)
    assert plan(dag.proto, results=kept).nodes == 2001
    assert kept.asked == 1


def test_numbers_of_an_impure_operator_are_not_known() -> None:
    @mwfs.workflow
    def grows(n: int) -> list[int]:
        return mwfs.map(increment, numbers(n))

    found = plan(mwfs.compile(grows, n=3).proto)
    assert shown(found) == {
        "numbers": (1, False, 0, 0),
        "map(increment)": (1, False, 0, 0),
        "increment": (0, True, 0, 0),
    }
    assert [one.grows for one in found.operators] == [False, True, False]
