"""What a global of the project holds, as text that is equal for equal values; code inside it is followed."""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import inspect
import re
import sys
from collections import ChainMap, deque
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from types import BuiltinFunctionType, EllipsisType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any
from uuid import UUID

#: Elements of one value that are looked at; a larger one is known by how it was made.
_MOST = 200_000
_DEPTH = 40

_REPR: tuple[type, ...] = (
    *(bool, int, float, complex, str, bytes, bytearray, type(None), EllipsisType, range, slice),
    *(date, datetime, time, timedelta, timezone, Decimal, Fraction, UUID),
)
_CODE = (FunctionType, type, BuiltinFunctionType, ModuleType, staticmethod, classmethod, property)


class Described:
    """One value: its text, the code in it, and whether all of it could be read."""

    def __init__(self, value: Any, is_project: Callable[[type], bool]) -> None:
        self._is_project = is_project
        self._inside: set[int] = set()
        self._left = _MOST
        #: Functions, classes and other code that the value holds.
        self.code: list[Any] = []
        #: Library objects, or too much: only how they were made says what they are.
        self.opaque = False
        self.text = self._text(value, 0)

    def _text(self, value: Any, depth: int) -> str:
        kind = type(value)
        if kind in _REPR:
            return repr(value)
        self._left -= 1
        if self._left < 0 or depth > _DEPTH or id(value) in self._inside:
            self.opaque = True
            return "…"
        self._inside.add(id(value))
        try:
            return f"{kind.__module__}.{kind.__qualname__}({self._parts(value, kind, depth + 1)})"
        finally:
            self._inside.discard(id(value))

    def _parts(self, value: Any, kind: type, depth: int) -> str:
        if issubclass(kind, enum.Enum):
            self.code.append(kind)
            return str(value.name)
        if issubclass(kind, MethodType):
            self.code.append(value.__func__)
            return f"{value.__func__.__qualname__}, {self._text(value.__self__, depth)}"
        if issubclass(kind, _CODE):
            self.code.append(value)
            return (
                f"{getattr(value, '__module__', '')}:{getattr(value, '__qualname__', getattr(value, '__name__', ''))}"
            )
        if issubclass(kind, functools.partial):
            return self._all((value.func, *value.args, value.keywords), depth)
        if kind in (list, tuple, deque) or (issubclass(kind, tuple) and hasattr(kind, "_fields")):
            self._class(kind)
            return self._all(value, depth)
        if kind in (set, frozenset):
            return ", ".join(sorted(self._text(one, depth) for one in value))
        if issubclass(kind, (dict, MappingProxyType, ChainMap)):
            return self._mapping(value, depth)
        if issubclass(kind, PurePath):
            return str(value)
        if issubclass(kind, re.Pattern):
            return repr((value.pattern, value.flags))
        if dataclasses.is_dataclass(kind):
            self._class(kind)
            return self._all([(one.name, getattr(value, one.name, None)) for one in dataclasses.fields(kind)], depth)
        numpy = sys.modules.get("numpy")
        if numpy is not None and issubclass(kind, (numpy.ndarray, numpy.generic)) and not value.dtype.hasobject:
            return f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
        if self._is_project(kind):
            self._class(kind)
            return self._all(sorted(getattr(value, "__dict__", {}).items()), depth)
        # A library's object: what code it wraps is followed, the rest is known by how it was made.
        self.opaque = True
        wrapped = [inspect.getattr_static(value, name, None) for name in ("__wrapped__", "py_func", "pyfunc", "func")]
        self.code.extend(one for one in wrapped if callable(one))
        return ""

    def _class(self, kind: type) -> None:
        if self._is_project(kind):
            self.code.append(kind)

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> str:
        default = getattr(value, "default_factory", None)
        if default is not None:
            self.code.append(default)
        return self._all([one for pair in list(value.items()) for one in pair], depth)

    def _all(self, values: Any, depth: int) -> str:
        return ", ".join([self._text(one, depth) for one in list(values)])


__all__ = ["Described"]
