"""Workflows whose shape is rolled by dice: pure and impure calls, equal ones, dead ones, arithmetic, lists, and order without data."""

import random

import mwfs

SMALL = mwfs.Resources(cpu=0.1)


@mwfs.operator(pure=True, resources=SMALL)
def add(left: int, right: int) -> int:
    return left + right


@mwfs.operator(pure=True, resources=SMALL)
def spread(n: int) -> list[int]:
    return [n % 7, n % 5, n]


@mwfs.operator(resources=SMALL)
def total(numbers: list[int]) -> int:
    return sum(numbers)


@mwfs.operator(pure=True, resources=SMALL)
def risky(n: int) -> int:
    if n % 3 == 0:
        raise ValueError(f"{n} is a multiple of 3")
    return n


@mwfs.operator(resources=SMALL)
def instead(failure: mwfs.Failure) -> int:
    return len(failure.message)


@mwfs.workflow
def inner(n: int) -> int:
    """A workflow inside of others, with equal and unneeded calls of its own."""
    add(n, 9)
    return add(add(n, 1), add(n, 1))


@mwfs.workflow
def graph(seed: int) -> list[int]:
    dice = random.Random(seed)
    known = [add(seed, 1)]
    for _ in range(dice.randint(4, 14)):
        left, right = dice.choice(known), dice.choice(known)
        made = dice.randrange(12)
        if made == 0:
            known.append(total([left, right, dice.randrange(3)]))
        elif made == 1:
            known.append(add(left * 2 - right, dice.randrange(3)))
        elif made == 2:
            known.append(spread(left)[dice.randrange(3)])
        elif made == 3:
            known.append(total.after(left)([right]))
        elif made == 4:
            known.append(total(mwfs.map(add, spread(left), right=right)))
        elif made == 5:
            known.append(total(mwfs.map(lambda x, right=right: inner(add(x, right)), spread(left))))
        elif made == 6:
            known.append(
                mwfs.when(
                    left % 2 == 0, lambda left=left: add(left, 1), lambda right=right: total([right, add(right, 1)])
                )
            )
        elif made == 7:
            known.append(mwfs.repeat_while(lambda x: x < 40, lambda x: add(x, 17), left % 50, limit=9, at_limit="stop"))
        elif made == 8:
            known.append(mwfs.catch(lambda left=left: risky(left), ValueError, fallback=instead))
        elif made == 9:
            known.append(mwfs.reduce(add, mwfs.filter(lambda x: add(x, 1) > 2, spread(left)), initial=right))
        elif made == 10:
            known.append(inner(left))
        else:
            known.append(add(left, right))
    return [dice.choice(known) for _ in range(3)]
