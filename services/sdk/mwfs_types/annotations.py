"""From Python annotations to types: `type_of(list[int])`."""

import dataclasses
import enum
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from mwfs_api.types.v1 import types_pb2
from mwfs_types.constraints import Choices, documentation_of, narrow, problem_in
from mwfs_types.encoding import encode
from mwfs_types.errors import BadValue, UnsupportedType
from mwfs_types.limits import MAX_DEPTH, MAX_FIELDS, MAX_UNION_ARMS
from mwfs_types.rendering import describe

__all__ = ["UnsupportedType", "doc_of", "record_fields", "semantic_of", "type_of"]

_SCALARS: dict[Any, "types_pb2.ScalarKind.ValueType"] = {
    None: types_pb2.SCALAR_KIND_NULL,
    type(None): types_pb2.SCALAR_KIND_NULL,
    bool: types_pb2.SCALAR_KIND_BOOL,
    int: types_pb2.SCALAR_KIND_INT,
    float: types_pb2.SCALAR_KIND_FLOAT,
    str: types_pb2.SCALAR_KIND_STRING,
    bytes: types_pb2.SCALAR_KIND_BYTES,
}
#: What to write instead of the annotations that people try first.
_FIXES: dict[Any, str] = {
    list: "Write what it holds, such as list[int].",
    dict: "Write what it holds, such as dict[str, float].",
    tuple: "Use list[…], or a NamedTuple to give each part a name.",
    set: "Use list[…]; a set has no order, so equal values would not be equal bytes.",
    frozenset: "Use list[…]; a set has no order, so equal values would not be equal bytes.",
    complex: "Use a NamedTuple of two floats.",
    object: "Write the type of the value; for one of several write int | str.",
    Any: "Write the type of the value; for one of several write int | str.",
    Iterable: "Use list[…].",
    Sequence: "Use list[…].",
    Mapping: "Use dict[str, …].",
}

#: Results by annotation. A union's arms are sorted, so `int | str` and `str | int`, which Python calls equal, are one type.
_CACHE: dict[Any, types_pb2.Type] = {}


def type_of(annotation: Any) -> types_pb2.Type:
    """The type that an annotation means. Shared: do not change it. Raises UnsupportedType, saying what to write instead."""
    try:
        return _CACHE[annotation]
    except KeyError:
        cacheable = True
    except TypeError:  # unhashable metadata inside Annotated
        cacheable = False
    type_ = _build(annotation, ())
    if cacheable:
        _CACHE[annotation] = type_
    return type_


def doc_of(annotation: Any) -> str:
    """The documentation that `Annotated[T, Doc("…")]` carries; empty when there is none."""
    return documentation_of(get_args(annotation)[1:]) if get_origin(annotation) is Annotated else ""


def semantic_of(annotation: Any) -> tuple[str, int] | None:
    """Name and version when the annotation is a semantic class, or one with arguments such as `Dataset[Row]`."""
    declared = getattr(get_origin(annotation) or annotation, "__mwfs_semantic__", None)
    if declared is None:
        return None
    match declared:
        case (str() as name, int() as version) if name.isidentifier() and 0 < version < 1 << 32:
            return name, version
    raise UnsupportedType(
        f"{_name(annotation)}.__mwfs_semantic__ must be a name and a version from 1, such as ('Dataset', 1)."
    )


def record_fields(cls: type) -> dict[str, Any] | None:
    """The fields of a dataclass or NamedTuple with their annotations, in order; None for any other class."""
    if not isinstance(cls, type):
        return None
    if dataclasses.is_dataclass(cls):
        names = [field.name for field in dataclasses.fields(cls) if field.init]
    elif issubclass(cls, tuple) and hasattr(cls, "_fields") and hasattr(cls, "_field_defaults"):
        names = list(cls._fields)
    else:
        return None
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise UnsupportedType(
            f"{_name(cls)} has a field whose annotation cannot be resolved: {error}. "
            "Define or import that name at the top level of its module."
        ) from None
    for name, hint in hints.items():
        if isinstance(hint, dataclasses.InitVar):
            raise UnsupportedType(f"{_name(cls)}.{name} is an InitVar, which is not kept. Make it a field.")
    return {name: hints.get(name, Any) for name in names}


