"""Again while a condition holds: `mwfs.repeat_while`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar, cast

from mwfs.errors import BadStructure
from mwfs.structure.control import check_callable, construct
from mwfs.structure.inference import infer
from mwfs.structure.scopes import name_of, open_body
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2

S = TypeVar("S")

#: More rounds than this are a mistake.
MAX_ROUNDS = 1_000_000


class LoopLimit(RuntimeError):
    """A loop has come to its limit, and its condition still holds."""


def repeat_while(
    condition: Callable[[S], bool],
    body: Callable[[S], S],
    state: S,
    *,
    limit: int,
    at_limit: Literal["fail", "stop"] = "fail",
) -> S:
    """`while condition(state): state = body(state)`, and then the state.

    The state is any value or structure; give its parts names with a NamedTuple. limit: most rounds; when the condition still holds after
    that many, the loop fails, or gives the state with at_limit="stop".
    """
    use = construct("repeat_while")
    wrong = isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_ROUNDS
    if wrong or at_limit not in ("fail", "stop"):
        name, found = ("limit", limit) if wrong else ("at_limit", at_limit)
        message = (
            "`limit` is how many rounds there may be" if wrong else "`at_limit` is what happens after the last round"
        )
        fix = "write `limit=100`" if wrong else 'write `at_limit="stop"`'
        expected = f"a whole number, from 1 to {MAX_ROUNDS:,}" if wrong else '"fail" or "stop"'
        if use is None:
            raise BadStructure(f"mwfs.repeat_while: {message}", expected=expected, found=repr(found), fix=fix)
        raise use.wrong(message, argument=name, expected=expected, found=repr(found), fix=fix)
    if use is None:
        return _plain(condition, body, state, limit, at_limit)
    check_callable(use, condition, 1, argument=0, what="the condition", takes="the state")
    check_callable(use, body, 1, argument=1, what="the body", takes="the state")
    graph = use.graph
    signature = getattr(body, "signature", None)
    kind = graph.type_index(signature.parameters[0].type if signature is not None else infer(graph, state, use.at(2)))
    words = f"the state of {use.words}"
    test = open_body(use.captures, condition, [kind], what=f"the condition of {use.words}", words=words, site=use.at(0))
    step = open_body(use.captures, body, [kind], what=f"the body of {use.words}", words=words, site=use.at(1))
    control = dag_pb2.Control(
        kind=dag_pb2.CONTROL_KIND_REPEAT,
        condition=test.close(graph.type_index(types_pb2.Type(scalar=types_pb2.SCALAR_KIND_BOOL))),
        body=step.close(kind),
        limit=limit,
        stop_at_limit=at_limit == "stop",
    )
    return cast(S, use.record(f"repeat_while({name_of(body)})", control, [("state", state, kind)], kind))


def _plain(
    condition: Callable[[S], bool], body: Callable[[S], S], state: S, limit: int, at_limit: Literal["fail", "stop"]
) -> S:
    rounds = 0
    current: Any = state
    while condition(current):
        if rounds == limit:
            if at_limit == "stop":
                break
            raise LoopLimit(f"the condition still holds after {limit} rounds")
        current = body(current)
        rounds += 1
    return cast(S, current)
