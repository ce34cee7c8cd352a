"""`future is None` and `case [a, b]` ask no future, so they cannot be refused when they happen: they are looked for in a workflow's source before its body runs.

Only what is surely a future is refused: the result of an operator or construct, and names that are never bound to anything else.
"""

from __future__ import annotations

import ast
import dis
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from types import CodeType
from typing import Any

import mwfs
from mwfs.errors import FutureAsValue
from mwfs.locations import definition_node, site_of_node

#: Functions of ours that always give futures when they are called in a workflow's body.
_CONSTRUCTS = ("map", "filter", "group", "reduce", "repeat_while", "race", "catch", "signal")
#: Instructions of `is`, and of patterns of elements.
_SILENT = frozenset(
    name
    for name in dis.opname
    if name in ("IS_OP", "MATCH_SEQUENCE", "MATCH_MAPPING") or name.endswith(("_NONE", "_NOT_NONE"))
)


def check_source(function: Callable[..., Any]) -> None:
    """Raises FutureAsValue at the first future that is compared by `is`, or matched by a sequence or mapping pattern."""
    code = getattr(function, "__code__", None)
    if code is None or not _needs_a_look(code):
        return
    definition = definition_node(function)
    if definition is None:
        return
    futures = _Futures(definition, function)
    for node in ast.walk(definition):
        match node:
            case ast.Compare(left=left, ops=[ast.Is() | ast.IsNot() as operation], comparators=[right]):
                for side, other in ((left, right), (right, left)):
                    if futures.surely(side):
                        raise FutureAsValue(
                            "a future was compared by `is`, which asks for the object and not for its value",
                            site=site_of_node(code.co_filename, node),
                            expected="a value",
                            found=f"the future `{ast.unparse(side)}`",
                            fix=f"write `{_instead(side, other, is_negated=isinstance(operation, ast.IsNot))}`",
                        )
            case ast.Match(subject=subject, cases=cases) if futures.surely(subject):
                for one in cases:
                    if isinstance(one.pattern, (ast.MatchSequence, ast.MatchMapping)):
                        raise FutureAsValue(
                            "a future was matched by a pattern of its elements, but it has none until the run",
                            site=site_of_node(code.co_filename, one.pattern),
                            expected="a value",
                            found=f"the future `{ast.unparse(subject)}`",
                            fix="unpack a tuple by `a, b = …`; take elements by their places and keys; decide by `mwfs.when`",
                        )


@lru_cache(maxsize=4096)
def _needs_a_look(code: CodeType) -> bool:
    return any(one.opname in _SILENT for one in dis.get_instructions(code)) or any(
        _needs_a_look(inner) for inner in code.co_consts if isinstance(inner, CodeType)
    )


def _instead(side: ast.expr, other: ast.expr, *, is_negated: bool) -> str:
    shown = ast.unparse(side)
    if isinstance(other, ast.Constant) and other.value is None:
        return f"mwfs.not_(mwfs.is_none({shown}))" if is_negated else f"mwfs.is_none({shown})"
    return f"{shown} {'!=' if is_negated else '=='} {ast.unparse(other)}"


class _Futures:
    """Which expressions of one function are surely futures."""

    def __init__(self, definition: ast.AST, function: Callable[..., Any]) -> None:
        self._known = {**getattr(function, "__globals__", {}), **_closure(function)}
        #: Name → what it is bound to, None for what is no plain assignment.
        self._bound: dict[str, list[ast.expr | None]] = {}
        for node in ast.walk(definition):
            for name, value in _bindings(node):
                self._bound.setdefault(name, []).append(value)

    def surely(self, node: ast.expr, depth: int = 0) -> bool:
        if depth > 20:
            return False
        match node:
            case ast.Call():
                return self._gives_future(node.func) or (
                    isinstance(node.func, ast.Attribute) and self.surely(node.func.value, depth + 1)
                )
            case ast.Attribute(value=inner) | ast.Subscript(value=inner):
                return self.surely(inner, depth + 1)
            case ast.BinOp():
                return self.surely(node.left, depth + 1) or self.surely(node.right, depth + 1)
            case ast.Name(id=name):
                values = self._bound.get(name, [])
                return bool(values) and all(one is not None and self.surely(one, depth + 1) for one in values)
        return False

    def _gives_future(self, called: ast.expr) -> bool:
        found = self._resolve(called)
        return isinstance(found, mwfs.Operator) or (
            found is not None and any(found is getattr(mwfs, name) for name in _CONSTRUCTS)
        )

    def _resolve(self, node: ast.expr) -> object:
        match node:
            case ast.Name(id=name) if name not in self._bound:
                return self._known.get(name)
            case ast.Attribute():
                outer = self._resolve(node.value)
                return None if outer is None else getattr(outer, node.attr, None)
        return None


def _closure(function: Callable[..., Any]) -> dict[str, object]:
    names = function.__code__.co_freevars
    found = {}
    for name, cell in zip(names, getattr(function, "__closure__", None) or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not bound yet
            continue
    return found


def _bindings(node: ast.AST) -> Iterator[tuple[str, ast.expr | None]]:
    """The names that a piece of code binds, each with its value when that is a plain assignment."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            yield name, value
        case (
            ast.AnnAssign(target=ast.Name(id=name), value=value) | ast.NamedExpr(target=ast.Name(id=name), value=value)
        ):
            yield name, value
        case ast.Assign(targets=targets):
            yield from _unknown(targets)
        case ast.AugAssign(target=target) | ast.For(target=target) | ast.comprehension(target=target):
            yield from _unknown([target])
        case ast.withitem(optional_vars=ast.expr() as target):
            yield from _unknown([target])
        case ast.arg(arg=name) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield name, None
        case ast.ExceptHandler(name=str(name)) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            yield name, None
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            for one in names:
                yield (one.asname or one.name.partition(".")[0]), None


def _unknown(targets: Iterable[ast.expr]) -> Iterator[tuple[str, None]]:
    for target in targets:
        for node in ast.walk(target):
            if isinstance(node, ast.Name):
                yield node.id, None
