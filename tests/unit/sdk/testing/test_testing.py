"""`mwfs.testing` passes on what a Dag has, and shows what it has instead."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fixtures.sdk_operators import add, double, increment, one, total

import mwfs
from mwfs import testing
from mwfs.dag_diff import diff


@mwfs.workflow
def sums(n: int) -> int:
    x = increment(n)
    big = increment.with_options(resources=mwfs.Resources(cpu=2, memory="1Gi"))
    return total([big(x) for _ in range(3)])


DAG = mwfs.compile(sums, n=4)


def test_what_is_there_passes() -> None:
    testing.assert_nodes(DAG, {"increment": 4, total: 1})
    testing.assert_edge(DAG, "increment", total)
    testing.assert_no_edge(DAG, "total", "increment")
    testing.assert_order(DAG, "increment", "total")
    testing.assert_called_with(DAG, increment, x=4)
    testing.assert_types(DAG, "total", values=list[int], returns=int)


@pytest.mark.parametrize(
    ("check", "shown"),
    [
        (lambda: testing.assert_nodes(DAG, {"increment": 3, "total": 1}), "expected 3, found 4"),
        (lambda: testing.assert_nodes(DAG, {"increment": 4}), "total"),
        (lambda: testing.assert_edge(DAG, "total", "increment"), "increment(x=4)"),
        (lambda: testing.assert_no_edge(DAG, "increment", "total"), "total("),
        (lambda: testing.assert_order(DAG, "total", "increment"), "may start before"),
        (lambda: testing.assert_called_with(DAG, "increment", x=5), "increment(x=4)"),
        (lambda: testing.assert_types(DAG, "total", values=list[str]), "expected list[str], found list[int]"),
        (lambda: testing.assert_types(DAG, "total", returns=str), "gives result: int"),
        (lambda: testing.assert_resources(DAG, "total", mwfs.Resources(cpu=4)), "cpu_millis: 1000"),
        (lambda: testing.assert_types(DAG, "absent", x=int), "does not call `absent`"),
    ],
)
def test_what_is_not_there_fails_with_the_lines_of_the_dag(check: Callable[[], None], shown: str) -> None:
    with pytest.raises(AssertionError) as failed:
        check()
    assert shown in str(failed.value)


def test_operators_are_replaced_in_a_local_run() -> None:
    here = mwfs.LocalRun(replace={increment: lambda x: x + 100})
    assert here.run(sums, n=4) == 3 * 204
    assert [node.state for node in here.nodes] == ["SUCCEEDED"] * 5


def test_replacement_of_another_type_is_refused() -> None:
    with pytest.raises(mwfs.RunFailed, match="declares its result as int"):
        mwfs.LocalRun(replace={"total": lambda values: "many"}).run(sums, n=4)


@mwfs.workflow
def sums_again(n: int, m: int = 1) -> float:
    x = increment(n)
    return double(total([increment(x), add(x, m), one()]))


def test_diff_names_what_changed() -> None:
    changes = {(one.kind, one.what): (one.before, one.after) for one in diff(DAG, mwfs.compile(sums_again, n=5))}
    assert changes["graph", "increment"] == ("4 calls", "2 calls")
    assert changes["graph", "double"] == ("", "1 call")
    assert changes["graph", "total → double"] == ("", "an edge")
    assert changes["inputs", "n"] == ("4", "5")
    assert changes["inputs", "m"] == ("", "1")
    assert changes["types", "output result"] == ("int", "float")
    assert diff(DAG, mwfs.compile(sums, n=4)) == []


def test_diff_of_options() -> None:
    @mwfs.workflow
    def other(n: int) -> int:
        return total([increment.with_options(retry=3)(n)])

    assert ("options", "increment") in {(one.kind, one.what) for one in diff(DAG, mwfs.compile(other, n=4))}
