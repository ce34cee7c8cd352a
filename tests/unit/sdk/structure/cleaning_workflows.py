"""Workflows whose bodies are cut short: by a race, by what fails beside them, or by nothing but a cancel. Their cleanups run all the same."""

from unit.sdk.structure.policies import decisive
from unit.sdk.structure.workflows import add, double, nothing, numbers, picky

import mwfs


@mwfs.operator(on_failure="cancel_run")
def fatal(x: int) -> int:
    if x % 2:
        raise ValueError("odd")
    return x


@mwfs.dynamic
def grown(n: int) -> int:
    return mwfs.with_cleanup(lambda: double(double(n)), lambda: nothing(n))


def _twice(n: int) -> int:
    return mwfs.with_cleanup(
        lambda: mwfs.with_cleanup(lambda: double(double(n)), lambda: double(add(n, 1))), lambda: nothing(n)
    )


def _each(n: int) -> int:
    """Something between the outer cleanup and the inner ones."""
    return mwfs.with_cleanup(
        lambda: mwfs.reduce(
            add,
            mwfs.map(lambda x: mwfs.with_cleanup(lambda: double(double(x)), lambda: nothing(x)), numbers(n)),
            initial=0,
        ),
        lambda: mwfs.map(double, numbers(n)),
    )


@mwfs.workflow
def raced_with_a_cleanup(n: int) -> list[int]:
    return mwfs.race(
        [lambda: mwfs.with_cleanup(lambda: add(double(n), double(n)), lambda: nothing(n)), lambda: picky(n)]
    )


@mwfs.workflow
def raced_with_cleanups_in_each_other(n: int) -> list[int]:
    return mwfs.race([lambda: _twice(n), lambda: double(double(n))])


@mwfs.workflow
def raced_with_cleanups_in_a_map(n: int) -> list[int]:
    return mwfs.race([lambda: _each(n), lambda: double(double(double(n)))])


@mwfs.workflow
def raced_with_a_dynamic_operator(n: int) -> list[int]:
    return mwfs.race([lambda: mwfs.with_cleanup(lambda: grown(n), lambda: double(n)), lambda: double(double(n))])


@mwfs.workflow
def raced_inside_a_body(n: int) -> list[int]:
    return mwfs.with_cleanup(lambda: mwfs.race([lambda: _twice(n), lambda: double(double(n))]), lambda: nothing(n))


@mwfs.workflow
def raced_in_the_cleanup(n: int) -> int:
    return mwfs.with_cleanup(
        lambda: double(double(n)), lambda: mwfs.race([lambda: _twice(n), lambda: double(double(n))])
    )


@mwfs.workflow
def cleans_in_a_cleanup(n: int) -> int:
    return mwfs.with_cleanup(lambda: double(double(n)), lambda: _each(n))


@mwfs.workflow
def cleans_and_fails(n: int) -> int:
    return mwfs.with_cleanup(lambda: double(double(n)), lambda: mwfs.with_cleanup(lambda: picky(n), lambda: nothing(n)))


@mwfs.workflow
def cleans_after_a_while(n: int) -> int:
    return mwfs.with_cleanup(lambda: double(double(n)), lambda: mwfs.sleep(double(n)))


@mwfs.workflow
def cleans_when_told(n: int) -> int:
    return mwfs.with_cleanup(lambda: double(double(n)), lambda: double(mwfs.signal("clean", int)))


@mwfs.workflow
def cleans_after_a_child(n: int) -> int:
    return mwfs.with_cleanup(lambda: double(mwfs.child(cleans_without_nodes, double(n))), lambda: double(n))


@mwfs.workflow
def cleans_by_a_child(n: int) -> int:
    return mwfs.with_cleanup(lambda: double(double(n)), lambda: mwfs.child(cleans_without_nodes, n))


@mwfs.workflow
def stopped_beside_a_child(n: int) -> int:
    return add(mwfs.child(cleans_without_nodes, n), fatal(n))


@mwfs.workflow
def dropped_with_a_child(n: int) -> int:
    return add(decisive(n), double(mwfs.child(cleans_without_nodes, n)))


@mwfs.workflow
def cleans_without_nodes(n: int) -> int:
    return mwfs.with_cleanup(lambda: double(double(n)), lambda: n)


@mwfs.workflow
def stopped_by_a_failure(n: int) -> int:
    return add(fatal(n), _each(n))


@mwfs.workflow
def stopped_by_its_own_body(n: int) -> int:
    return mwfs.with_cleanup(lambda: add(fatal(n), _twice(n)), lambda: nothing(n))


@mwfs.workflow
def stopped_by_a_cleanup(n: int) -> int:
    return add(mwfs.with_cleanup(lambda: double(n), lambda: fatal(n)), _twice(n))


@mwfs.workflow
def dropped_with_what_failed(n: int) -> int:
    return add(decisive(n), _each(n))