def _build(annotation: Any, inside: tuple[type, ...], depth: int = 0) -> types_pb2.Type:
    if depth >= MAX_DEPTH:
        raise UnsupportedType(f"Types may nest at most {MAX_DEPTH} levels. Use a record, or a File.")
    try:
        if annotation in _SCALARS:
            return types_pb2.Type(scalar=_SCALARS[annotation])
    except TypeError:
        pass
    if isinstance(annotation, str | typing.ForwardRef):
        raise UnsupportedType(
            f"The annotation {annotation!r} is text that was not resolved. Define the class at the top level of its module."
        )
    origin = get_origin(annotation)
    if semantic_of(annotation) is not None:
        return _semantic(annotation, inside, depth)
    if origin is Annotated:
        return _annotated(annotation, inside, depth)
    if origin is Union or origin is types.UnionType:
        return _union(get_args(annotation), inside, depth)
    if origin is Literal:
        return _literal(get_args(annotation))
    if origin is list:
        (item,) = get_args(annotation)
        return types_pb2.Type(list=types_pb2.ListType(item=_build(item, inside, depth + 1)))
    if origin is dict:
        key, value = get_args(annotation)
        if key is not str:
            raise UnsupportedType(f"{_name(annotation)}: the keys of a map are str. Write dict[str, {_name(value)}].")
        return types_pb2.Type(map=types_pb2.MapType(value=_build(value, inside, depth + 1)))
    if hasattr(annotation, "__supertype__"):  # NewType
        return _build(annotation.__supertype__, inside, depth)
    if hasattr(annotation, "__value__") and hasattr(annotation, "__type_params__"):  # `type X = …` of Python 3.12
        return _build(annotation.__value__, inside, depth)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _enum(annotation)
    fields = record_fields(annotation)
    if fields is not None:
        return _record(annotation, fields, inside, depth)
    raise UnsupportedType(_explain(annotation, origin))


def _annotated(annotation: Any, inside: tuple[type, ...], depth: int) -> types_pb2.Type:
    base, *metadata = get_args(annotation)
    type_ = types_pb2.Type()
    type_.CopyFrom(_build(base, inside, depth))
    target = type_.optional.item if type_.WhichOneof("kind") == "optional" else type_
    for item in _flatten(metadata):
        narrow(target, item, lambda choice: _default_value(choice, base, "a choice"))
    problem = problem_in(target)
    if problem:
        raise UnsupportedType(f"{describe(type_)}: {problem}.")
    return type_


def _flatten(metadata: Iterable[object]) -> Iterable[object]:
    for item in metadata:
        if getattr(item, "__is_annotated_types_grouped_metadata__", False):
            yield from typing.cast("Iterable[object]", item)
        else:
            yield item


#: Arms are tried in this order, so that each value goes to the narrowest arm that fits it.
_ARM_ORDER = ["enum", "semantic", "record", "list", "map"]


def _union(arms: tuple[Any, ...], inside: tuple[type, ...], depth: int) -> types_pb2.Type:
    plain = [arm for arm in arms if arm is not type(None)]
    optional = len(plain) < len(arms)
    if len(plain) == 1:
        item = _build(plain[0], inside, depth + optional)
    else:
        built: dict[bytes, types_pb2.Type] = {}
        for arm in plain:
            type_ = _build(arm, inside, depth + 1 + optional)
            if type_.WhichOneof("kind") == "optional":  # Annotated[int | None, …] | str
                optional, type_ = True, type_.optional.item
            for one in type_.union.arms if type_.WhichOneof("kind") == "union" else [type_]:
                built[one.SerializeToString()] = one
        if len(built) > MAX_UNION_ARMS:
            raise UnsupportedType(f"A union has at most {MAX_UNION_ARMS} arms, found {len(built)}.")
        ordered = sorted(built.items(), key=lambda pair: (_arm_rank(pair[1]), pair[0]))
        if len(ordered) == 1:
            item = ordered[0][1]
        else:
            item = types_pb2.Type(union=types_pb2.UnionType(arms=[type_ for _, type_ in ordered]))
    if not optional or item.WhichOneof("kind") == "optional" or item.scalar == types_pb2.SCALAR_KIND_NULL:
        return item
    return types_pb2.Type(optional=types_pb2.OptionalType(item=item))


def _arm_rank(type_: types_pb2.Type) -> int:
    kind = type_.WhichOneof("kind")
    if kind == "scalar":
        return 10 + type_.scalar
    return _ARM_ORDER.index(kind) if kind in _ARM_ORDER else 20


