"""What to write instead of a future that is used as a value, read from the user's own expression: `mwfs.all_of(0 < x, x < 3)`."""

from __future__ import annotations

import ast
from collections.abc import Callable
from types import FrameType

from mwfs.locations import enclosing_nodes
from mwfs_api.types.v1 import types_pb2

#: Longer pieces of the user's source are not repeated.
_MAX_SHOWN = 60

_WHEN = "write `mwfs.when({}, lambda: …, lambda: …)`"
_LOOP = "write `mwfs.map(operator, …)`, or loop inside an operator that takes the future"
_OPERATOR = "compute it in an operator, and pass the future to it"


def instead_of_condition(frame: FrameType | None, kind: types_pb2.Type) -> str:
    """For a future of this type that was asked whether it is true."""
    said = _condition_words(frame, is_optional=kind.WhichOneof("kind") == "optional")
    if kind.WhichOneof("kind") == "optional":
        return f"{said}; `mwfs.is_none(…)` asks for None, `mwfs.coalesce(…, default)` replaces it"
    if kind.scalar != types_pb2.SCALAR_KIND_BOOL:
        return f"{said}; a condition is a bool, so compare, such as `… > 0`"
    return said


def _condition_words(frame: FrameType | None, *, is_optional: bool) -> str:
    nodes = enclosing_nodes(frame)
    joined = ""
    for inner, node in zip([None, *nodes], nodes, strict=False):
        match node:
            case ast.Call() if said := _called(node, _CONDITION_CALLS):
                return said if " " in said.partition("(")[0] else f"write `{said}`"
            case ast.Call() if _name(node) == "bool":
                return _WHEN.format(_condition(node.args[0] if node.args else None))
            case ast.IfExp() if inner in (None, node.test):
                then, otherwise = _shown(node.body), _shown(node.orelse)
                return f"write `mwfs.when({_condition(node.test)}, lambda: {then}, lambda: {otherwise})`"
            case ast.comprehension():
                test = next((one for one in node.ifs if one is inner), None)
                return f"write `mwfs.filter(lambda {_shown(node.target)}: {_condition(test)}, {_shown(node.iter)})`"
            case ast.If():
                return _WHEN.format(_condition(node.test))
            case ast.While():
                return "write `mwfs.repeat_while(lambda state: …, body, state, limit=…)`"
            case ast.Assert():
                return "check it inside an operator, which raises"
            case ast.Match():
                pattern = next(
                    (_shown(one.pattern.value) for one in node.cases if isinstance(one.pattern, ast.MatchValue)), "…"
                )
                return _WHEN.format(f"{_shown(node.subject)} == {pattern}") + ", for each case"
            case ast.BoolOp(op=ast.Or(), values=[value, default]) if is_optional:
                return f"write `mwfs.coalesce({_shown(value)}, {_shown(default)})`"
            case ast.expr() if not isinstance(node, ast.Lambda):
                joined = _joined(node) or joined
                if not joined and inner is not None:
                    break
            case ast.match_case(guard=ast.expr() as guard) if inner is guard:
                return _WHEN.format(_condition(guard))
            case ast.match_case() | ast.pattern():
                continue
            case _:
                break
    if joined:
        return f"write `{joined}`"
    return _WHEN.format("condition") + "; join conditions by `mwfs.all_of`, `mwfs.any_of` and `mwfs.not_`"


def _condition(node: ast.AST | None) -> str:
    return "…" if node is None else _joined(node) or _shown(node)


def _joined(node: ast.AST) -> str:
    """Conditions that Python joins by asking for their values, as futures are joined; empty for others."""
    match node:
        case ast.BoolOp():
            name = "all_of" if isinstance(node.op, ast.And) else "any_of"
            return f"mwfs.{name}({', '.join(_joined(value) or _shown(value) for value in node.values)})"
        case ast.UnaryOp(op=ast.Not()):
            return f"mwfs.not_({_joined(node.operand) or _shown(node.operand)})"
        case ast.Compare(ops=[ast.In() | ast.NotIn() as only]):
            found = f"mwfs.contains({_shown(node.comparators[0])}, {_shown(node.left)})"
            return found if isinstance(only, ast.In) else f"mwfs.not_({found})"
        case ast.Compare(ops=[_, _, *_]):
            sides = [node.left, *node.comparators]
            pairs = [
                ast.Compare(left=left, ops=[op], comparators=[right])
                for left, op, right in zip(sides, node.ops, sides[1:], strict=False)
            ]
            return f"mwfs.all_of({', '.join(map(_shown, pairs))})"
    return ""


