"""One of two ways: `mwfs.when`."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any, TypeVar, overload

from mwfs.errors import WrongType
from mwfs.futures import Future
from mwfs.graph import OUTPUT
from mwfs.lifted import select
from mwfs.locations import argument_node
from mwfs.structure.control import Construct, check_callable, construct
from mwfs.structure.inference import join, settled
from mwfs.structure.scopes import OpenBody, name_of, open_body
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.dag_functions import BadOperands
from mwfs_types.rendering import describe

T = TypeVar("T")
U = TypeVar("U")


@overload
def when(condition: bool, then: Callable[[], T], otherwise: Callable[[], U]) -> T | U: ...


@overload
def when(condition: bool, then: Callable[[], T], otherwise: U) -> T | U: ...


@overload
def when(condition: bool, then: T, otherwise: Callable[[], U]) -> T | U: ...


@overload
def when(condition: bool, then: T, otherwise: U) -> T | U: ...


def when(condition: bool, then: Any, otherwise: Any) -> Any:
    """What `then` gives when the condition holds, else what `otherwise` gives; only that one runs.

    Each is a lambda, an operator or a workflow without parameters, or a value that is there anyway.
    """
    if not isinstance(condition, Future):
        chosen = then if condition else otherwise
        return chosen() if _is_call(chosen) else chosen
    use = construct("when")
    if use is None:
        return select(condition, then, otherwise)  # names the mistake: a future outside of its workflow
    _check_condition(use, condition)
    for argument, branch in ((1, then), (2, otherwise)):
        _refuse_eager(use, branch, argument)
    if not _is_call(then) and not _is_call(otherwise):
        return select(condition, then, otherwise)
    bodies: list[OpenBody] = []
    for argument, name, branch in ((1, "then", then), (2, "otherwise", otherwise)):
        if _is_call(branch):
            check_callable(use, branch, 0, argument=argument, what=f"`{name}`", takes="no values")
        bodies.append(
            open_body(
                use.captures,
                branch if _is_call(branch) else _giving(branch),
                what=f"`{name}` of {use.words}",
                words="",
                site=use.at(argument),
            )
        )
    result = use.graph.type_index(joined(use, bodies, ("`then`", "`otherwise`")))
    control = dag_pb2.Control(
        kind=dag_pb2.CONTROL_KIND_WHEN, body=bodies[0].close(result), otherwise=bodies[1].close(result)
    )
    boolean = use.graph.type_index(types_pb2.Type(scalar=types_pb2.SCALAR_KIND_BOOL))
    names = [name_of(branch) if _is_call(branch) else "value" for branch in (then, otherwise)]
    return use.record(f"when({', '.join(names)})", control, [("condition", condition, boolean)], result)


def _is_call(branch: Any) -> bool:
    return not isinstance(branch, Future) and callable(branch)


def _giving(value: T) -> Callable[[], T]:
    def give() -> T:
        return value

    give.__name__ = "value"
    return give


def _check_condition(use: Construct, condition: Future) -> None:
    kind = condition._graph.types[condition._type]
    if kind.scalar != types_pb2.SCALAR_KIND_BOOL:
        raise use.wrong(
            "the condition is not a bool",
            argument=0,
            expected="bool",
            found=condition._graph.describe_future(condition),
            fix="compare it: `mwfs.when(score > 0.9, …)`",
        )


def _refuse_eager(use: Construct, branch: Any, argument: int) -> None:
    """A call written as the argument itself has run before the condition is known, which nobody means."""
    if not isinstance(branch, Future) or branch._kind not in (0, OUTPUT):
        return
    if isinstance(argument_node(use.frame, argument), ast.Call):
        raise use.wrong(
            "this branch runs whatever the condition says",
            argument=argument,
            expected="something to call when the branch is taken",
            found=use.graph.describe_future(branch) if branch._graph is use.graph else "a future",
            fix="write `lambda:` before it",
        )


def joined(use: Construct, bodies: list[OpenBody], names: tuple[str, ...]) -> types_pb2.Type:
    """The type that the results of all bodies have. Raises WrongType."""
    result = bodies[0].type
    for body, name in zip(bodies[1:], names[1:], strict=True):
        try:
            result = join(result, body.type)
        except BadOperands:
            raise WrongType(
                f"{names[0]} and {name} of {use.words} give different types",
                site=use.site,
                expected=describe(result),
                found=describe(body.type),
                fix="let both give one type",
            ) from None
    return settled(result, use.site)
