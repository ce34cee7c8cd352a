"""Many thousand calls deep and wide, and expressions as deep: compiled, checked as a server would, and run."""

import pytest
from fixtures.sdk_operators import increment, one, total

import mwfs
from mwfs_types.dag_check import check_dag

#: Far deeper than Python recurses; the full size takes half a minute.
many = pytest.mark.parametrize("n", [20_000, pytest.param(100_000, marks=pytest.mark.heavy)])


@mwfs.workflow
def deep(n: int) -> int:
    value = one()
    for _ in range(n):
        value = increment(value)
    return value


@mwfs.workflow
def wide(n: int) -> int:
    return total([increment(number) for number in range(n)])


@mwfs.workflow
def deep_expression(n: int) -> int:
    value = one()
    for _ in range(n):
        value = value + 1
    return increment(value)


@mwfs.workflow
def shared_expression(n: int) -> int:
    """Written out it would have 2 ** n parts."""
    before = value = one()
    for _ in range(n):
        before, value = value, before + value
    return increment(value)


@many
def test_deep(n: int) -> None:
    dag = mwfs.compile(deep, n=n)
    assert dag.node_count == n + 1
    check_dag(dag.proto)
    assert deep.run_local(n=n) == n + 1


@many
def test_wide(n: int) -> None:
    dag = mwfs.compile(wide, n=n)
    assert dag.node_count == n + 1
    check_dag(dag.proto)
    assert wide.run_local(n=n) == sum(range(1, n + 1))


@many
def test_deep_expressions_are_computed_without_recursion(n: int) -> None:
    check_dag(mwfs.compile(deep_expression, n=n).proto)
    assert deep_expression.run_local(n=n) == n + 2


def test_shared_parts_of_an_expression_count_and_are_computed_once() -> None:
    check_dag(mwfs.compile(shared_expression, n=85).proto)
    assert shared_expression.run_local(n=85) == shared_expression(n=85)
