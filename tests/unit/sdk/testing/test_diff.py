"""A diff misses nothing that changes what a run does, and says it at the place where it was changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fixtures.sdk_operators import add, increment, numbers, total

import mwfs
from mwfs import Workflow
from mwfs.dag import Dag
from mwfs.dag_diff import Change, diff


@mwfs.operator
def plus(x: int, y: int) -> int:
    return x + y


@mwfs.operator
def minus(x: int, y: int) -> int:
    return x - y


def changes_of(before: Workflow[..., object], after: Workflow[..., object], n: int = 3, then: int = 3) -> list[Change]:
    return diff(mwfs.compile(before, n=n), mwfs.compile(after, n=then))


def flow(body: Callable[[int], object]) -> Workflow[..., object]:
    """The same workflow with another body."""

    @mwfs.workflow
    def flow(n: int) -> int:
        return body(n)  # type: ignore[return-value]

    return flow


CHANGED = {
    "constant": (lambda n: plus(n, 1), lambda n: plus(n, 2), [("plus", "plus(x=3, y=1)", "plus(x=3, y=2)")]),
    "arguments": (
        lambda n: minus(increment(n), n),
        lambda n: minus(n, increment(n)),
        [("minus", "minus(x=increment, y=3)", "minus(x=3, y=increment)")],
    ),
    "arithmetic": (
        lambda n: increment(increment(n) * 2),
        lambda n: increment(increment(n) * 3),
        [("increment", "increment(x=increment * 2)", "increment(x=increment * 3)")],
    ),
    "output": (
        lambda n: increment(n) + 1,
        lambda n: increment(n) + 2,
        [("output result", "increment + 1", "increment + 2")],
    ),
    "lambda of a map": (
        lambda n: total(mwfs.map(lambda x: plus(x, 1), numbers(n))),
        lambda n: total(mwfs.map(lambda x: plus(x, 2), numbers(n))),
        [("plus in map(lambda)", "plus(x=p0, y=1)", "plus(x=p0, y=2)")],
    ),
    "calls in a map": (
        lambda n: total(mwfs.map(lambda x: increment(x), numbers(n))),
        lambda n: total(mwfs.map(lambda x: increment(increment(x)), numbers(n))),
        [("increment in map(lambda)", "1 call", "2 calls")],
    ),
    "result of a branch": (
        lambda n: mwfs.when(increment(n) > 1, lambda: 1, lambda: 2),
        lambda n: mwfs.when(increment(n) > 1, lambda: 1, lambda: 3),
        [("result in when(lambda, lambda)", "2", "3")],
    ),
    "bound of a loop": (
        lambda n: mwfs.repeat_while(lambda x: x < 9, increment, increment(n), limit=5),
        lambda n: mwfs.repeat_while(lambda x: x < 9, increment, increment(n), limit=6),
        None,
    ),
    "long constant": (
        lambda n: total([1] * 50 + [n]),
        lambda n: total([1] * 49 + [2, n]),
        None,
    ),
    "options of some calls": (
        lambda n: increment.with_options(retry=2)(increment(n)),
        lambda n: increment.with_options(retry=3)(increment(n)),
        None,
    ),
}


@pytest.mark.parametrize("name", CHANGED)
def test_change_is_shown_where_it_is(name):
    before, after, expected = CHANGED[name]
    assert changes_of(flow(before), flow(before)) == []
    found = changes_of(flow(before), flow(after))
    assert found
    if expected is not None:
        assert [(one.what, one.before, one.after) for one in found] == expected


def test_same_calls_connected_in_another_way():
    (change,) = changes_of(
        flow(lambda n: minus(increment(add(n, 1)), increment(add(n, 2)))),
        flow(lambda n: minus(increment(add(n, 2)), increment(add(n, 1)))),
    )
    assert (change.kind, change.what) == ("graph", "minus")
    assert "connected in another way" in change.after
    (change,) = changes_of(flow(lambda n: (add(n, 1), add(n, 2))[0]), flow(lambda n: (add(n, 1), add(n, 2))[1]))
    assert change.what == "output result"


def test_order_without_data_counts():
    found = changes_of(flow(lambda n: (increment(n), add(n, 1))[1]), flow(lambda n: add.after(increment(n))(n, 1)))
    assert [(one.what, one.before, one.after) for one in found][-1] == ("increment → add", "", "an edge")


def test_other_inputs_do_not_look_like_another_graph():
    body = flow(lambda n: minus(increment(n), add(n, 3)))
    assert [(one.kind, one.what) for one in changes_of(body, body, 3, 4)] == [("inputs", "n")]
    assert [(one.kind, one.what) for one in changes_of(body, body, 4, 3)] == [("inputs", "n")]


def test_many_changed_calls_are_counted_not_listed():
    found = changes_of(
        flow(lambda n: total([add(i, 1) for i in range(50)])), flow(lambda n: total([add(i, 2) for i in range(50)]))
    )
    assert len(found) == 6
    assert found[-1].before == "45 more calls"


def test_code_of_any_operator_counts_and_names_what_changed():
    dag = mwfs.compile(flow(lambda n: increment(n)), n=3)
    other = Dag(type(dag.proto).FromString(dag.serialize()))
    other.proto.operators[0].code_digest = f"sha256:{'0' * 64}"
    parts = other.proto.digest_parts.add(digest=f"sha256:{'0' * 64}")
    parts.names.extend(["fixtures.sdk_operators:increment", "helpers:new"])
    parts.values.extend(["other", "other"])
    (change,) = diff(dag, other)
    assert (change.kind, change.what) == ("code", "increment")
    assert "`fixtures.sdk_operators:increment`, `helpers:new` is new" in change.after
