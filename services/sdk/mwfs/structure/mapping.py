"""The same for every element: map, filter, group and reduce.

Over values that are known while compiling these are ordinary calls. Over a future they are one control node, which makes its nodes
when the list is there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Concatenate, Generic, TypeVar, cast, overload

from mwfs.errors import BadOperation, BadStructure, WrongType
from mwfs.futures import Future
from mwfs.structure.control import Argument, Construct, check_callable, construct
from mwfs.structure.inference import infer
from mwfs.structure.scopes import name_of, open_body
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.rendering import describe

T = TypeVar("T")
U = TypeVar("U")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Together(Generic[T, U]):
    """Lists whose elements go together into the first parameters: made by `zipped` and `crossed`."""

    lists: tuple[Any, ...]
    cross: bool


def zipped(first: Iterable[T], second: Iterable[U], /, *more: Iterable[Any]) -> Together[T, U]:
    """Lists of one length, taken together: `mwfs.map(train, mwfs.zipped(datasets, depths))`."""
    return Together((first, second, *more), cross=False)


def crossed(first: Iterable[T], second: Iterable[U], /, *more: Iterable[Any]) -> Together[T, U]:
    """Lists in all combinations, the last one varying fastest: `mwfs.map(train, mwfs.crossed(datasets, depths))`."""
    return Together((first, second, *more), cross=True)


@overload
def map(f: Callable[[T], R], xs: Iterable[T], /, *, tolerate: float = ...) -> list[R]: ...


@overload
def map(f: Callable[[T, U], R], xs: Together[T, U], /, *, tolerate: float = ...) -> list[R]: ...


@overload
def map(f: Callable[[T, U], R], xs: Iterable[T], second: U, /, *, tolerate: float = ...) -> list[R]: ...


@overload
def map(
    f: Callable[Concatenate[T, U, ...], R], xs: Together[T, U], /, *more: Any, tolerate: float = ..., **fixed: Any
) -> list[R]: ...


@overload
def map(
    f: Callable[Concatenate[T, ...], R], xs: Iterable[T], /, *more: Any, tolerate: float = ..., **fixed: Any
) -> list[R]: ...


def map(f: Callable[..., R], xs: Any, /, *more: Any, tolerate: float = 0.0, **fixed: Any) -> list[R]:
    """The results of `f` for each element, in order. `f`: an operator, a workflow or a lambda; `more` and `fixed` go to every call.

    tolerate: the share of elements, from 0 to 1, that may fail; their results are left out.
    """
    lists, cross = (xs.lists, xs.cross) if isinstance(xs, Together) else ((xs,), False)
    use = construct("map")
    if isinstance(tolerate, (Future, bool)) or not 0 <= tolerate <= 1:
        found = "a future" if isinstance(tolerate, Future) else repr(tolerate)
        message = "the share of elements that may fail is from 0 to 1"
        if use is None:
            raise BadStructure(message, expected="0 to 1", found=found, fix="write tolerate=0.1 for a tenth")
        raise use.wrong(
            message, argument="tolerate", expected="0 to 1", found=found, fix="write tolerate=0.1 for a tenth"
        )
    if use is None:
        return _plain_map(f, lists, cross, more, tolerate, fixed)
    _check_lists(use, lists)
    count = len(lists) + len(more)
    if not fixed:
        check_callable(
            use, f, count, argument=0, what="what is called", takes="1 value" if count == 1 else f"{count} values"
        )
    if not tolerate and not any(_is_unknown(one) for one in lists):
        with _hint_at_zipped(f, more):
            return [f(*elements, *more, **fixed) for elements in _together(lists, cross, use)]
    arguments, items = _list_arguments(use, lists)
    with _hint_at_zipped(f, more):
        body = open_body(
            use.captures,
            _calling(f, more, fixed),
            items,
            what=f"`{name_of(f)}` in {use.words}",
            words=f"an element of {use.words}",
            site=use.site,
        )
    result = use.graph.type_index(_settled(use, body.type))
    control = dag_pb2.Control(
        kind=dag_pb2.CONTROL_KIND_MAP, body=body.close(result), lists=len(lists), cross=cross, tolerate=tolerate
    )
    return cast("list[R]", use.record(f"map({name_of(f)})", control, arguments, _list_of(use, result)))


@contextmanager
def _hint_at_zipped(f: Callable[..., Any], more: tuple[Any, ...]) -> Iterator[None]:
    """Python's own `map` takes lists together; here each call gets the whole second list."""
    try:
        yield
    except WrongType as error:
        if any(_is_list(one) for one in more):
            name = name_of(f)
            error.fix = error.next_step = (
                f"to take lists together, write `mwfs.map({name}, mwfs.zipped(xs, ys))`: what follows the list goes to every call whole"
            )
        raise


