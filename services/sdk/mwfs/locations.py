"""Which line of the user's code is to blame: frames, source lines, columns."""

from __future__ import annotations

import ast
import linecache
import os
import sys
import sysconfig
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import CodeType, FrameType, TracebackType

from mwfs.errors import Site

_HERE = os.path.dirname(os.path.abspath(__file__))
_HERE_BELOW = _HERE + os.sep
_AS_USER_CODE = tuple(os.path.join(_HERE, name) + os.sep for name in ("examples", "bench"))
_OUR_PACKAGES = tuple(os.path.join(os.path.dirname(_HERE), name) + os.sep for name in ("mwfs_types", "mwfs_api"))
_PATHS = sysconfig.get_paths()
_LIBRARIES = tuple({os.path.realpath(_PATHS[key]) + os.sep for key in ("stdlib", "platstdlib", "purelib", "platlib")})
#: The compiler calls the workflow's body in a function of this name; frames above it are not the workflow's.
BOUNDARY = "run_workflow_body"


@lru_cache(maxsize=4096)
def is_ours(filename: str) -> bool:
    """Whether a file belongs to the SDK itself; examples and bench workflows read as user code."""
    if filename.startswith(_HERE_BELOW):
        return not filename.startswith(_AS_USER_CODE)
    return filename.startswith(_OUR_PACKAGES)


@lru_cache(maxsize=4096)
def is_library(filename: str) -> bool:
    """Whether a file came with Python or was installed, rather than written in the user's project."""
    if filename.startswith("<"):
        return filename == "<string>" or filename.startswith("<frozen")
    return "site-packages" in filename or os.path.realpath(filename).startswith(_LIBRARIES)


def user_frame(frame: FrameType | None) -> FrameType | None:
    """The innermost frame of the user's own code, from `frame` outwards and not beyond the workflow's body."""
    fallback: FrameType | None = None
    while frame is not None:
        filename = frame.f_code.co_filename
        if is_ours(filename):
            if frame.f_code.co_name == BOUNDARY:
                break
        elif not is_library(filename):
            return frame
        elif fallback is None:
            fallback = frame
        frame = frame.f_back
    return fallback


def calling_user_frame() -> FrameType | None:
    """The user's innermost frame that led to the caller of this function."""
    return user_frame(sys._getframe(1))


def shown_file(filename: str) -> str:
    """A file as its user would name it: relative to the working directory when below it."""
    if filename.startswith("<"):
        return filename
    try:
        relative = os.path.relpath(filename)
    except (ValueError, OSError):
        return filename
    return filename if relative.startswith("..") else relative


def recorded_file(filename: str) -> str:
    """A file as a Dag names it: like `shown_file`, else relative to the import path, so that no machine's folders leak."""
    shown = shown_file(filename)
    if not os.path.isabs(shown):
        return shown
    roots = [os.path.abspath(entry) + os.sep for entry in sys.path if entry]
    holding = [root for root in roots if filename.startswith(root)]
    return filename[len(max(holding, key=len)) :] if holding else filename


def source_line(filename: str, line: int) -> str:
    return linecache.getline(filename, line).rstrip("\n")


def site_at(filename: str, line: int, column: int = 0, end_column: int = 0) -> Site:
    """A site; without columns, the whole line is marked."""
    source = source_line(filename, line)
    if not end_column:
        column, end_column = len(source) - len(source.lstrip()), len(source.rstrip())
    return Site(file=shown_file(filename), line=line, source=source, column=column, end_column=end_column)


Position = tuple[int | None, int | None, int | None, int | None]


def _position(code: CodeType, instruction: int) -> Position:
    for index, position in enumerate(code.co_positions()):
        if index == instruction // 2:
            return position
    return None, None, None, None


def site_of_frame(frame: FrameType | None) -> Site | None:
    """Where a frame stands, with the columns of the expression that it evaluates."""
    return None if frame is None else _site_of(frame.f_code, frame.f_lasti, frame.f_lineno)


def _site_of(code: CodeType, instruction: int, line: int) -> Site:
    start, end, column, end_column = _position(code, instruction)
    if start != line or column is None or end_column is None:
        return site_at(code.co_filename, line)
    source = source_line(code.co_filename, line)
    first = _characters(source, column)
    last = _characters(source, end_column) if end == start else len(source)
    return site_at(code.co_filename, line, first, last)


def _characters(source: str, offset: int) -> int:
    """Columns of code objects count UTF-8 bytes; ours count characters."""
    return len(source.encode()[:offset].decode(errors="ignore"))


def site_of_argument(frame: FrameType | None, argument: int | str) -> Site | None:
    """The argument (by position or keyword) of the call that a frame is making; the call itself when it cannot be told."""
    if frame is None:
        return None
    node = argument_node(frame, argument)
    if node is None:
        return site_of_frame(frame)
    return site_of_node(frame.f_code.co_filename, node)


