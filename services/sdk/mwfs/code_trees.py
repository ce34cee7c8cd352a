"""The project's source as syntax trees without what changes no result: which tree a function or class is, and what binds a name in a module."""

from __future__ import annotations

import ast
import functools
import hashlib
import linecache
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import TypeAlias

Definition: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda


def digest(*texts: str) -> str:
    """One digest of several texts: "sha256:…"."""
    found = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        found.update(len(data).to_bytes(8, "big"))
        found.update(data)
    return f"sha256:{found.hexdigest()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file of the project."""

    tree: ast.Module
    #: By the first line that belongs to it, decorators included.
    by_line: dict[int, list[Definition]]
    #: By qualname, without `<locals>`.
    by_name: dict[str, list[Definition]]

    def of_code(self, code: CodeType) -> list[ast.AST]:
        """The definition of a code object. Of lambdas on one line that cannot be told apart, all."""
        there = [one for one in self.by_line.get(code.co_firstlineno, ()) if _name_of(one) == code.co_name]
        if code.co_name == "<lambda>":
            return list(_holding(there, code)) or list(there)
        return list(there) or self.of_name(code.co_qualname)

    def of_name(self, qualname: str) -> list[ast.AST]:
        """Every definition of this name: an `if` may choose between several."""
        return list(self.by_name.get(qualname.replace(".<locals>", ""), ()))

    def binding(self, name: str) -> list[ast.stmt]:
        """The statements of the module that give a name its value, or change what it names: `NAME = …`, `NAME["a"] = …`, `@NAME.register`."""
        return [one for one in _statements(self.tree.body) if name in _bound(one)]

    def starred(self) -> list[ast.ImportFrom]:
        """`from … import *`: names that nothing here shows may come from them."""
        return [
            one
            for one in _statements(self.tree.body)
            if isinstance(one, ast.ImportFrom) and any(alias.name == "*" for alias in one.names)
        ]


def source_of(filename: str) -> Source | None:
    """The source of a file as it is now; None when there is none to read."""
    linecache.checkcache(filename)
    text = "".join(linecache.getlines(filename))
    return _read(text) if text else None


def text_of(trees: Sequence[ast.AST]) -> str:
    """Equal for code that does the same but for its formatting."""
    try:
        return "\n".join(ast.dump(tree) for tree in trees)
    except RecursionError:  # an expression of many hundred parts: its text, then
        return "\n".join(_unparsed(tree) for tree in trees)


def bytecode(code: CodeType) -> str:
    """What code without source does."""
    constants = [bytecode(one) if isinstance(one, CodeType) else repr(one) for one in code.co_consts]
    return repr((code.co_code, code.co_names, code.co_varnames, code.co_freevars, constants))


def names_in(code: CodeType) -> list[str]:
    """Globals and closure variables that code may read, sorted."""
    names = {*code.co_names, *code.co_freevars}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names.update(names_in(constant))
    return sorted(names)


def root_of(node: ast.AST) -> str:
    """`NAME` of `NAME`, `NAME.x`, `NAME[0].x`, `NAME.x(…)`; empty for anything else."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Starred, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


@functools.lru_cache(maxsize=256)
def _read(text: str) -> Source | None:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    by_line: dict[int, list[Definition]] = {}
    by_name: dict[str, list[Definition]] = {}
    waiting: list[tuple[ast.AST, str]] = [(tree, "")]
    while waiting:
        node, prefix = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])
            by_line.setdefault(first, []).append(node)
            if not isinstance(node, ast.Lambda):
                by_name.setdefault(f"{prefix}{node.name}", []).append(node)
                prefix = f"{prefix}{node.name}."
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            node.body = _without_docstring(node.body)
            node.decorator_list = [one for one in node.decorator_list if not _is_ours(one)]
        waiting.extend((child, prefix) for child in ast.iter_child_nodes(node))
    tree.body = _without_docstring(tree.body)
    return Source(tree=tree, by_line=by_line, by_name=by_name)


def _name_of(node: Definition) -> str:
    return "<lambda>" if isinstance(node, ast.Lambda) else node.name


def _holding(lambdas: Sequence[ast.AST], code: CodeType) -> Iterator[ast.AST]:
    """The lambdas whose body is where the code says that it is."""
    places = [
        (line, column, end_line, end_column)
        for line, end_line, column, end_column in code.co_positions()
        if None not in (line, column, end_line, end_column) and (line, column) != (line, end_column)
    ]
    if not places:
        return
    first = min((line or 0, column or 0) for line, column, _, _ in places)
    last = max((line or 0, column or 0) for _, _, line, column in places)
    for one in lambdas:
        assert isinstance(one, ast.Lambda)
        body = one.body
        if (body.lineno, body.col_offset) <= first and last <= (body.end_lineno or 0, body.end_col_offset or 0):
            yield one


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when the module is imported: what is in `if`, `try`, `with` and loops as well."""
    for one in body:
        yield one
        if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        for part in ("body", "orelse", "finalbody"):
            yield from _statements(getattr(one, part, ()))
        for handler in getattr(one, "handlers", ()):
            yield from _statements(handler.body)


def _bound(statement: ast.stmt) -> set[str]:
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return {statement.name, *map(root_of, statement.decorator_list)}
        case ast.Import():
            return {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
        case ast.ImportFrom():
            return {alias.asname or alias.name for alias in statement.names}
        case ast.Assign():
            targets: list[ast.expr] = statement.targets
        case ast.AnnAssign() | ast.AugAssign() | ast.For():
            targets = [statement.target]
        case ast.With():
            targets = [one.optional_vars for one in statement.items if one.optional_vars is not None]
        case ast.Expr():
            return {root_of(statement.value)} if isinstance(statement.value, ast.Call) else set()
        case _:
            return set()
    flat: list[ast.expr] = []
    while targets:
        target = targets[-1]
        targets = targets[:-1]
        if isinstance(target, (ast.Tuple, ast.List)):
            targets = [*targets, *target.elts]
        else:
            flat.append(target)
    return set(map(root_of, flat))


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return body[1:] or [ast.Pass()]
    return body


_DECORATORS = frozenset(("operator", "workflow", "dynamic"))


def _is_ours(decorator: ast.expr) -> bool:
    """`@mwfs.operator(…)`: what its options say is in the operator's row, not in its code."""
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return (isinstance(called, ast.Attribute) and called.attr in _DECORATORS) or (
        isinstance(called, ast.Name) and called.id in _DECORATORS
    )


def _unparsed(tree: ast.AST) -> str:
    """Every node's kind and plain fields, without recursion."""
    return "\n".join(
        repr((type(node).__name__, [(name, value) for name, value in ast.iter_fields(node) if _plain(value)]))
        for node in ast.walk(tree)
    )


def _plain(value: object) -> bool:
    return value is None or isinstance(value, (bool, int, float, complex, str, bytes))


__all__ = ["Source", "bytecode", "digest", "names_in", "root_of", "source_of", "text_of"]
