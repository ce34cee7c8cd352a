"""Small workflows that must end the same in this process and on the platform."""

import enum
import time
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import mwfs


class Kind(enum.Enum):
    TREE = "tree"
    LINEAR = "linear"


class Parts(NamedTuple):
    low: list[int]
    high: list[int]


@dataclass(frozen=True)
class Setting:
    kind: Kind
    depth: Annotated[int, mwfs.Range(1, 9)] = 3
    rates: dict[str, float] | None = None

    @mwfs.operator
    def label(self, prefix: str) -> str:
        return f"{prefix}{self.kind.name}{self.depth}"


@mwfs.operator
def halves(xs: list[int]) -> Parts:
    return Parts(xs[: len(xs) // 2], xs[len(xs) // 2 :])


@mwfs.operator(pure=True)
def add(x: int, y: int = 1) -> int:
    return x + y


@mwfs.operator
def described(setting: Setting, *, note: str | None = None) -> str:
    return f"{setting.kind.name} {setting.depth} {sorted((setting.rates or {}).items())} {note}"


@mwfs.operator
def pair(x: int) -> tuple[int, str]:
    return x, "x" * x


@mwfs.operator
def optional(x: int) -> int | None:
    return x if x > 2 else None


@mwfs.operator(retry=mwfs.Retry(attempts=2, backoff=0.01))
def picky(x: int) -> int:
    if x < 0:
        raise ValueError(f"{x} is negative")
    return x


@mwfs.operator
def untrue(x: int) -> int:
    return f"{x}"  # type: ignore[return-value]


@mwfs.operator
def written(rows: int) -> mwfs.Dataset:
    return mwfs.Dataset.from_rows([{"x": i, "y": i * i} for i in range(rows)])


@mwfs.operator
def summed(data: mwfs.Dataset) -> float:
    return sum(float(row["y"]) for row in data.rows())


@mwfs.operator
def merged(counts: dict[str, int], flags: list[bool]) -> dict[str, int]:
    return {key: value * (1 + sum(flags)) for key, value in counts.items()}


@mwfs.workflow
def records() -> str:
    setting = Setting(Kind.TREE, depth=add(2), rates={"l1": 0.5})
    return described(setting, note=setting.label("is "))


@mwfs.workflow
def named() -> Parts:
    parts = halves([1, 2, 3, 4, 5])
    return Parts(low=[add(parts.high[0])], high=parts.low)


@mwfs.workflow
def tuples() -> tuple[str, int]:
    number, text = pair(3)
    return text + "!", number * 2


@mwfs.workflow
def optionals() -> list[int]:
    return [mwfs.coalesce(optional(1), 7), mwfs.coalesce(optional(5), 7)]


@mwfs.workflow
def maps() -> dict[str, int]:
    return merged({"a": add(1), "b": 2}, [add(1) > 1, False])


@mwfs.workflow
def files() -> float:
    return summed(written(5)) + 0.5


@mwfs.workflow
def shared() -> int:
    return add(add(1), add(add(1), 2))


@mwfs.workflow
def nested() -> int:
    return inner(add(1)) + inner(5)


@mwfs.workflow
def inner(x: int) -> int:
    return mwfs.reduce(add, [add(x, i) for i in range(3)], initial=0)


@mwfs.workflow
def ordered() -> int:
    first = picky(1)
    return add.after(first)(2)


@mwfs.workflow
def raises() -> int:
    return add(picky(-1))


@mwfs.workflow
def lies() -> int:
    return add(untrue(1))


@mwfs.workflow
def divides() -> float:
    return summed(written(1)) / add(-1)


@mwfs.workflow
def independent() -> list[int]:
    return [picky(-2), add(1), picky(-3)]


# Grow the run.


@mwfs.workflow
def grows_by_map() -> list[int]:
    return mwfs.map(add, halves([1, 2, 3, 4]).high)


@mwfs.workflow
def grows_by_when() -> int:
    return mwfs.when(add(1) > 1, lambda: add(5), lambda: 0)


@mwfs.dynamic
def again(n: int) -> int:
    return add(n)


@mwfs.workflow
def grows_by_itself() -> int:
    return again(2)


@mwfs.dynamic
def measured(xs: list[int]) -> Parts:
    """A value and a future as named outputs, files and lifted arithmetic on the way."""
    return Parts(low=[add(x) * 2 for x in xs], high=[len(xs), mwfs.as_int(summed(written(len(xs))))])


@mwfs.workflow
def grows_and_names() -> Parts:
    parts = measured(halves([1, 2, 3, 4]).high)
    return Parts(low=parts.low, high=mwfs.map(add, parts.high))


@mwfs.dynamic(retry=mwfs.Retry(attempts=2, backoff=0.01))
def unable(how: str) -> int:
    if how == "raises":
        raise LookupError(f"cannot {how}")
    if how == "lies":
        return how  # type: ignore[return-value]
    if how == "misuses" and add(1):
        return 1
    if how == "for ever":
        return unable(how)
    return add(picky(-3)) + add(1)


@mwfs.workflow
def grows_and_raises() -> int:
    return unable("raises")


@mwfs.workflow
def grows_and_raises_below() -> int:
    return unable("below") + 1


@mwfs.workflow
def grows_and_lies() -> int:
    return unable("lies")


@mwfs.workflow
def grows_and_misuses() -> int:
    return unable("misuses")


@mwfs.workflow
def grows_for_ever() -> int:
    return unable("for ever")


# Fail in ways of their own.


@mwfs.operator
def careful(x: int) -> int:
    print(f"looking at {x}")
    if x > 1:
        raise ValueError(f"{x} is too much")
    return x


@mwfs.operator
def explained(failure: mwfs.Failure) -> str:
    return f"{failure.error_type}: {failure.message}"


@mwfs.operator
def said(x: int) -> str:
    return str(careful(x))


@mwfs.workflow
def fails_in_map() -> list[int]:
    return mwfs.map(careful, halves([0, 1, 2]).high)


@mwfs.workflow
def fails_too_often() -> list[int]:
    return mwfs.map(careful, halves([1, 1, 0, 5, 6, 1]).high, tolerate=0.3)


@mwfs.workflow
def fails_at_its_limit() -> int:
    return mwfs.repeat_while(lambda x: x < 9, lambda x: add(x), add(1), limit=3)


@mwfs.workflow
def fails_in_a_branch() -> int:
    return mwfs.when(add(1) > 1, lambda: careful(7), lambda: 0)


@mwfs.workflow
def fails_by_index() -> int:
    return halves([1, 2]).low[5] + 1


@mwfs.workflow
def fails_by_division() -> list[float]:
    return [summed(written(2)) / (add(1) - 2)]


@mwfs.workflow
def fails_to_reduce() -> int:
    return mwfs.reduce(add, mwfs.filter(lambda x: x > 100, halves([1, 2]).low))


@mwfs.workflow
def fails_after_cleanup() -> int:
    return mwfs.with_cleanup(lambda: careful(8), lambda: add(1))


@mwfs.operator
def patient() -> int:
    """In one process its turn never comes; on the platform it is stopped."""
    while True:
        time.sleep(60)


@mwfs.operator(on_failure="cancel_run")
def fatal(x: int) -> int:
    raise ValueError(f"{x} is fatal")


@mwfs.workflow
def loses_and_cleans_up() -> list[int]:
    return mwfs.race([lambda: mwfs.with_cleanup(patient, lambda: halves([1])), lambda: add(1)])


@mwfs.workflow
def stops_and_cleans_up() -> int:
    begun = mwfs.with_cleanup(patient, lambda: halves([1]))
    return add(begun, fatal(1))


@mwfs.workflow
def fails_past_the_fallback() -> str:
    return mwfs.catch(lambda: said(5), KeyError, fallback=explained)


@mwfs.workflow
def caught() -> str:
    return mwfs.catch(lambda: said(5), ValueError, fallback=explained)


@mwfs.workflow
def tolerated() -> list[int]:
    return mwfs.map(careful, halves([1, 1, 0, 5, 1, 1]).high, tolerate=0.5)


class Slow(Exception):
    """An error of the project."""

    def __init__(self, after: int) -> None:
        super().__init__(f"after {after} s")
        self.after = after


@mwfs.operator
def too_slow(x: int) -> int:
    try:
        return {}[x]
    except KeyError as error:
        raise Slow(3) from error


@mwfs.operator
def leaves(x: int) -> int:
    raise SystemExit(3)


@mwfs.workflow
def raises_its_own() -> int:
    return too_slow(1)


@mwfs.workflow
def exits() -> int:
    return leaves(1)


@mwfs.workflow
def below(xs: list[int], *, more: int = 1) -> Parts:
    parts = halves(xs)
    return Parts(low=mwfs.map(lambda x: add(x, more), parts.low), high=parts.high)


@mwfs.workflow
def starts_a_child() -> Parts:
    parts = mwfs.child(below, [1, 2, 3, 4], more=add(1))
    return mwfs.child(below, parts.low)


@mwfs.workflow
def raises_below(x: int) -> int:
    return picky(x)


@mwfs.workflow
def starts_a_child_that_raises() -> int:
    return mwfs.child(raises_below, add(-9))