def _is_list(value: Any) -> bool:
    if isinstance(value, Future):
        return value._graph.types[value._type].WhichOneof("kind") == "list"
    return isinstance(value, (list, tuple, range))


def _calling(f: Callable[..., Any], more: tuple[Any, ...], fixed: dict[str, Any]) -> Callable[..., Any]:
    def call(*elements: Any) -> Any:
        return f(*elements, *more, **fixed)

    call.__name__ = name_of(f)
    return call


def _plain_map(
    f: Callable[..., R], lists: Sequence[Any], cross: bool, more: tuple[Any, ...], tolerate: float, fixed: Any
) -> list[R]:
    results: list[R] = []
    failures: list[Exception] = []
    for elements in _together(lists, cross, None):
        try:
            results.append(f(*elements, *more, **fixed))
        except Exception as error:
            if not tolerate:
                raise
            failures.append(error)
    if failures and len(failures) > tolerate * (len(failures) + len(results)):
        raise failures[0]
    return results


def _together(lists: Sequence[Iterable[Any]], cross: bool, use: Construct | None) -> list[tuple[Any, ...]]:
    if cross:
        return list(itertools.product(*lists))
    columns = [list(one) for one in lists]
    lengths = {len(one) for one in columns}
    if len(lengths) > 1:
        found = " and ".join(str(len(one)) for one in columns)
        if use is None:
            raise ValueError(f"lists that are zipped have one length, found {found}")
        raise use.wrong(
            "lists that are zipped have one length",
            argument=1,
            expected="lists of one length",
            found=f"lengths {found}",
            fix="cut the longer one, or write mwfs.crossed(…) for all combinations",
        )
    return list(zip(*columns, strict=True))


def _is_unknown(value: Any) -> bool:
    """Whether the number of elements is known only when the run gets there."""
    return isinstance(value, Future) and value._graph.types[value._type].WhichOneof("kind") != "tuple"


def _check_lists(use: Construct, lists: Sequence[Any]) -> None:
    for one in lists:
        if isinstance(one, Future):
            kind = one._graph.types[one._type]
            if kind.WhichOneof("kind") not in ("list", "tuple"):
                raise use.wrong(
                    "its elements come from a list",
                    argument=1,
                    expected="a list",
                    found=use.graph.describe_future(one) if one._graph is use.graph else use.type_words(one._type),
                    fix="give a list; for a dict, write mwfs.values(…) or mwfs.entries(…)",
                )
        elif isinstance(one, (str, bytes, dict)) or not isinstance(one, Iterable):
            raise use.wrong(
                "its elements come from a list",
                argument=1,
                expected="a list",
                found=type(one).__qualname__,
                fix="write [value] for one element, or list(…)",
            )


def _list_arguments(use: Construct, lists: Sequence[Any]) -> tuple[list[Argument], list[int]]:
    """The arguments of a control node for these lists, and the types of their elements."""
    arguments: list[Argument] = []
    items: list[int] = []
    for index, one in enumerate(lists):
        value = one if _is_unknown(one) else list(one)
        kind = infer(use.graph, value, use.at(1))
        if isinstance(value, Future):
            # Without constraints of the list itself: a slice of it, or a filtered one, is a list all the same.
            kind = types_pb2.Type(list=types_pb2.ListType(item=kind.list.item))
        arguments.append((f"list{index}" if len(lists) > 1 else "list", value, use.graph.type_index(kind)))
        items.append(use.graph.type_index(kind.list.item))
    return arguments, items


def _list_of(use: Construct, item: int) -> int:
    return use.graph.type_index(types_pb2.Type(list=types_pb2.ListType(item=use.graph.types[item])))


def _settled(use: Construct, kind: types_pb2.Type) -> types_pb2.Type:
    from mwfs.structure.inference import settled

    return settled(kind, use.site)


def _bool(use: Construct) -> int:
    return use.graph.type_index(types_pb2.Type(scalar=types_pb2.SCALAR_KIND_BOOL))