def instead_of_iteration(frame: FrameType | None, kind: types_pb2.Type) -> str:
    """For a future that was iterated over."""
    for node in enclosing_nodes(frame):
        match node:
            case ast.List(elts=[*elements]) if any(isinstance(one, ast.Starred) for one in elements):
                return f"join lists by `+`: `{_added(elements)}`"
            case ast.Call() if any(isinstance(one, ast.Starred) for one in node.args):
                return "take the elements by their places: `xs[0], xs[1]`; or let the operator take one list"
            case ast.Tuple(ctx=ast.Store()) | ast.List(ctx=ast.Store()):
                names = [_shown(one) for one in node.elts]
                if any(isinstance(one, ast.Starred) for one in node.elts):
                    return "take them by their places: `xs[0], xs[1:]`"
                return f"take them by their places: `{', '.join(names)} = {', '.join(f'xs[{place}]' for place in range(len(names)))}`"
            case ast.ListComp() | ast.GeneratorExp() | ast.SetComp():
                return _mapped(node)
            case ast.DictComp():
                return _LOOP
            case ast.For():
                return f"write `mwfs.map(lambda {_shown(node.target)}: …, {_shown(node.iter)})`, or loop inside an operator"
            case ast.Call():
                said = _called(node, _ITERATION_CALLS)
                if said:
                    return said if " " in said.partition("(")[0] else f"write `{said}`"
            case ast.stmt():
                break
    return _LOOP


def _added(elements: list[ast.expr]) -> str:
    """`xs + [1]` for `[*xs, 1]`."""
    parts: list[ast.expr] = []
    for one in elements:
        if isinstance(one, ast.Starred):
            parts.append(one.value)
        elif parts and isinstance(parts[-1], ast.List):
            parts[-1] = ast.List(elts=[*parts[-1].elts, one], ctx=ast.Load())
        else:
            parts.append(ast.List(elts=[one], ctx=ast.Load()))
    return " + ".join(map(_shown, parts))


def _mapped(node: ast.ListComp | ast.GeneratorExp | ast.SetComp) -> str:
    if len(node.generators) > 1:
        return "write one `mwfs.map` inside another, and `mwfs.flatten`"
    (loop,) = node.generators
    target, over = _shown(loop.target), _shown(loop.iter)
    if loop.ifs:
        over = f"mwfs.filter(lambda {target}: {_condition(loop.ifs[0])}, {over})"
    match node.elt:
        case ast.Name(id=name) if name == target:
            return (
                f"write `{over}`"
                if loop.ifs
                else f"write `{over}` without the loop: a future of a list is passed on as it is"
            )
        case ast.Call(func=called, args=[ast.Name(id=name)], keywords=[]) if name == target:
            return f"write `mwfs.map({_shown(called)}, {over})`"
    return f"write `mwfs.map(lambda {target}: {_shown(node.elt)}, {over})`"


def instead_of_index(frame: FrameType | None, kind: types_pb2.Type) -> str:
    """For a future that was used as a whole number."""
    for node in enclosing_nodes(frame):
        match node:
            case ast.Subscript():
                return "choose inside an operator that takes the list and the place"
            case ast.Call() if _name(node) == "range":
                return "return the list of numbers from an operator, and write `mwfs.map(…)` over it"
            case ast.stmt():
                break
    return "count inside an operator that takes the future"


_CONDITION_CALLS: dict[str, Callable[[str], str]] = {
    "max": lambda given: f"mwfs.largest({given})",
    "min": lambda given: f"mwfs.smallest({given})",
    "any": lambda given: f"mwfs.any_of(*{given})",
    "all": lambda given: f"mwfs.all_of(*{given})",
    "filter": lambda given: f"mwfs.filter({given})",
    "sorted": lambda given: "sort inside an operator that takes the list",
    "sort": lambda given: "sort inside an operator that takes the list",
}
_ITERATION_CALLS: dict[str, Callable[[str], str]] = {
    "sum": lambda given: f"mwfs.total({given})",
    "max": lambda given: f"mwfs.largest({given})",
    "min": lambda given: f"mwfs.smallest({given})",
    "any": lambda given: f"mwfs.contains({given}, True)",
    "all": lambda given: f"mwfs.not_(mwfs.contains({given}, False))",
    "map": lambda given: f"mwfs.map({given})",
    "filter": lambda given: f"mwfs.filter({given})",
    "zip": lambda given: f"mwfs.map(…, mwfs.zipped({given}))",
    "product": lambda given: f"mwfs.map(…, mwfs.crossed({given}))",
    "list": lambda given: f"leave list() out: `{given}` is passed on as it is",
    "tuple": lambda given: f"leave tuple() out: `{given}` is passed on as it is",
    "iter": lambda given: f"take an element by its place: `{given}[0]`",
    "sorted": lambda given: "sort inside an operator that takes the list",
    "set": lambda given: "compute it in an operator that takes the list",
    "dict": lambda given: "compute it in an operator that takes the pairs",
    "enumerate": lambda given: "number them inside an operator that takes the list",
    "join": lambda given: "join them inside an operator that takes the list",
}


def _called(node: ast.AST, calls: dict[str, Callable[[str], str]]) -> str:
    """What to write in place of a call of a function of Python's; empty for others."""
    if not isinstance(node, ast.Call):
        return ""
    name = _name(node)
    if name in ("list", "tuple") and node.args and (said := _called(node.args[0], calls)):
        return said
    if name not in calls or any(keyword.arg in ("key", "default") for keyword in node.keywords):
        return ""
    given = ", ".join(map(_shown, node.args))
    if name in ("max", "min") and len(node.args) > 1:
        given = f"[{given}]"
    return calls[name](given)


def _name(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _shown(node: ast.AST | None) -> str:
    text = "…" if node is None else ast.unparse(node)
    return text if len(text) <= _MAX_SHOWN and "\n" not in text else "…"
