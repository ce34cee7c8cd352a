"""Classes whose objects travel as records: dataclasses, NamedTuples and TypedDicts, generic ones with their arguments put in."""

import dataclasses
import inspect
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Generic, Protocol, TypeVar, get_args, get_origin

from mwfs_types.errors import UnsupportedType

#: What is wrapped round the annotation of a TypedDict's key.
_QUALIFIERS = ("NotRequired", "Required", "ReadOnly")


def record_class(annotation: Any) -> type | None:
    """The class behind a record annotation: `Pair` for `Pair` and for `Pair[int]`; None for anything else."""
    cls = get_origin(annotation) or annotation
    if not isinstance(cls, type):
        return None
    is_named_tuple = issubclass(cls, tuple) and hasattr(cls, "_fields") and hasattr(cls, "_field_defaults")
    return cls if dataclasses.is_dataclass(cls) or is_named_tuple or is_typed_dict(cls) else None


def is_typed_dict(cls: Any) -> bool:
    """Whether objects of the class are plain dicts; also for the TypedDict of typing_extensions."""
    return isinstance(cls, type) and issubclass(cls, dict) and hasattr(cls, "__required_keys__")


def record_fields(annotation: Any) -> dict[str, Any] | None:
    """The fields of a record class with their annotations, in order; None for anything else."""
    cls = record_class(annotation)
    if cls is None:
        return None
    if dataclasses.is_dataclass(cls):
        names = [field.name for field in dataclasses.fields(cls) if field.init]
    else:
        names = list(getattr(cls, "_fields", cls.__annotations__))
    try:
        hints = _hints(cls, dict(zip(_parameters(cls), get_args(annotation), strict=False)))
    except NameError as error:
        raise UnsupportedType(
            f"{cls.__qualname__} has a field whose annotation cannot be resolved: {error}. "
            "Define or import that name at the top level of its module."
        ) from None
    for name, hint in hints.items():
        if isinstance(hint, dataclasses.InitVar):
            raise UnsupportedType(f"{cls.__qualname__}.{name} is an InitVar, which is not kept. Make it a field.")
    if is_typed_dict(cls):
        hints = {name: _of_key(hint) for name, hint in hints.items()}
    return {name: hints.get(name, Any) for name in names}


def keys_left_out(cls: Any) -> frozenset[str]:
    """The keys that a dict of this TypedDict may lack."""
    # With `from __future__ import annotations` Python itself cannot see NotRequired, so the hints are asked too.
    hints = typing.get_type_hints(cls, include_extras=True)
    declared = {name: {_name_of(one) for one in _wrappers(hint)} for name, hint in hints.items()}
    return frozenset(
        name
        for name, wrapped in declared.items()
        if "NotRequired" in wrapped or (name not in cls.__required_keys__ and "Required" not in wrapped)
    )


def defaults_of(cls: Any) -> dict[str, object]:
    """The defaults of the fields, by name; made anew."""
    if not dataclasses.is_dataclass(cls):
        return dict(getattr(cls, "_field_defaults", {}))
    found: dict[str, object] = {}
    for field in dataclasses.fields(cls):
        if field.default is not dataclasses.MISSING:
            found[field.name] = field.default
        elif field.init and field.default_factory is not dataclasses.MISSING:
            found[field.name] = field.default_factory()
    return {
        name: value for name, value in found.items() if any(f.init for f in dataclasses.fields(cls) if f.name == name)
    }


def substitute(annotation: Any, bound: Mapping[Any, Any]) -> Any:
    """The annotation with its type variables replaced; those that are not bound stay, or become their default."""
    if isinstance(annotation, TypeVar):
        if annotation in bound:
            return bound[annotation]
        variable: Any = annotation  # defaults came with Python 3.13 and typing_extensions
        return variable.__default__ if hasattr(variable, "has_default") and variable.has_default() else variable
    free = getattr(annotation, "__parameters__", ()) if get_origin(annotation) is not None else ()
    return annotation[tuple(substitute(one, bound) for one in free)] if free else annotation


def _hints(cls: Any, bound: Mapping[Any, Any]) -> dict[str, Any]:
    """The annotations of a class and of its bases, each base's with the arguments that the class gives it."""
    inherited: dict[str, Any] = {}
    as_written: dict[str, Any] = {}
    for base in reversed(cls.__dict__.get("__orig_bases__", cls.__bases__)):
        origin = get_origin(base) or base
        if not isinstance(origin, type) or origin in (Generic, Protocol, object, tuple, dict):
            continue
        arguments = [substitute(argument, bound) for argument in get_args(base)]
        inherited |= _hints(origin, dict(zip(_parameters(origin), arguments, strict=False)))
        as_written |= typing.get_type_hints(origin, include_extras=True)
    own = inspect.get_annotations(cls)
    found: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(cls, include_extras=True).items():
        # A TypedDict repeats the annotations of its bases as its own.
        repeated = is_typed_dict(cls) and as_written.get(name) == hint
        found[name] = (
            inherited[name] if name in inherited and (name not in own or repeated) else substitute(hint, bound)
        )
    return found


def _parameters(cls: Any) -> tuple[Any, ...]:
    return getattr(cls, "__parameters__", ())


def _of_key(hint: Any) -> Any:
    """What the value of a key is, without what says whether the key must be there."""
    for _ in _wrappers(hint):
        hint = _unwrapped(hint)
    return hint


def _wrappers(hint: Any) -> list[Any]:
    """NotRequired and its like round an annotation, outermost first; Annotated may stand between them."""
    found = []
    while True:
        if _name_of(get_origin(hint)) in _QUALIFIERS:
            found.append(get_origin(hint))
            (hint,) = get_args(hint)
        elif get_origin(hint) is Annotated and _wrappers(get_args(hint)[0]):
            hint = get_args(hint)[0]
        else:
            return found


def _unwrapped(hint: Any) -> Any:
    """Without the outermost of these."""
    if get_origin(hint) is Annotated:
        inner, *metadata = get_args(hint)
        return Annotated[(_unwrapped(inner), *metadata)]
    return get_args(hint)[0]


def _name_of(form: Any) -> str:
    return getattr(form, "_name", "") or ""
