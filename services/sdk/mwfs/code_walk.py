"""Follows names from one function through the project's code, and collects what it reaches."""

from __future__ import annotations

import ast
import builtins
import functools
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from mwfs.code_trees import Source, bytecode, digest, names_in, source_of, text_of
from mwfs.code_values import Described
from mwfs.locations import is_library, is_ours, recorded_file

#: Globals that every module has, and that differ between machines.
_OF_EVERY_MODULE = frozenset(
    (
        "__builtins__",
        "__cached__",
        "__doc__",
        "__file__",
        "__loader__",
        "__name__",
        "__package__",
        "__path__",
        "__spec__",
    )
)
_OURS = frozenset(("builtins", "__main__", "mwfs", "mwfs_types", "mwfs_api"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One piece of code, or one value, that an operator reaches."""

    #: `module:qualname`, `module:NAME` for a global, or `module` when all of it counts.
    name: str
    file: str
    line: int
    digest: str


class Walk:
    """Cycles end because each object, and each name of a module, is visited once."""

    def __init__(self) -> None:
        self.parts: dict[str, Part] = {}
        self.libraries: set[str] = set()
        #: Kept, so that no other object gets the id of one that was visited.
        self._seen: dict[int, Any] = {}
        self._read: set[tuple[str, str]] = set()

    def reach(self, found: Any) -> None:
        """Adds what an object is made of."""
        waiting = [found]
        while waiting:
            waiting.extend(self._visit(waiting.pop()))

    def _visit(self, found: Any) -> Iterator[Any]:
        if id(found) in self._seen:
            return
        self._seen[id(found)] = found
        if isinstance(found, FunctionType):
            yield from self._function(found)
        elif isinstance(found, type):
            yield from self._class(found)
        elif isinstance(found, ModuleType):
            if is_project(getattr(found, "__file__", None)):
                self._whole_module(found.__name__)
            else:
                self._library(found.__name__)
        elif isinstance(found, BuiltinFunctionType):
            self._library(found.__module__ or "")
        else:
            layers = list(_layers(found))
            yield from layers
            if not layers:
                module = getattr(found, "__module__", None) or type(found).__module__
                self._library(module if isinstance(module, str) else "")

    def _function(self, found: FunctionType) -> Iterator[Any]:
        code = found.__code__
        if hasattr(found, "__wrapped__"):
            yield found.__wrapped__
        # What `functools.singledispatch` chooses from.
        yield from dict(getattr(found, "registry", None) or {}).values()
        module = found.__globals__.get("__name__") or found.__module__ or ""
        if not is_project(code.co_filename):
            self._library(module)
            # A library's wrapper, such as that of `contextmanager`, holds the project's function.
            yield from (cell for cell in _cells(found).values() if callable(cell))
            return
        source = source_of(code.co_filename)
        trees = source.of_code(code) if source is not None else []
        self._add(
            f"{_imported_as(module)}:{code.co_qualname}",
            code.co_filename,
            code.co_firstlineno,
            text_of(trees) if trees else bytecode(code),
        )
        space = dict(found.__globals__) | _cells(found)
        for default in (*(found.__defaults__ or ()), *(found.__kwdefaults__ or {}).values()):
            if callable(default):
                yield default
        if trees:
            for tree in trees:
                yield from self._tree(tree, space, module)
            return
        for name in names_in(code):
            if name in space:
                yield from self._value(module, name, space[name])

    def _class(self, found: type) -> Iterator[Any]:
        file = getattr(sys.modules.get(found.__module__), "__file__", None)
        if not is_project(file):
            self._library(found.__module__)
            return
        source = source_of(str(file))
        trees = source.of_name(found.__qualname__) if source is not None else []
        module = found.__module__
        name = f"{_imported_as(module)}:{found.__qualname__}"
        yield from found.__bases__
        members = [member for member in vars(found).values() if _is_code(member)]
        if not trees:
            # Made by a call, such as `namedtuple(…)`: its fields are all there is.
            shown = repr(sorted(one for one in vars(found) if not one.startswith("__")))
            self._add(name, str(file), 0, shown)
            yield from members
            return
        self._add(name, str(file), getattr(trees[0], "lineno", 0), text_of(trees))
        # Members made elsewhere, as by a decorator of the class; the source of the others is in the tree of the class.
        for member in members:
            for layer in (member, *_layers(member)):
                if isinstance(layer, FunctionType) and is_project(layer.__code__.co_filename):
                    if layer.__code__.co_qualname.startswith(f"{found.__qualname__}."):
                        yield from self._captured(layer, module)
                    else:
                        yield layer
        for tree in trees:
            yield from self._tree(tree, vars(sys.modules[module]), module)

    def _captured(self, function: FunctionType, module: str) -> Iterator[Any]:
        """What a method takes from a function around its class."""
        for name, value in _cells(function).items():
            if name != "__class__":
                yield from self._value(module, name, value)

    def _tree(self, tree: ast.AST, space: Mapping[str, Any], module: str) -> Iterator[Any]:
        """What a piece of code names: values of `space`, and what it imports itself."""
        local: dict[str, tuple[str, str | None]] = {}
        led: set[int] = set()
        for node in _walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.partition(".")[0]
                    local[alias.asname or top] = (alias.name if alias.asname else top, None)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    local[alias.asname or alias.name] = (_absolute(node, space.get("__package__")), alias.name)
        for node in _walk(tree):
            if isinstance(node, ast.Attribute) and id(node) not in led:
                led.update(map(id, ast.walk(node.value)))
                base, names = _chain(node)
                if base is None:
                    led.difference_update(map(id, ast.walk(node.value)))
                elif base.id in local:
                    self._static_chain(*local[base.id], names)
                elif isinstance(space.get(base.id), ModuleType):
                    yield from self._attributes(space[base.id], names)
                else:
                    led.discard(id(base))
                    yield from self._attributes(space.get(base.id), names)
        for node in _walk(tree):
            if not isinstance(node, ast.Name) or id(node) in led:
                continue
            if node.id in local:
                self._static(*local[node.id])
            elif node.id in space and node.id not in _OF_EVERY_MODULE:
                yield from self._value(module, node.id, space[node.id])

    def _attributes(self, owner: Any, names: list[str]) -> Iterator[Any]:
        """`features.scale`, `Config.depth`: attributes of modules and classes, at any depth."""
        for name in names:
            if not isinstance(owner, (ModuleType, type)):
                return
            value = inspect.getattr_static(owner, name, _ABSENT)
            if value is _ABSENT:
                # A module may make its names when they are asked for.
                value = sys.modules.get(f"{owner.__name__}.{name}", _ABSENT)
                if value is _ABSENT:
                    return
            if isinstance(value, ModuleType):
                owner = value
                continue
            if isinstance(owner, ModuleType):
                yield from self._value(owner.__name__, name, value)
            else:
                yield owner
                yield from self._value(owner.__module__, f"{owner.__qualname__}.{name}", value)
            owner = value
        if isinstance(owner, ModuleType):
            yield owner

    def _value(self, module: str, name: str, value: Any) -> Iterator[Any]:
        """What a name holds: code is followed; of anything else the value counts, or when that cannot be read, how it was made."""
        if isinstance(value, (FunctionType, type, ModuleType, BuiltinFunctionType)):
            yield value
            return
        layers = list(_layers(value))
        yield from layers
        file = getattr(sys.modules.get(module), "__file__", None)
        if not is_project(file):
            if not layers:
                self._library(type(value).__module__)
            return
        if layers and _is_ours(value):
            return
        described = Described(
            value, lambda kind: is_project(getattr(sys.modules.get(kind.__module__), "__file__", None))
        )
        yield from described.code
        self._add(f"{_imported_as(module)}:{name}", str(file), 0, described.text)
        if described.opaque:
            self._library(type(value).__module__)
            if "." not in name:
                self._static(module, name)

    # Without importing: what an import inside a function will bring, and how a value was made.

    def _static(self, module: str, name: str | None) -> None:
        """Follows a name of a module by its text alone: the same whether or not the module happens to be loaded."""
        waiting: list[tuple[str, str | None]] = [(module, name)]
        while waiting:
            target, wanted = waiting.pop()
            file = _file_of_module(target)
            if file is None or not is_project(file):
                if target:
                    self._library(target)
                continue
            if wanted is None:
                waiting.extend(self._module_text(target, file))
            elif (target, wanted) not in self._read:
                self._read.add((target, wanted))
                waiting.extend(self._binding(target, wanted, file))

    def _static_chain(self, module: str, name: str | None, names: list[str]) -> None:
        """`features.scale` after `import features`: one name of a module, or when that cannot be told, all of it."""
        while name is None and names:
            inner = f"{module}.{names[0]}"
            if _file_of_module(inner) is None:
                name = names[0]
            else:
                module = inner
            names = names[1:]
        self._static(module, name)

    def _whole_module(self, module: str) -> None:
        """A module that is used as a value, as by `getattr(losses, name)`: any of it may be meant."""
        self._static(module, None)

    def _module_text(self, module: str, file: str) -> Iterator[tuple[str, str | None]]:
        if (module, "") in self._read:
            return
        self._read.add((module, ""))
        source = source_of(file)
        if source is None:
            return
        self._add(module, file, 1, text_of([source.tree]))
        for node in _walk(source.tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name, None) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                target = _absolute(node, _package_of(module, file))
                yield from ((target, None if alias.name == "*" else alias.name) for alias in node.names)

    def _binding(self, module: str, name: str, file: str) -> Iterator[tuple[str, str | None]]:
        source = source_of(file)
        if source is None:
            return
        submodule = f"{module}.{name}"
        statements = source.binding(name)
        if not statements:
            if _file_of_module(submodule) is not None:
                yield submodule, None
            else:  # from `import *`, or made when it is asked for
                yield module, None
            return
        package = _package_of(module, file)
        own = [one for one in statements if not isinstance(one, (ast.Import, ast.ImportFrom))]
        if own:
            self._add(f"{module}:{name}", file, own[0].lineno, text_of(own))
        for one in statements:
            for node in _walk(one):
                if isinstance(node, ast.Import):
                    yield from (
                        (alias.name, None) for alias in node.names if name in _as_bound(alias) or one is not node
                    )
                elif isinstance(node, ast.ImportFrom):
                    for alias in node.names:
                        if name in _as_bound(alias) or one is not node:
                            yield _absolute(node, package), None if alias.name == "*" else alias.name
                elif isinstance(node, ast.Name) and node.id != name and (module, node.id) not in self._read:
                    yield from self._named(source, module, package, node.id)

    def _named(self, source: Source, module: str, package: str, name: str) -> Iterator[tuple[str, str | None]]:
        """A name in the code of another one; those that are no globals lead nowhere."""
        if source.binding(name):
            yield module, name
        elif not hasattr(builtins, name) and source.starred():
            yield from ((_absolute(one, package), None) for one in source.starred())

    def _add(self, name: str, file: str, line: int, text: str) -> None:
        found = digest(text)
        free, number = name, 1
        while free in self.parts and self.parts[free].digest != found:
            number += 1
            free = f"{name} ({number})"
        self.parts.setdefault(free, Part(name=free, file=recorded_file(file), line=line, digest=found))

    def _library(self, module: str) -> None:
        top = module.partition(".")[0]
        if top and top not in _OURS and top not in sys.stdlib_module_names and not is_project(_file_of_module(top)):
            self.libraries.add(top)


_ABSENT: Any = object()


def unwrapped(found: Any) -> Any:
    """The innermost function behind operators, workflows, decorators, methods and partials."""
    for _ in range(32):
        inner = next(iter(_layers(found)), None) if not isinstance(found, (FunctionType, type)) else None
        if isinstance(found, FunctionType):
            inner = getattr(found, "__wrapped__", None)
        if inner is None:
            return found
        found = inner
    return found


def _layers(found: Any) -> Iterator[Any]:
    """The code that an object hands its calls to."""
    if isinstance(found, functools.partial):
        yield from (one for one in (found.func, *found.args, *found.keywords.values()) if callable(one))
    elif isinstance(found, (staticmethod, classmethod)):
        yield found.__func__
    elif isinstance(found, property):
        yield from (one for one in (found.fget, found.fset, found.fdel) if one is not None)
    elif isinstance(found, functools.cached_property):
        yield found.func
    elif isinstance(found, MethodType):
        yield found.__func__
    elif _is_ours(found):
        yield found.function
        if getattr(found, "owner", None) is not None:
            yield found.owner  # a method may call others
    elif not isinstance(found, (FunctionType, type, ModuleType)):
        for name in ("__wrapped__", "py_func", "pyfunc"):
            inner = inspect.getattr_static(found, name, None) or getattr(type(found), "__dict__", {}).get(name)
            if inner is not None and callable(getattr(found, name, None)):
                yield getattr(found, name)
                return


def _is_ours(found: Any) -> bool:
    """An operator or a workflow."""
    return is_ours_module(type(found).__module__) and isinstance(getattr(found, "function", None), FunctionType)


def is_ours_module(module: str) -> bool:
    return module.partition(".")[0] == "mwfs"


def _is_code(member: Any) -> bool:
    return isinstance(member, FunctionType) or bool(next(iter(_layers(member)), None))


def _cells(function: FunctionType) -> dict[str, Any]:
    """The variables that a function takes from the functions around it."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not yet bound
            continue
    return found


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node, in the order of the source; annotations that are text are read as code."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        children = list(ast.iter_child_nodes(node))
        for name in ("annotation", "returns"):
            quoted = getattr(node, name, None)
            if isinstance(quoted, ast.Constant) and isinstance(quoted.value, str):
                try:
                    children.append(ast.parse(quoted.value, mode="eval"))
                except (SyntaxError, ValueError):
                    continue
        waiting.extend(reversed(children))


def _chain(node: ast.Attribute) -> tuple[ast.Name | None, list[str]]:
    """`a.b.c` as (a, [b, c])."""
    names = [node.attr]
    inner: ast.expr = node.value
    while isinstance(inner, ast.Attribute):
        names.append(inner.attr)
        inner = inner.value
    return (inner if isinstance(inner, ast.Name) else None), names[::-1]


def _absolute(node: ast.ImportFrom, package: Any) -> str:
    name = "." * node.level + (node.module or "")
    if not node.level:
        return name
    try:
        return importlib.util.resolve_name(name, str(package or ""))
    except ImportError:
        return ""


def _as_bound(alias: ast.alias) -> tuple[str, ...]:
    return (alias.asname or alias.name.partition(".")[0], "*")


def _package_of(module: str, file: str) -> str:
    return module if file.endswith("__init__.py") else module.rpartition(".")[0]


def _file_of_module(module: str) -> str | None:
    """Where a module's text is, found without running it."""
    if not module:
        return None
    loaded = sys.modules.get(module)
    if loaded is not None:
        return getattr(loaded, "__file__", None)
    try:
        spec = importlib.util.find_spec(module)
    except Exception:  # a parent package that cannot be imported here: its code raised
        return None
    return spec.origin if spec is not None and spec.has_location else None


def _imported_as(module: str) -> str:
    """A script's `__main__` is named as it would be imported."""
    if module != "__main__":
        return module
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None and spec.name:
        return str(spec.name)
    return str(file or module).replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".py")


def is_project(file: str | None) -> bool:
    """Whether code is the user's own, rather than installed or of this SDK."""
    return bool(file) and not is_library(str(file)) and not is_ours(str(file))


__all__ = ["Part", "Walk", "is_project", "unwrapped"]