def filter(keep: Callable[[T], bool], xs: Iterable[T], /) -> list[T]:
    """The elements for which `keep` holds, in order."""
    use = construct("filter")
    if use is None:
        return [x for x in xs if keep(x)]
    _check_lists(use, [xs])
    check_callable(use, keep, 1, argument=0, what="the condition", takes="an element")
    arguments, items = _list_arguments(use, [xs])
    condition = open_body(
        use.captures,
        keep,
        items,
        what=f"the condition of {use.words}",
        words=f"an element of {use.words}",
        site=use.at(0),
    )
    control = dag_pb2.Control(kind=dag_pb2.CONTROL_KIND_FILTER, condition=condition.close(_bool(use)), lists=1)
    return cast("list[T]", use.record(f"filter({name_of(keep)})", control, arguments, arguments[0][2]))


def group(key: Callable[[T], str], xs: Iterable[T], /) -> dict[str, list[T]]:
    """The elements by the text that `key` gives for each."""
    use = construct("group")
    if use is None:
        groups: dict[str, list[T]] = {}
        for x in xs:
            groups.setdefault(key(x), []).append(x)
        return dict(sorted(groups.items()))
    _check_lists(use, [xs])
    check_callable(use, key, 1, argument=0, what="the key", takes="an element")
    arguments, items = _list_arguments(use, [xs])
    body = open_body(
        use.captures, key, items, what=f"the key of {use.words}", words=f"an element of {use.words}", site=use.at(0)
    )
    text = use.graph.type_index(types_pb2.Type(scalar=types_pb2.SCALAR_KIND_STRING))
    control = dag_pb2.Control(kind=dag_pb2.CONTROL_KIND_GROUP, body=body.close(text), lists=1)
    listed = use.graph.types[arguments[0][2]]
    result = use.graph.type_index(types_pb2.Type(map=types_pb2.MapType(value=listed)))
    return cast("dict[str, list[T]]", use.record(f"group({name_of(key)})", control, arguments, result))


_MISSING: Any = object()


def reduce(combine: Callable[[T, T], T], xs: Iterable[T], /, initial: T = _MISSING) -> T:
    """All elements joined pairwise into one, as a tree that keeps their order. `combine` must be associative.

    An empty list gives `initial`; without one it fails.
    """
    use = construct("reduce")
    if use is None:
        return _plain_reduce(combine, list(xs), initial)
    _check_lists(use, [xs])
    check_callable(use, combine, 2, argument=0, what="what joins two elements", takes="two elements")
    if not _is_unknown(xs):
        values: list[T] = [*([] if initial is _MISSING else [initial]), *xs]
        if not values:
            raise use.wrong(
                "nothing to join",
                argument=1,
                expected="at least one element, or initial=…",
                found="an empty list",
                fix="give initial=…",
            )
        joined: T = _plain_reduce(combine, values, _MISSING)
        return joined
    whole: Any = xs
    if initial is not _MISSING:
        whole = _before(use, initial, xs)
    arguments, items = _list_arguments(use, [whole])
    body = open_body(
        use.captures,
        combine,
        items * 2,
        what=f"`{name_of(combine)}` in {use.words}",
        words=f"an element of {use.words}",
        site=use.at(0),
    )
    control = dag_pb2.Control(kind=dag_pb2.CONTROL_KIND_REDUCE, body=body.close(items[0]), lists=1)
    return cast(T, use.record(f"reduce({name_of(combine)})", control, arguments, items[0]))


def _before(use: Construct, initial: Any, xs: Any) -> Any:
    """The list with one more element at its beginning. Raises WrongType when it is not of the elements' type."""
    from mwfs.lifted import lift

    try:
        return lift(dag_pb2.FUNCTION_ADD, [initial], xs)
    except BadOperation:
        element = describe(use.graph.types[xs._type].list.item)
        raise WrongType(
            f"`initial` of {use.words} has another type than the elements",
            site=use.at("initial"),
            expected=element,
            found=describe(infer(use.graph, initial, use.at("initial"))),
            fix=f"give a value of type {element}",
        ) from None


def _plain_reduce(combine: Callable[[T, T], T], values: list[T], initial: T) -> T:
    level = values if initial is _MISSING else [initial, *values]
    if not level:
        raise ValueError("mwfs.reduce of an empty list; give initial=…")
    while len(level) > 1:
        pairs = [combine(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        level = pairs + ([level[-1]] if len(level) % 2 else [])
    return level[0]
