"""A pure operator that says when it is called, and one that is never answered from earlier runs."""

import mwfs


@mwfs.operator(pure=True)
def squares(n: int) -> list[int]:
    return [i * i for i in range(n)]


@mwfs.operator(pure=True)
def join(values: list[int]) -> int:
    return sum(values)


@mwfs.operator
def announce(total: int) -> int:
    return total


@mwfs.operator(pure=True)
def plus(x: int, y: int = 1) -> int:
    return x + y


@mwfs.operator
def hundreds(x: int) -> int:
    return x // 100


@mwfs.workflow
def grown(n: int) -> int:
    """All of it is known once it has run; the last call hides behind one that always runs."""
    joined = join(mwfs.map(plus, squares(n)))
    return plus(hundreds(joined))


@mwfs.workflow
def looped(n: int) -> int:
    return mwfs.repeat_while(lambda x: x > 5, lambda x: plus(hundreds(x), 3), plus(n), limit=4, at_limit="stop")


@mwfs.workflow
def twice(n: int = 20_000) -> int:
    return announce(join(squares(n)))