def _literal(values: tuple[object, ...]) -> types_pb2.Type:
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) != 1 or not kinds <= {str, int, bool}:
        raise UnsupportedType(
            "The values of a Literal must all be str, all int or all bool (None may join). Use an Enum."
        )
    (kind,) = kinds
    choices = Choices(*(value for value in values if value is not None))
    if None in values:
        return type_of(Annotated[kind, choices] | None)
    return type_of(Annotated[kind, choices])


def _enum(cls: type[enum.Enum]) -> types_pb2.Type:
    if issubclass(cls, enum.Flag):
        raise UnsupportedType(f"{_name(cls)} is a Flag, whose values have no single member. Use list[…] of an Enum.")
    members = [member.name for member in cls]
    if not members or len(members) > MAX_FIELDS:
        raise UnsupportedType(f"{_name(cls)} must have 1 to {MAX_FIELDS} members, found {len(members)}.")
    return types_pb2.Type(enum=types_pb2.EnumType(name=_full_name(cls), members=members))


def _semantic(annotation: Any, inside: tuple[type, ...], depth: int) -> types_pb2.Type:
    declared = semantic_of(annotation)
    assert declared is not None
    arguments = [_build(argument, inside, depth + 1) for argument in get_args(annotation)]
    return types_pb2.Type(semantic=types_pb2.SemanticType(name=declared[0], version=declared[1], arguments=arguments))


def _record(cls: type, fields: dict[str, Any], inside: tuple[type, ...], depth: int) -> types_pb2.Type:
    if cls in inside:
        raise UnsupportedType(f"{_name(cls)} contains itself. Give its parts as a list with indices, or as a File.")
    if len(fields) > MAX_FIELDS:
        raise UnsupportedType(f"{_name(cls)} has {len(fields)} fields; a record has at most {MAX_FIELDS}.")
    record = types_pb2.RecordType(name=_full_name(cls))
    defaults = _defaults(cls)
    for name, annotation in fields.items():
        try:
            type_ = _build(annotation, (*inside, cls), depth + 1)
        except UnsupportedType as error:
            raise UnsupportedType(f"{_name(cls)}.{name}: {error}") from None
        field = record.fields.add(name=name, type=type_, doc=doc_of(annotation))
        if name in defaults:
            value = _default_value(defaults[name], annotation, f"the default of {_name(cls)}.{name}")
            field.default.CopyFrom(value)
    return types_pb2.Type(record=record)


def _defaults(cls: Any) -> dict[str, object]:
    if not dataclasses.is_dataclass(cls):
        return dict(cls._field_defaults)
    found: dict[str, object] = {}
    for field in dataclasses.fields(cls):
        if field.default is not dataclasses.MISSING:
            found[field.name] = field.default
        elif field.init and field.default_factory is not dataclasses.MISSING:
            found[field.name] = field.default_factory()
    return {
        name: value for name, value in found.items() if any(f.init for f in dataclasses.fields(cls) if f.name == name)
    }


def _default_value(value: object, annotation: Any, what: str) -> types_pb2.Value:
    try:
        return encode(value, type_of(annotation))
    except BadValue as error:
        raise UnsupportedType(f"{what} does not fit: {error}") from None


def _explain(annotation: Any, origin: Any) -> str:
    name = _name(annotation)
    for key in (annotation, origin):
        try:
            if key in _FIXES:
                return f"{name} is not a type that can travel. {_FIXES[key]}"
        except TypeError:
            continue
    if isinstance(annotation, typing.TypeVar):
        return f"{name} is a type variable. Write a concrete type, such as list[int]."
    if origin is not None and record_fields(origin) is not None:
        return f"{name} is a generic record. Define a record with concrete field types."
    if typing.is_typeddict(annotation):
        return f"{name} is a TypedDict. Use a dataclass or a NamedTuple."
    if not isinstance(annotation, type):
        return f"{name} is not a type. Write a type, such as int or list[str]."
    return (
        f"{name} is not a type that can travel. Make it a dataclass or a NamedTuple, give it __mwfs_semantic__, "
        "or store it in a File."
    )


def _name(annotation: Any) -> str:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation.__qualname__
    text = repr(annotation).replace("typing.", "")
    return text if len(text) <= 100 else text[:99] + "…"


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
