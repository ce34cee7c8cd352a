"""From Python annotations to types: `type_of(list[int])`."""

import enum
import types
import typing
import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from mwfs_api.types.v1 import types_pb2
from mwfs_types.annotation_words import full_name, name_of, why_not
from mwfs_types.constraints import Choices, documentation_of, narrow, problem_in
from mwfs_types.encoding import encode
from mwfs_types.errors import BadValue, UnsupportedType
from mwfs_types.limits import MAX_DEPTH, MAX_FIELDS, MAX_LONG_NAME, MAX_NAME, MAX_TYPE_BYTES, MAX_UNION_ARMS
from mwfs_types.moments import MOMENTS_BY_CLASS
from mwfs_types.records import defaults_of, is_typed_dict, keys_left_out, record_class, record_fields, substitute
from mwfs_types.rendering import describe
from mwfs_types.telling_apart import confusable_arms
from mwfs_types.type_rules import height_of

__all__ = ["UnsupportedType", "doc_of", "record_class", "record_fields", "semantic_of", "type_of"]

_SCALARS: dict[Any, "types_pb2.ScalarKind.ValueType"] = {
    None: types_pb2.SCALAR_KIND_NULL,
    type(None): types_pb2.SCALAR_KIND_NULL,
    bool: types_pb2.SCALAR_KIND_BOOL,
    int: types_pb2.SCALAR_KIND_INT,
    float: types_pb2.SCALAR_KIND_FLOAT,
    str: types_pb2.SCALAR_KIND_STRING,
    bytes: types_pb2.SCALAR_KIND_BYTES,
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
        f"{name_of(annotation)}.__mwfs_semantic__ must be a name and a version from 1, such as ('Dataset', 1)."
    )


def _build(annotation: Any, inside: tuple[Any, ...], depth: int = 0) -> types_pb2.Type:
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
    if isinstance(annotation, type) and annotation in MOMENTS_BY_CLASS:
        return MOMENTS_BY_CLASS[annotation].type
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
    if origin is tuple:
        return _tuple(annotation, inside, depth)
    if origin is dict:
        key, value = get_args(annotation)
        if key is not str:
            raise UnsupportedType(
                f"{name_of(annotation)}: the keys of a map are str. Write dict[str, {name_of(value)}]."
            )
        return types_pb2.Type(map=types_pb2.MapType(value=_build(value, inside, depth + 1)))
    if hasattr(annotation, "__supertype__"):  # NewType
        return _build(annotation.__supertype__, inside, depth)
    if hasattr(annotation, "__value__") and hasattr(annotation, "__type_params__"):  # `type X = …` of Python 3.12
        return _build(alias_value(annotation), inside, depth)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _enum(annotation)
    fields = record_fields(annotation)
    if fields is not None:
        return _record(annotation, fields, inside, depth)
    raise UnsupportedType(why_not(annotation, origin))


def _tuple(annotation: Any, inside: tuple[Any, ...], depth: int) -> types_pb2.Type:
    """`tuple[A, B]` is a tuple; `tuple[A, ...]` travels as a list."""
    items = get_args(annotation)
    if len(items) == 2 and items[1] is ...:
        return types_pb2.Type(list=types_pb2.ListType(item=_build(items[0], inside, depth + 1)))
    if not items or len(items) > MAX_FIELDS:
        raise UnsupportedType(
            f"{name_of(annotation)}: a tuple has 1 to {MAX_FIELDS} items. Use list[…] for many of one type."
        )
    return types_pb2.Type(tuple=types_pb2.TupleType(items=[_build(item, inside, depth + 1) for item in items]))


def _annotated(annotation: Any, inside: tuple[Any, ...], depth: int) -> types_pb2.Type:
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
_ARM_ORDER = ["enum", "semantic", "record", "tuple", "list", "map"]


def _union(arms: tuple[Any, ...], inside: tuple[Any, ...], depth: int) -> types_pb2.Type:
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
        pair = confusable_arms(list(built.values()))
        if pair is not None:
            first, second = sorted(map(describe, pair))
            raise UnsupportedType(
                f"{first} and {second} look the same on the way, so a union cannot tell them apart. Use a record of optionals, "
                "or give each record a field such as kind: Literal['a']."
            )
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
        raise UnsupportedType(f"{name_of(cls)} is a Flag, whose values have no single member. Use list[…] of an Enum.")
    members = [member.name for member in cls]
    if not members or len(members) > MAX_FIELDS:
        raise UnsupportedType(f"{name_of(cls)} must have 1 to {MAX_FIELDS} members, found {len(members)}.")
    return types_pb2.Type(enum=types_pb2.EnumType(name=full_name(cls), members=members))


