"""Workflows whose runs go on, or are cut short, after a failure: not what plain Python would do."""

from unit.sdk.structure.workflows import add, double, numbers

import mwfs


@mwfs.operator(on_failure="continue")
def fragile(x: int) -> int:
    if x % 2:
        raise ValueError("odd")
    return x


@mwfs.operator(on_failure="cancel_dependents")
def decisive(x: int) -> int:
    if x % 2:
        raise ValueError("odd")
    return x


@mwfs.workflow
def goes_on_after_a_failure(n: int) -> int:
    report = fragile(n)
    double(report)
    with mwfs.after(report):
        return double(n)


@mwfs.workflow
def needs_what_was_given_up(n: int) -> int:
    return double(fragile(n))


@mwfs.workflow
def given_up_in_a_map(n: int) -> list[int]:
    return mwfs.map(fragile, numbers(n))


@mwfs.workflow
def given_up_beside_the_result(n: int) -> list[int]:
    def instance(x: int) -> int:
        fragile(x)
        return double(x)

    return mwfs.map(instance, numbers(n))


@mwfs.workflow(on_failure="continue")
def a_whole_run_that_goes_on(n: int) -> int:
    double(decisive.with_options(on_failure="continue")(n))
    return double(n)


@mwfs.workflow
def cancelled_with_what_failed(n: int) -> int:
    return add(decisive(n), double(double(n)))
