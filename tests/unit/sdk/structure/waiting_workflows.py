"""Workflows that wait for signals and for time. `SIGNALS` is what they are told, `EXPECTED` what they give: a value, or the class of the error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import mwfs


class Settings(NamedTuple):
    depth: int
    note: str | None = None


SIGNALS: dict[str, Any] = {
    "approved": True,
    "settings": Settings(3, "from Ada"),
    "count": 5,
    "maybe": None,
    "later": 9,
}


@mwfs.operator
def double(x: int) -> int:
    return 2 * x


@mwfs.operator
def add(x: int, y: int) -> int:
    return x + y


@mwfs.operator
def numbers(n: int) -> list[int]:
    return list(range(n))


@mwfs.operator
def failing(x: int) -> int:
    raise ValueError(f"no {x}")


@mwfs.workflow
def approved(n: int) -> str:
    return mwfs.when(mwfs.signal("approved", bool), lambda: mwfs.as_text(double(n)), lambda: "refused")


@mwfs.workflow
def approved_below(n: int) -> str:
    return mwfs.child(approved, n)


@mwfs.workflow
def configured(n: int) -> str:
    settings = mwfs.signal("settings", Settings)
    return mwfs.as_text(add(settings.depth, n)) + mwfs.coalesce(settings.note, "")


@mwfs.workflow
def waited_in_a_map(n: int) -> list[int]:
    return mwfs.map(lambda x: add(mwfs.signal("count", int), x), numbers(n))


@mwfs.workflow
def waited_in_a_loop(n: int) -> int:
    return mwfs.repeat_while(lambda x: x < 20, lambda x: add(x, mwfs.signal("count", int)), n, limit=50)


@mwfs.workflow
def waited_in_a_race(n: int) -> list[int]:
    return mwfs.race([lambda: mwfs.signal("count", int), lambda: failing(n)])


@mwfs.workflow
def waited_in_a_row(n: int) -> int:
    first = add(mwfs.signal("count", int), n)
    with mwfs.after(first):
        second = mwfs.signal("settings", Settings)
    return add(first, second.depth)


@mwfs.workflow
def waited_for_nothing(n: int) -> int:
    return add(mwfs.coalesce(mwfs.signal("maybe", int | None), 7), n)


@mwfs.workflow
def nobody_came(n: int) -> int:
    return mwfs.catch(lambda: add(mwfs.signal("never", int, timeout=0.2), n), TimeoutError, fallback=-1)


@mwfs.workflow
def nobody_came_in_vain(n: int) -> int:
    return add(mwfs.signal("never", int, timeout=0.2), n)


@mwfs.dynamic
def asks_later(n: int) -> int:
    return mwfs.signal("later", int) + n if n else double(4)


@mwfs.workflow
def waited_below(n: int) -> int:
    return asks_later(n)


@mwfs.workflow
def slept(n: int) -> int:
    with mwfs.after(mwfs.sleep(0.05)):
        return double(n)


@mwfs.workflow
def slept_as_told(n: int) -> int:
    with mwfs.after(mwfs.sleep(double(n) / 100)):
        return double(n)


@mwfs.workflow
def slept_in_a_map(n: int) -> list[int]:
    def later(x: int) -> int:
        with mwfs.after(mwfs.sleep(0.01)):
            return double(x)

    return mwfs.map(later, numbers(n))


@mwfs.workflow
def slept_too_short(n: int) -> int:
    with mwfs.after(mwfs.sleep(mwfs.as_float(add(n, -2)))):
        return n


EXPECTED: dict[mwfs.Workflow[..., Any], Callable[[int], Any]] = {
    approved: lambda n: str(2 * n),
    configured: lambda n: f"{3 + n}from Ada",
    waited_in_a_map: lambda n: [5 + x for x in range(n)],
    waited_in_a_loop: lambda n: n + 5 * -(-(20 - n) // 5),
    waited_in_a_race: lambda _: [5],
    waited_in_a_row: lambda n: 8 + n,
    waited_for_nothing: lambda n: 7 + n,
    nobody_came: lambda _: -1,
    nobody_came_in_vain: lambda _: "TimeoutError",
    waited_below: lambda n: 9 + n if n else 8,
    slept: lambda n: 2 * n,
    slept_as_told: lambda n: 2 * n,
    slept_in_a_map: lambda n: [2 * x for x in range(n)],
    slept_too_short: lambda n: n if n >= 2 else "ValueError",
}