def _semantic(annotation: Any, inside: tuple[Any, ...], depth: int) -> types_pb2.Type:
    declared = semantic_of(annotation)
    assert declared is not None
    cls = get_origin(annotation) or annotation
    semantic = types_pb2.SemanticType(
        name=declared[0],
        version=declared[1],
        arguments=[_build(argument, inside, depth + 1) for argument in get_args(annotation)],
        viewer=getattr(cls, "__mwfs_viewer__", ""),
        widget=getattr(cls, "__mwfs_widget__", ""),
    )
    representation = getattr(cls, "__mwfs_representation__", None)
    if representation is not None:
        semantic.representation.CopyFrom(_build(representation, inside, depth + 1))
    for version, older in sorted(getattr(cls, "__mwfs_reads__", {}).items()):
        read = semantic.reads.add(version=version)
        if older is not None:
            read.representation.CopyFrom(_build(older, inside, depth + 1))
    return types_pb2.Type(semantic=semantic)


def alias_value(alias: Any) -> Any:
    """What a `type X = …` or `type X[T] = …` of Python 3.12 stands for."""
    return substitute(alias.__value__, dict(zip(alias.__type_params__, get_args(alias), strict=False)))


def _record(annotation: Any, fields: dict[str, Any], inside: tuple[Any, ...], depth: int) -> types_pb2.Type:
    if annotation in inside:
        raise UnsupportedType(
            f"{name_of(annotation)} contains itself. Give its parts as a list with indices, or as a File."
        )
    if len(fields) > MAX_FIELDS:
        raise UnsupportedType(f"{name_of(annotation)} has {len(fields)} fields; a record has at most {MAX_FIELDS}.")
    with suppress(TypeError):  # unhashable metadata inside an argument
        known = _CACHE.get(annotation)
        if known is not None and depth + height_of(known) < MAX_DEPTH:
            return known
    cls = record_class(annotation)
    record = types_pb2.RecordType(name=_record_name(annotation, inside, depth), is_dict=is_typed_dict(cls))
    defaults = defaults_of(cls)
    may_lack = keys_left_out(cls) if record.is_dict else frozenset()
    for name, hint in fields.items():
        if name != unicodedata.normalize("NFKC", name):
            raise UnsupportedType(
                f"{name_of(annotation)} has a field {name[:40]!r}, which Python reads as its NFKC form. Write it that way."
            )
        if not name.isidentifier() or len(name) > MAX_NAME:
            raise UnsupportedType(f"{name_of(annotation)} has a key {name[:40]!r}. Use dict[str, …], or rename it.")
        if unicodedata.normalize("NFKC", name) != name:  # Python reads every name in this form
            raise UnsupportedType(
                f"{name_of(annotation)} has a field {name!r} that is not in Unicode form NFKC. Rename it."
            )
        try:
            type_ = _build(hint, (*inside, annotation), depth + 1 + (name in may_lack))
        except UnsupportedType as error:
            raise UnsupportedType(f"{name_of(annotation)}.{name}: {error}") from None
        if name in may_lack:
            if type_.WhichOneof("kind") == "optional" or type_.scalar == types_pb2.SCALAR_KIND_NULL:
                raise UnsupportedType(
                    f"{name_of(annotation)}.{name} may be left out and may be None, which are the same on the way. "
                    "Keep one: NotRequired[…] or … | None."
                )
            type_ = types_pb2.Type(optional=types_pb2.OptionalType(item=type_))
        field = record.fields.add(name=name, type=type_, doc=doc_of(hint))
        if name in defaults:
            value = _default_value(defaults[name], hint, f"the default of {name_of(annotation)}.{name}")
            field.default.CopyFrom(value)
    if record.ByteSize() > MAX_TYPE_BYTES - 64:
        raise UnsupportedType(f"{name_of(annotation)} is too large for a type. Use a File for such a structure.")
    # Kept, because the arguments of generic classes are built again for each field that has them.
    built = types_pb2.Type(record=record)
    with suppress(TypeError):
        _CACHE[annotation] = built
    return built


def _record_name(annotation: Any, inside: tuple[Any, ...], depth: int) -> str:
    """`module.qualname`, and what a generic class was given: `shop.Pair[int, shop.Item]`."""
    name = full_name(record_class(annotation))
    arguments = [describe(_build(one, inside, depth + 1), full=True) for one in get_args(annotation)]
    if arguments:
        name = f"{name}[{', '.join(arguments)}]"
    if len(name) > MAX_LONG_NAME:
        raise UnsupportedType(f"{name_of(annotation)}: the name is too long. Define a class without type arguments.")
    return name


def _default_value(value: object, annotation: Any, what: str) -> types_pb2.Value:
    try:
        return encode(value, type_of(annotation))
    except BadValue as error:
        raise UnsupportedType(f"{what} does not fit: {error}") from None
