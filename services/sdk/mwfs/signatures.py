"""What a function takes and gives, read once from its annotations."""

from __future__ import annotations

import difflib
import inspect
import sys
import typing
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from mwfs.errors import BadDefinition
from mwfs.locations import calling_user_frame, site_of_definition, site_of_frame
from mwfs_api.types.v1 import types_pb2
from mwfs_types.annotations import UnsupportedType, doc_of, record_fields, semantic_of, type_of
from mwfs_types.records import is_typed_dict
from mwfs_types.records import record_class as class_behind

#: The default of a parameter that has none.
REQUIRED: Any = inspect.Parameter.empty
#: The name of a result that has no name of its own.
RESULT = "result"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One named argument."""

    name: str
    annotation: Any
    type: types_pb2.Type
    #: REQUIRED when there is none.
    default: Any
    keyword_only: bool
    positional_only: bool = False
    doc: str = ""

    @property
    def required(self) -> bool:
        return self.default is REQUIRED


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One named result."""

    name: str
    annotation: Any
    type: types_pb2.Type


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Parameters in call order, and outputs in the order of declaration."""

    parameters: tuple[Parameter, ...]
    #: The positions that may be given without a name: the first so many parameters.
    positional: int
    outputs: tuple[Output, ...]
    #: The result as a whole: the annotation, and its type.
    returns: Any
    return_type: types_pb2.Type
    #: The NamedTuple or dataclass whose fields are the outputs; None when the result is one unnamed value.
    record: type | None


def read_signature(function: Callable[..., Any], what: str, owner: type | None = None) -> Signature:
    """The signature of a function. `what` names it in errors: "operator `train`". Raises BadDefinition.

    owner: the class that it is a method of, which must be a record: `self` travels as its first argument.
    """

    def wrong(message: str, expected: str = "", found: str = "", fix: str = "") -> BadDefinition:
        return BadDefinition(message, site=site_of_definition(function), expected=expected, found=found, fix=fix)

    def unsupported(where: str, error: UnsupportedType) -> BadDefinition:
        # The type system's messages end with what to write instead.
        reason, _, fix = str(error).partition(". ")
        return wrong(f"{where} is not supported: {reason}", "a type that can travel", fix=fix or "use another type")

    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise wrong(f"{what} is an async function", "def", "async def", "write a plain `def`; call asyncio.run inside")
    if inspect.isgeneratorfunction(function):
        raise wrong(f"{what} is a generator", "a function that returns its result", "yield", "return a list")
    try:
        plain = inspect.signature(function)
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception as error:
        raise wrong(
            f"an annotation of {what} cannot be read: {error}", "a type", fix="import or define the name that it uses"
        ) from error
    parameters = []
    for name, parameter in plain.parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            stars = "*" if parameter.kind == parameter.VAR_POSITIONAL else "**"
            raise wrong(
                f"{what} takes `{stars}{name}`",
                "named parameters",
                f"{stars}{name}",
                f"take one list or dict: `{name}: {'list[float]' if stars == '*' else 'dict[str, float]'}`",
            )
        if name == "self" and name not in hints and owner is not None and _is_record(owner):
            hints[name] = owner
        if name not in hints and name in ("self", "cls"):
            raise wrong(
                f"{what} is a method of {'a class' if name == 'cls' or owner is None else f'`{owner.__qualname__}`'}, "
                "which is not a record",
                "a method of a dataclass or NamedTuple, whose fields travel with the call",
                f"`{name}`",
                f"write @dataclass(frozen=True) above `class {owner.__qualname__}`, or @staticmethod above its decorator"
                if name == "self" and owner is not None
                else "put it at module level, or write @staticmethod above its decorator",
            )
        if name not in hints:
            raise wrong(
                f"parameter `{name}` of {what} has no type", f"{name}: <type>", name, f"annotate it: `{name}: float`"
            )
        try:
            kind = type_of(hints[name])
        except UnsupportedType as error:
            raise unsupported(f"the type of parameter `{name}` of {what}", error) from error
        parameters.append(
            Parameter(
                name=name,
                annotation=hints[name],
                type=kind,
                default=parameter.default,
                keyword_only=parameter.kind == parameter.KEYWORD_ONLY,
                positional_only=parameter.kind == parameter.POSITIONAL_ONLY,
                doc=doc_of(hints[name]),
            )
        )
    if "return" not in hints:
        raise wrong(f"{what} does not say what it returns", "-> <type>", "no return annotation", "write `-> float:`")
    returns = hints["return"]
    try:
        return_type = type_of(returns)
        record = record_class(returns)
        outputs = (
            tuple(
                Output(name=name, annotation=annotation, type=type_of(annotation))
                for name, annotation in (record_fields(returns) or {}).items()
            )
            if record is not None
            else (Output(name=RESULT, annotation=returns, type=return_type),)
        )
    except UnsupportedType as error:
        raise unsupported(f"the result type of {what}", error) from error
    for kind_of_name, names in (
        ("parameters", [parameter.name for parameter in parameters]),
        ("outputs", [output.name for output in outputs]),
    ):
        alike = _alike(names)
        if alike:
            raise wrong(
                f"the {kind_of_name} {alike} of {what} differ only by case",
                "names that stay apart in files, forms and flags",
                alike,
                "rename one of them",
            )
    return Signature(
        parameters=tuple(parameters),
        positional=sum(not parameter.keyword_only for parameter in parameters),
        outputs=outputs,
        returns=returns,
        return_type=return_type,
        record=record,
    )


def _alike(names: list[str]) -> str:
    """The first two names that differ only by case; empty when there are none."""
    known: dict[str, str] = {}
    for name in names:
        other = known.setdefault(name.casefold(), name)
        if other != name:
            return f"`{other}` and `{name}`"
    return ""


def nearest_name(name: str, names: Iterable[str]) -> str:
    """The name that was meant: one that differs by case or Unicode form only, or else one that is close; empty for none."""
    listed = list(names)
    plain = unicodedata.normalize("NFKC", name).casefold()
    same = [one for one in listed if unicodedata.normalize("NFKC", one).casefold() == plain]
    return next(iter([*same, *difflib.get_close_matches(name, listed, n=1)]), "")


def _is_record(owner: type) -> bool:
    try:
        return record_class(owner) is not None
    except UnsupportedType:
        return False


def record_class(annotation: Any) -> type | None:
    """The class behind a record annotation: a NamedTuple or a dataclass that is no semantic type. A TypedDict is one value."""
    if semantic_of(annotation) is not None:
        return None
    found = class_behind(annotation)
    return None if is_typed_dict(found) else found


def check_decorated(given: Any, what: str) -> None:
    """Raises BadDefinition for what no worker could import by a name: a partial, or an object that can be called."""
    if hasattr(given, "__qualname__") and hasattr(given, "__module__"):
        return
    raise BadDefinition(
        f"@mwfs.{what} was given an object that has no name of its own",
        site=site_of_frame(calling_user_frame()),
        expected="a function at module level",
        found=type(given).__qualname__,
        fix="write a `def` at module level that calls it, and decorate that",
    )


def import_name(function: Callable[..., Any]) -> tuple[str, str]:
    """(module, qualname) under which another process finds a function. A script's `__main__` is named as it would be imported."""
    module = function.__module__
    if module == "__main__":
        main = sys.modules["__main__"]
        spec = getattr(main, "__spec__", None)
        file = getattr(main, "__file__", None)
        if spec is not None and spec.name:
            module = spec.name
        elif file:
            module = _stem(file)
    return module, function.__qualname__


def _stem(file: str) -> str:
    return file.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".py")


def resolve(module: ModuleType | None, qualname: str) -> object | None:
    """What `qualname` means in a module; None when it leads nowhere."""
    found: object | None = module
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found
