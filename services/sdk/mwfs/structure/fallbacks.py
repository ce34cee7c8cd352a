"""Errors as values, and cleanup that always runs: `mwfs.catch` and `mwfs.with_cleanup`."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any, TypeVar, overload

from mwfs.errors import BadStructure
from mwfs.futures import Future
from mwfs.structure.branches import joined
from mwfs.structure.control import Construct, accepted, check_callable, construct
from mwfs.structure.failure import Failure
from mwfs.structure.inference import settled
from mwfs.structure.scopes import name_of, open_body
from mwfs_api.dags.v1 import dag_pb2
from mwfs_types.annotations import type_of

T = TypeVar("T")
U = TypeVar("U")


@overload
def catch(body: Callable[[], T], /, *errors: type[BaseException]) -> T | None: ...


@overload
def catch(body: Callable[[], T], /, *errors: type[BaseException], fallback: Callable[[Failure], U]) -> T | U: ...


@overload
def catch(body: Callable[[], T], /, *errors: type[BaseException], fallback: Callable[[], U]) -> T | U: ...


@overload
def catch(body: Callable[[], T], /, *errors: type[BaseException], fallback: U) -> T | U: ...


def catch(body: Callable[[], Any], /, *errors: type[BaseException], fallback: Any = None) -> Any:
    """What `body` gives; when anything in it fails with one of these errors (none given: any), what the fallback gives.

    The fallback is a value, or something to call, with the `mwfs.Failure` or with nothing.
    """
    use = construct("catch")
    for error in errors:
        if not (isinstance(error, type) and issubclass(error, BaseException)):
            fix = "name exception classes: `mwfs.catch(lambda: …, ValueError, fallback=…)`"
            if use is None:
                raise BadStructure("mwfs.catch takes classes of errors", found=repr(error), fix=fix)
            raise use.wrong(
                "what is caught is not a class of errors",
                expected="an exception class such as ValueError",
                found=type(error).__qualname__,
                fix=fix,
            )
    if use is None:
        return _plain(body, errors, fallback)
    check_callable(use, body, 0, argument=0, what="what is tried", takes="no values")
    tried = open_body(use.captures, body, what=f"the body of {use.words}", words="", site=use.at(0))
    call, parameters = _fallback(use, fallback)
    other = open_body(
        use.captures,
        call,
        parameters,
        what=f"the fallback of {use.words}",
        words=f"the failure of {use.words}",
        site=use.site,
    )
    result = use.graph.type_index(joined(use, [tried, other], ("the body", "the fallback")))
    control = dag_pb2.Control(
        kind=dag_pb2.CONTROL_KIND_TRY,
        body=tried.close(result),
        otherwise=other.close(result),
        errors=[f"{error.__module__}.{error.__qualname__}" for error in errors],
    )
    return use.record(f"catch({name_of(body)})", control, [], result)


def _fallback(use: Construct, fallback: Any) -> tuple[Callable[..., Any], list[int]]:
    kind = use.graph.type_index(type_of(Failure))

    def give(failure: Any) -> Any:
        return fallback

    if isinstance(fallback, Future) or not callable(fallback):
        give.__name__ = "value"
        return give, [kind]
    bounds = accepted(fallback)
    if bounds is not None and bounds[0] == 0:

        def call(failure: Any) -> Any:
            return fallback()

        call.__name__ = name_of(fallback)
        return call, [kind]
    check_callable(use, fallback, 1, argument="fallback", what="the fallback", takes="the failure")
    return fallback, [kind]


def _plain(body: Callable[[], Any], errors: tuple[type[BaseException], ...], fallback: Any) -> Any:
    caught = errors or (Exception,)
    try:
        return body()
    except caught as error:
        if not callable(fallback):
            return fallback
        bounds = accepted(fallback)
        if bounds is not None and bounds[0] == 0:
            return fallback()
        entries = traceback.extract_tb(error.__traceback__)
        cls = type(error)
        return fallback(
            Failure(
                error_type=cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}",
                message=str(error),
                file=entries[-1].filename if entries else "",
                line=(entries[-1].lineno or 0) if entries else 0,
                traceback="".join(traceback.format_exception(error)),
            )
        )


def with_cleanup(body: Callable[[], T], cleanup: Callable[[], object]) -> T:
    """What `body` gives, after `cleanup` has run, which it does once the body has begun, whether that succeeds, fails or is cancelled.

    When a race that others have won, a failure elsewhere or the cancel of the run cuts the body short, the cleanup runs after all of the body has
    ended, inner cleanups before outer ones. Those of a cancelled run have ten minutes; `mwfs runs cancel RUN` a second time skips them. In
    `run_local` they run after Ctrl-C, too.
    """
    use = construct("with_cleanup")
    if use is None:
        try:
            return body()
        finally:
            cleanup()
    check_callable(use, body, 0, argument=0, what="the body", takes="no values")
    check_callable(use, cleanup, 0, argument=1, what="the cleanup", takes="no values")
    tried = open_body(use.captures, body, what=f"the body of {use.words}", words="", site=use.at(0))
    after = open_body(use.captures, cleanup, what=f"the cleanup of {use.words}", words="", site=use.at(1))
    graph = use.graph
    result = graph.type_index(settled(tried.type, use.site))
    control = dag_pb2.Control(
        kind=dag_pb2.CONTROL_KIND_TRY,
        body=tried.close(result),
        cleanup=after.close(graph.type_index(settled(after.type, use.site))),
    )
    recorded: Any = use.record(f"with_cleanup({name_of(body)})", control, [], result)
    return recorded  # type: ignore[no-any-return]
