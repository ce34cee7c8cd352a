"""Annotations in words, and what to write instead of one that cannot travel."""

import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_origin

#: What to write instead of the annotations that people try first.
_FIXES: dict[Any, str] = {
    list: "Write what it holds, such as list[int].",
    dict: "Write what it holds, such as dict[str, float].",
    tuple: "Write what it holds, such as tuple[int, str] or tuple[float, ...].",
    set: "Use list[…]; a set has no order, so equal values would not be equal bytes.",
    frozenset: "Use list[…]; a set has no order, so equal values would not be equal bytes.",
    complex: "Use a NamedTuple of two floats.",
    object: "Write the type of the value; for one of several write int | str.",
    Any: "Write the type of the value; for one of several write int | str.",
    Iterable: "Use list[…].",
    Sequence: "Use list[…].",
    Mapping: "Use dict[str, …].",
}


def why_not(annotation: Any, origin: Any) -> str:
    """Why it is no type, and what to write instead."""
    name = name_of(annotation)
    for key in (annotation, origin):
        try:
            if key in _FIXES:
                return f"{name} is not a type that can travel. {_FIXES[key]}"
        except TypeError:
            continue
    if isinstance(annotation, typing.TypeVar):
        return f"{name} is a type variable. Write a concrete type, such as list[int]; a generic class needs its arguments, such as Pair[int]."
    if not isinstance(annotation, type):
        return f"{name} is not a type. Write a type, such as int or list[str]."
    return (
        f"{name} is not a type that can travel. Make it a dataclass or a NamedTuple, register it by mwfs.register_type, "
        "or store it in a File."
    )


def name_of(annotation: Any) -> str:
    """An annotation as it was written, cut where it is long."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation.__qualname__
    text = repr(annotation).replace("typing.", "")
    return text if len(text) <= 100 else text[:99] + "…"


def full_name(cls: Any) -> str:
    """`module.qualname`."""
    return f"{cls.__module__}.{cls.__qualname__}"
