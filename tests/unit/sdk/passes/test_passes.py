"""Passes take away and mark, and change no result."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mwfs
from mwfs import passes
from mwfs.cli.app import run_cli
from mwfs.compiler import compile_values
from mwfs.errors import InvalidInput
from mwfs.inputs import encode_inputs
from mwfs.passes.hints import rank
from mwfs_api.types.v1 import types_pb2
from mwfs_types.dag_check import check_dag

CALLS: Counter[str] = Counter()


@mwfs.operator(pure=True)
def plus(x: int, y: int) -> int:
    CALLS["plus"] += 1
    return x + y


@mwfs.operator(pure=True)
def twice(x: int) -> int:
    CALLS["twice"] += 1
    return 2 * x


@mwfs.operator
def noted(x: int) -> int:
    CALLS["noted"] += 1
    return x + 1


@mwfs.operator(pure=True)
def total(xs: list[int]) -> int:
    return sum(xs)


@mwfs.workflow
def random_graph(steps: list[list[int]]) -> list[int]:
    """Each step is [operator, first, second]: places of earlier results, counted from the end."""
    values: list[int] = [1, 2]
    for what, first, second in steps:
        a, b = values[-1 - first % len(values)], values[-1 - second % len(values)]
        match what:
            case 0:
                values.append(plus(a, b))
            case 1:
                values.append(twice(a))
            case 2:
                values.append(noted(a))
            case 3:
                values.append(total([a, b, 1]))
            case 4:
                values.append(twice(a + b * 2))
            case 5:
                values.append(mwfs.when(a > b, lambda a=a: twice(a), lambda b=b: plus(b, 1)))
            case 6:
                values.append(twice.after(noted(b))(a))
    return values[-2:]


STEPS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4), st.integers(0, 4)).map(list), max_size=10)
SUBSETS = [subset for size in range(len(passes.NAMES) + 1) for subset in itertools.combinations(passes.NAMES, size)]


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    CALLS.clear()


@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
def test_no_subset_of_passes_changes_a_result_or_the_calls_of_impure_operators(steps: list[list[int]]) -> None:
    seen = set()
    for subset in SUBSETS:
        CALLS.clear()
        with passes.only(*subset):
            dag = mwfs.compile(random_graph, steps=steps)
            check_dag(dag.proto)
            seen.add((json.dumps(random_graph.run_local(steps=steps)), CALLS["noted"]))
    assert len(seen) == 1


@mwfs.workflow
def repeated(n: int) -> int:
    twice(n + 5)
    once = [plus(twice(n), 1) for _ in range(3)]
    return total(once)


def test_equal_pure_calls_are_shared_and_unneeded_ones_dropped() -> None:
    dag = mwfs.compile(repeated, n=1)
    assert Counter(node.name for node in dag.nodes) == {"twice": 1, "plus": 1, "total": 1}
    assert repeated.run_local(n=1) == 9
    assert dag.report is not None
    described = dag.report.describe()
    assert "4 equal calls are shared: 2 of `twice`, 2 of `plus`" in described
    assert "1 calls that nothing needs are dropped: 1 of `twice`" in described
    assert "test_passes.py:" in described


def test_passes_can_be_switched_off() -> None:
    with passes.off("share", "dead"):
        dag = mwfs.compile(repeated, n=1)
    assert Counter(node.name for node in dag.nodes) == {"twice": 4, "plus": 3, "total": 1}
    assert dag.report is not None
    assert "switched off" in dag.report.describe()


def test_unknown_pass_is_refused() -> None:
    with pytest.raises(InvalidInput, match="share, dead"), passes.off("shares"):
        pass


@mwfs.workflow
def chain(n: int) -> int:
    return twice(twice(twice(n)))


def test_chains_of_cheap_nodes_are_one_group() -> None:
    assert list(mwfs.compile(chain, n=1).proto.node_group) == [1, 1, 1]


def test_ranks_follow_history() -> None:
    proto = mwfs.compile(chain, n=1).proto
    assert rank(proto, {f"{__name__}:twice": 0.25, "other:op": 0.001}) == 750
    assert len(proto.node_rank) == 3


def test_ranks_of_a_run_that_grows_are_left_to_the_engine() -> None:
    @mwfs.workflow
    def grows(n: int) -> int:
        return mwfs.when(noted(n) > 1, lambda: twice(n), lambda: 0)

    proto = mwfs.compile(grows, n=1).proto
    assert rank(proto, {f"{__name__}:noted": 0.25}) == 0
    assert not proto.node_rank


def test_without_the_pass_cache_no_operator_looks_for_earlier_results() -> None:
    assert any(operator.cached for operator in mwfs.compile(chain, n=1).proto.operators)
    with passes.off("cache"):
        proto = mwfs.compile(chain, n=1).proto
    assert not any(operator.cached for operator in proto.operators)


def test_report_names_hits_and_the_critical_path() -> None:
    kept: dict[str, list[types_pb2.Value]] = {}

    class Kept:
        def find(self, keys: Sequence[str]) -> Mapping[str, list[types_pb2.Value]]:
            if not kept:
                kept[keys[0]] = [types_pb2.Value(integer=2)]
            return {key: kept[key] for key in keys if key in kept}

    encoded = encode_inputs(chain, {"n": 1})
    dag = compile_values(chain, encoded.values, encoded.files, earlier=Kept(), seconds={f"{__name__}:twice": 2.0})
    assert dag.report is not None
    assert dag.report.hits == {0}
    described = dag.report.describe()
    assert "1 earlier results are taken: 1 of `twice`" in described
    assert "critical path 6.0 s by history" in described


def test_compile_explain_prints_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["compile", "mwfs.examples.tabular:train", "--explain", "--no-pass", "share"]) in (0, 2)
    capsys.readouterr()
    assert run_cli(["compile", "mwfs.bench.workflows:chain", "--input", "n=3", "--explain", "--output", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in document["passes"]] == list(passes.NAMES)
