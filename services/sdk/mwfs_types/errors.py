"""The errors of the type system.

TypeSystemError
├── UnsupportedType   an annotation, or a Type from the wire, that is not part of the type system
├── BadValue          a value that its type does not allow; knows where
└── BadDag            a Dag that must not be believed
"""

import reprlib


class TypeSystemError(Exception):
    """Anything that the type system refuses. On a server each of these is INVALID_ARGUMENT."""


class UnsupportedType(TypeSystemError):
    """An annotation that the platform cannot carry; the message ends with what to write instead."""


class BadDag(TypeSystemError):
    """A Dag that breaks a rule; the message names the row and the rule."""


class BadValue(TypeSystemError):
    """A value that its type does not allow."""

    __slots__ = ("expected", "fix", "found", "path")

    def __init__(self, *, expected: str, found: str, path: str = "", fix: str = "") -> None:
        super().__init__(expected, found, path, fix)
        #: Where in the value, such as `inputs.depths[2]`; empty for the whole value.
        self.path = path
        self.expected = expected
        self.found = found
        #: What to do next; may be empty.
        self.fix = fix

    def under(self, prefix: str) -> "BadValue":
        """The same error seen from one level up: `[2]` under `.depths` is `.depths[2]`."""
        return BadValue(expected=self.expected, found=self.found, path=prefix + self.path, fix=self.fix)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.expected, self.found, self.path, self.fix)

    def __str__(self) -> str:
        where = f"{self.path.lstrip('.')}: " if self.path else ""
        return f"{where}expected {self.expected}, found {self.found}." + (f" {self.fix}" if self.fix else "")


def _rebuild(expected: str, found: str, path: str, fix: str) -> BadValue:
    return BadValue(expected=expected, found=found, path=path, fix=fix)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60
_SHORT.maxlong = 40
#: Only these are shown by their repr: anything else could run a user's code, or print a secret held deep inside.
_SHOWN = (bool, int, float, str)


def show(value: object) -> str:
    """A found value in a few words, such as `'abc' (str)`."""
    if value is None:
        return "None"
    name = type(value).__name__
    if type(value) is int and value.bit_length() > 256:
        return f"an integer of {value.bit_length()} bits"
    if type(value) in _SHOWN:
        return f"{_SHORT.repr(value)} ({name})"
    if isinstance(value, bytes | list | dict | tuple | set):
        return f"{name} of length {len(value)}"
    return name if type(value).__module__ in ("builtins", "__main__") else f"{type(value).__module__}.{name}"
