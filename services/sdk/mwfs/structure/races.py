"""Whoever is first: `mwfs.race`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Concatenate, TypeVar, cast, overload

from mwfs.errors import BadStructure
from mwfs.futures import Future
from mwfs.structure.branches import joined
from mwfs.structure.control import Argument, Construct, check_callable, construct
from mwfs.structure.inference import settled
from mwfs.structure.mapping import _bool, _calling, _check_lists, _is_unknown, _list_arguments, _list_of
from mwfs.structure.scopes import name_of, open_body
from mwfs_api.dags.v1 import dag_pb2

T = TypeVar("T")
R = TypeVar("R")


class NoWinner(RuntimeError):
    """Fewer candidates than wanted gave a result that satisfies the condition."""


@overload
def race(
    f: Callable[Concatenate[T, ...], R],
    xs: Iterable[T],
    /,
    *,
    first: int = ...,
    until: Callable[[R], bool] | None = ...,
    **fixed: Any,
) -> list[R]: ...


@overload
def race(f: Sequence[Callable[[], R]], /, *, first: int = ..., until: Callable[[R], bool] | None = ...) -> list[R]: ...


def race(
    f: Any, xs: Any = None, /, *, first: int = 1, until: Callable[[Any], bool] | None = None, **fixed: Any
) -> list[Any]:
    """The first results: of `f` for each element of `xs`, or of a list of things to call. What has not ended then is cancelled.

    first: how many are wanted. until: only results for which it holds count; those that fail never do. With fewer than `first`
    the race fails.
    """
    use = construct("race")
    if isinstance(first, bool) or not isinstance(first, int) or not 1 <= first <= 1_000_000:
        if use is None:
            raise BadStructure(
                "mwfs.race: `first` is how many winners are wanted", expected="a whole number from 1", found=repr(first)
            )
        raise use.wrong(
            "`first` is how many winners are wanted",
            argument="first",
            expected="a whole number from 1",
            found=repr(first),
            fix="write first=1",
        )
    if use is None:
        calls = list(f) if xs is None else [_calling_one(f, x, fixed) for x in xs]
        return _plain(calls, first, until)
    known = (
        len(f) if xs is None and isinstance(f, Sequence) else None if xs is None or _is_unknown(xs) else len(list(xs))
    )
    if known is not None and known < first:
        raise use.wrong(
            f"{_counted(first, 'winner')} wanted of {_counted(known, 'candidate')}",
            expected=f"at least {_counted(first, 'candidate')}",
            found=str(known),
            fix="lower `first`" if first > 1 else "give something to run",
        )
    return _record(use, f, xs, first, until, fixed)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + "s" * (count != 1)


def _record(
    use: Construct, f: Any, xs: Any, first: int, until: Callable[[Any], bool] | None, fixed: dict[str, Any]
) -> list[Any]:
    words = f"a candidate of {use.words}"
    control = dag_pb2.Control(kind=dag_pb2.CONTROL_KIND_RACE, limit=first)
    arguments: list[Argument] = []
    if xs is None:
        if isinstance(f, Future) or not isinstance(f, Sequence) or isinstance(f, str) or not f:
            raise use.wrong(
                "what runs is not given",
                argument=0,
                expected="a list of lambdas, or an operator and a list",
                found=type(f).__qualname__,
                fix="write `mwfs.race([lambda: …, lambda: …])` or `mwfs.race(operator, xs)`",
            )
        for call in f:
            check_callable(use, call, 0, argument=0, what="a candidate", takes="no values")
        bodies = [open_body(use.captures, call, what=words, words="", site=use.at(0)) for call in f]
        result = use.graph.type_index(joined(use, bodies, tuple(f"candidate {at}" for at in range(len(bodies)))))
        control.candidates.extend(body.close(result) for body in bodies)
        name = ", ".join([name_of(call) for call in f[:3]] + ["…"] * (len(f) > 3))
    else:
        _check_lists(use, [xs])
        if not fixed:
            check_callable(use, f, 1, argument=0, what="what is called", takes="an element")
        arguments, items = _list_arguments(use, [xs])
        body = open_body(use.captures, _calling(f, (), fixed), items, what=words, words=words, site=use.site)
        result = use.graph.type_index(settled(body.type, use.site))
        control.body, control.lists, name = body.close(result), 1, name_of(f)
    if until is not None:
        check_callable(use, until, 1, argument="until", what="the condition", takes="a result")
        condition = open_body(
            use.captures, until, [result], what=f"the condition of {use.words}", words=words, site=use.at("until")
        )
        control.condition = condition.close(_bool(use))
    return cast("list[Any]", use.record(f"race({name})", control, arguments, _list_of(use, result)))


def _calling_one(f: Callable[..., R], x: Any, fixed: dict[str, Any]) -> Callable[[], R]:
    return lambda: f(x, **fixed)


def _plain(calls: Sequence[Callable[[], R]], first: int, until: Callable[[R], bool] | None) -> list[R]:
    winners: list[R] = []
    failure: Exception | None = None
    for call in calls:
        try:
            result = call()
            satisfies = until is None or until(result)
        except Exception as error:
            failure = failure or error
            continue
        if satisfies:
            winners.append(result)
            if len(winners) == first:
                return winners
    raise NoWinner(f"{len(winners)} of {first} wanted results are there, and nothing is left to run") from failure
