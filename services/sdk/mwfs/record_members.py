"""What can be asked of a future beside its fields: the operators, methods and properties of its class, which see the future as `self`."""

from __future__ import annotations

import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any

from mwfs.errors import UndeclaredOutput
from mwfs.locations import calling_user_frame, site_of_frame
from mwfs.signatures import nearest_name, resolve
from mwfs_api.types.v1 import types_pb2
from mwfs_types.rendering import describe

if TYPE_CHECKING:
    from mwfs.futures import Future

_NOTHING = object()

#: What is asked of values → what is written for futures.
_INSTEAD = {
    ("map", "get"): "`mwfs.when(mwfs.contains(d, key), lambda: d[key], lambda: default)`",
    ("map", "keys"): "`mwfs.keys(…)`",
    ("map", "values"): "`mwfs.values(…)`",
    ("map", "items"): "`mwfs.entries(…)`",
    ("list", "append"): "`xs + [x]`, which is another future",
    ("list", "extend"): "`xs + ys`, which is another future",
    ("scalar", "format"): "texts joined by `+` and `mwfs.as_text(…)`",
}


def member_of(future: Future, cls: type | None, name: str) -> Any:
    """A method, property, operator or constant of a record's class. Raises UndeclaredOutput when there is none."""
    static = _NOTHING if cls is None or name.startswith("__") else inspect.getattr_static(cls, name, _NOTHING)
    if isinstance(static, property) and static.fget is not None:
        return static.fget(future)
    if isinstance(static, functools.cached_property):
        return static.func(future)
    if isinstance(static, (staticmethod, classmethod)):
        return static.__get__(None, cls)
    if (
        static is not _NOTHING
        and hasattr(static, "__get__")
        and (inspect.isfunction(static) or hasattr(static, "signature"))
    ):
        return static.__get__(future, cls)
    if static is _NOTHING or hasattr(static, "__get__"):
        raise undeclared(future, name)
    return static


_SCALARS: dict[int, type] = {
    types_pb2.SCALAR_KIND_BOOL: bool,
    types_pb2.SCALAR_KIND_INT: int,
    types_pb2.SCALAR_KIND_FLOAT: float,
    types_pb2.SCALAR_KIND_STRING: str,
    types_pb2.SCALAR_KIND_BYTES: bytes,
    types_pb2.SCALAR_KIND_NULL: type(None),
}


def class_of_value(future: Future) -> type | None:
    """The class that the value of a future will have; None when the run decides, or the class is not loaded."""
    kind = future._graph.types[future._type]
    match kind.WhichOneof("kind"):
        case "scalar":
            return _SCALARS.get(kind.scalar)
        case "list":
            return list
        case "map":
            return dict
        case "tuple":
            return tuple
        case "record":
            return dict if kind.record.is_dict else class_of(kind)
        case "enum":
            return _loaded(kind.enum.name)
        case "semantic":
            from mwfs.type_registry import class_of as class_of_semantic

            return class_of_semantic(kind.semantic)
    return None


def class_of(kind: types_pb2.Type) -> type | None:
    """The class of a record, if it is loaded: a future knows it by its name only."""
    return _loaded(kind.record.name.partition("[")[0])


def _loaded(name: str) -> type | None:
    module, _, qualname = name.rpartition(".")
    while module:
        if module in sys.modules:
            found = resolve(sys.modules[module], qualname)
            return found if isinstance(found, type) else None
        module, _, outer = module.rpartition(".")
        qualname = f"{outer}.{qualname}"
    return None


def undeclared(future: Future, name: str) -> UndeclaredOutput:
    """The error of asking a future for something that its type does not have."""
    graph = future._graph
    kind = graph.types[future._type]
    shape = kind.WhichOneof("kind") or ""
    origin = graph.describe_origin(future)
    fields = [field.name for field in kind.record.fields]
    if kind.record.is_dict:
        near = nearest_name(name, fields)
        message, expected = (
            f"{origin} gives a dict, whose keys are no attributes",
            f"a key in brackets: {', '.join(fields)}",
        )
        fix = f'write `["{near}"]`' if near else "ask for one of its keys"
    elif shape == "record":
        near = nearest_name(name, fields)
        message, expected = (
            f"`.{name}` is not an output of {origin}",
            f"one of {', '.join(f'`{one}`' for one in fields)}",
        )
        fix = f"write `.{near}`" if near else "compute it in an operator and declare it as an output"
    else:
        message, expected = f"a future of {describe(kind)} has no `.{name}`", "no attribute: its value is not there yet"
        instead = _INSTEAD.get((shape, name))
        fix = "compute it in an operator that takes the future"
        if instead:
            fix = f"write {instead}"
        elif shape == "map":
            fix = f'write `["{name}"]` for the value of a key'
    return UndeclaredOutput(
        message,
        site=site_of_frame(calling_user_frame()),
        expected=expected,
        found=f"`.{name}` of {graph.describe_future(future)}",
        fix=fix,
    )