def argument_node(frame: FrameType | None, argument: int | str) -> ast.AST | None:
    """The source of an argument of the call that a frame is making; None when it cannot be told."""
    call = None if frame is None else _call_of(frame)
    if call is None:
        return None
    if isinstance(argument, str):
        return next((keyword for keyword in call.keywords if keyword.arg == argument), None)
    if argument < len(call.args) and not any(isinstance(arg, ast.Starred) for arg in call.args[: argument + 1]):
        return call.args[argument]
    return None


def site_of_node(filename: str, node: ast.AST) -> Site:
    """Where a piece of source stands; its first line, when there are several."""
    line, end_line = getattr(node, "lineno", 1), getattr(node, "end_lineno", 1)
    source = source_line(filename, line)
    first = _characters(source, getattr(node, "col_offset", 0))
    last = _characters(source, getattr(node, "end_col_offset", 0)) if end_line == line else len(source)
    return site_at(filename, line, first, last)


def _call_of(frame: FrameType) -> ast.Call | None:
    _, end_line, _, end_column = _position(frame.f_code, frame.f_lasti)
    if end_line is None:
        return None
    return _calls_by_end(frame.f_code.co_filename).get((end_line, end_column))


@lru_cache(maxsize=8)
def _calls_by_end(filename: str) -> dict[tuple[int | None, int | None], ast.Call]:
    # A call ends at its own closing parenthesis, so its end position is its identity.
    tree = _tree(filename)
    if tree is None:
        return {}
    return {(node.end_lineno, node.end_col_offset): node for node in ast.walk(tree) if isinstance(node, ast.Call)}


def enclosing_nodes(frame: FrameType | None) -> list[ast.AST]:
    """What a frame is evaluating, as source: the innermost expression or statement, then those around it. Empty when it cannot be told."""
    if frame is None:
        return []
    start, end, column, end_column = _position(frame.f_code, frame.f_lasti)
    nodes, parents = _nodes_by_place(frame.f_code.co_filename)
    node = nodes.get((start, end, column, end_column))
    found = []
    while node is not None:
        found.append(node)
        node = parents.get(node)
    return found


def definition_node(function: Callable[..., object]) -> ast.FunctionDef | None:
    """The source of a function; None when it cannot be told."""
    code = getattr(function, "__code__", None)
    if code is None:
        return None
    nodes, _ = _nodes_by_place(code.co_filename)
    for node in nodes.values():
        if isinstance(node, ast.FunctionDef) and node.name == code.co_name:
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            if first == code.co_firstlineno:
                return node
    return None


@lru_cache(maxsize=8)
def _nodes_by_place(filename: str) -> tuple[dict[Position, ast.AST], dict[ast.AST, ast.AST]]:
    """The innermost node at each place of a file, and the node around each."""
    nodes: dict[Position, ast.AST] = {}
    parents: dict[ast.AST, ast.AST] = {}
    tree = _tree(filename)
    for node in ast.walk(tree) if tree is not None else ():
        line = getattr(node, "lineno", None)
        if line is not None:
            nodes[
                line, getattr(node, "end_lineno", 0), getattr(node, "col_offset", 0), getattr(node, "end_col_offset", 0)
            ] = node
        for child in ast.iter_child_nodes(node):
            parents[child] = node
    return nodes, parents


def _tree(filename: str) -> ast.Module | None:
    try:
        return ast.parse("".join(linecache.getlines(filename)))
    except (SyntaxError, ValueError):
        return None


def site_of_definition(function: Callable[..., object]) -> Site | None:
    """The `def` line of a function (below its decorators)."""
    code = getattr(function, "__code__", None)
    if code is None:
        return None
    line = code.co_firstlineno
    for number in range(line, line + 50):
        if source_line(code.co_filename, number).lstrip().startswith(("def ", "async def ", "class ")):
            line = number
            break
    return site_at(code.co_filename, line)


def user_entries(traceback: TracebackType | None) -> Iterator[TracebackType]:
    """The entries of a traceback that are not ours, outermost first."""
    while traceback is not None:
        if not is_ours(traceback.tb_frame.f_code.co_filename):
            yield traceback
        traceback = traceback.tb_next


def site_of_error(error: BaseException) -> Site | None:
    """The innermost line of the user's own code in an error's traceback; a library's line when there is none."""
    entries = list(user_entries(error.__traceback__))
    own = [entry for entry in entries if not is_library(entry.tb_frame.f_code.co_filename)]
    if not entries:
        return None
    entry = (own or entries)[-1]
    return _site_of(entry.tb_frame.f_code, entry.tb_lasti, entry.tb_lineno)
