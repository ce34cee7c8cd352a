"""From values to Python objects: `decode(value, list[int])`."""

import dataclasses
import enum
import types
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from mwfs_api.types.v1 import types_pb2
from mwfs_types.annotations import alias_value, semantic_of, type_of
from mwfs_types.constraints import narrowing_of
from mwfs_types.errors import BadValue, show
from mwfs_types.files import NO_FILES, Files, is_spilled, unspill
from mwfs_types.moments import MOMENTS_BY_CLASS, Moment
from mwfs_types.records import is_typed_dict, keys_left_out, record_class, record_fields
from mwfs_types.rendering import describe
from mwfs_types.shapes import found_in

Decoder = Callable[[types_pb2.Value, Files], Any]

_CACHE: dict[Any, Decoder] = {}


def decode(value: types_pb2.Value, annotation: Any, files: Files = NO_FILES, *, path: str = "") -> Any:
    """The Python object of a value. Raises BadValue where it is not of the annotated type, UnsupportedType for a bad annotation."""
    try:
        return decoder_for(annotation)(value, files)
    except BadValue as error:
        raise (error.under(path) if path else error) from None


def decoder_for(annotation: Any) -> Decoder:
    """The function that decodes values of one annotation; keep it where the same annotation is decoded often."""
    try:
        return _CACHE[annotation]
    except (KeyError, TypeError):
        pass
    type_of(annotation)
    decoder = _build(annotation)
    with suppress(TypeError):  # unhashable metadata inside Annotated
        _CACHE[annotation] = decoder
    return decoder


def _build(annotation: Any) -> Decoder:
    """Only called for annotations that `type_of` has accepted."""
    origin = get_origin(annotation)
    if isinstance(annotation, type) and annotation in MOMENTS_BY_CLASS:
        return _moment(MOMENTS_BY_CLASS[annotation])
    if semantic_of(annotation) is not None:
        return _semantic(origin or annotation, annotation if get_args(annotation) else None)
    if annotation is None:
        return _decode_null
    if origin is Annotated:
        return _narrowed(_build(get_args(annotation)[0]), type_of(annotation))
    if origin is Literal:
        return _narrowed(_literal(annotation), type_of(annotation))
    if origin is Union or origin is types.UnionType:
        return _union(annotation)
    if origin is list:
        return _list(_build(get_args(annotation)[0]), describe(type_of(annotation)))
    if origin is tuple:
        return _tuple(annotation)
    if origin is dict:
        return _map(_build(get_args(annotation)[1]), describe(type_of(annotation)))
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    if hasattr(annotation, "__supertype__"):
        return _build(annotation.__supertype__)
    if hasattr(annotation, "__value__"):
        return _build(alias_value(annotation))
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _enum(annotation)
    return _record(annotation)


def _scalar(kind: str, words: str) -> Decoder:
    def decode_scalar(value: types_pb2.Value, files: Files) -> Any:
        if value.WhichOneof("kind") == kind:
            return getattr(value, kind)
        return _other(value, files, decode_scalar, words)

    return decode_scalar


def _decode_int(value: types_pb2.Value, files: Files) -> Any:
    if value.WhichOneof("kind") == "integer":
        return value.integer
    return _other(value, files, _decode_int, "int")


def _decode_float(value: types_pb2.Value, files: Files) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "number":
        return value.number
    if kind == "integer":
        return float(value.integer)
    return _other(value, files, _decode_float, "float")


def _decode_null(value: types_pb2.Value, files: Files) -> Any:
    if value.WhichOneof("kind") == "null":
        return None
    return _other(value, files, _decode_null, "None")


_SCALARS: dict[Any, Decoder] = {
    type(None): _decode_null,
    bool: _scalar("boolean", "bool"),
    int: _decode_int,
    float: _decode_float,
    str: _scalar("text", "str"),
    bytes: _scalar("data", "bytes"),
}


def _other(value: types_pb2.Value, files: Files, decoder: Decoder, words: str) -> Any:
    """The way of a value of another kind: stored elsewhere because it is large, or wrong."""
    if is_spilled(value):
        return decoder(unspill(value, files), files)
    raise BadValue(expected=words, found=found_in(value))


def _narrowed(decoder: Decoder, type_: types_pb2.Type) -> Decoder:
    optional = type_.WhichOneof("kind") == "optional"
    test = narrowing_of(type_.optional.item if optional else type_)
    if test is None:
        return decoder

    def decode_narrowed(value: types_pb2.Value, files: Files) -> Any:
        obj = decoder(value, files)
        expected = "" if optional and obj is None else test(obj)
        if expected:
            raise BadValue(expected=expected, found=show(obj))
        return obj

    return decode_narrowed


def _literal(annotation: Any) -> Decoder:
    kinds = {type(choice) for choice in get_args(annotation) if choice is not None}
    decoder = _SCALARS[kinds.pop()]
    return _optional(decoder) if None in get_args(annotation) else decoder


def _optional(item: Decoder) -> Decoder:
    def decode_optional(value: types_pb2.Value, files: Files) -> Any:
        return None if value.WhichOneof("kind") == "null" else item(value, files)

    return decode_optional


def _union(annotation: Any) -> Decoder:
    arms = [arm for arm in get_args(annotation) if arm is not type(None)]
    if len(arms) == 1:
        decoder = _build(arms[0])
    else:
        # The order of the type, in which each value goes to the narrowest arm that fits.
        ordered = sorted(arms, key=lambda arm: _rank(annotation, arm))
        decoder = _first_of([_build(arm) for arm in ordered], describe(type_of(annotation)))
    return _optional(decoder) if len(arms) < len(get_args(annotation)) else decoder


def _rank(annotation: Any, arm: Any) -> int:
    union = type_of(annotation)
    if union.WhichOneof("kind") == "optional":
        union = union.optional.item
    type_ = type_of(arm)
    return next((index for index, one in enumerate(union.union.arms) if one == type_), len(union.union.arms))


def _first_of(arms: list[Decoder], words: str) -> Decoder:
    def decode_union(value: types_pb2.Value, files: Files) -> Any:
        if is_spilled(value):
            value = unspill(value, files)
        inner: BadValue | None = None
        for arm in arms:
            try:
                return arm(value, files)
            except BadValue as error:
                if error.path and inner is None:
                    inner = error
        raise inner or BadValue(expected=words, found=found_in(value))

    return decode_union


def _list(item: Decoder, words: str) -> Decoder:
    def decode_list(value: types_pb2.Value, files: Files) -> Any:
        if value.WhichOneof("kind") != "list":
            return _other(value, files, decode_list, words)
        items: list[Any] = []
        try:
            for element in value.list.items:
                items.append(item(element, files))
        except BadValue as error:
            raise error.under(f"[{len(items)}]") from None
        return items

    return decode_list


def _map(item: Decoder, words: str) -> Decoder:
    def decode_map(value: types_pb2.Value, files: Files) -> Any:
        if value.WhichOneof("kind") != "map":
            return _other(value, files, decode_map, words)
        keys, values = value.map.keys, value.map.values
        if len(keys) != len(values) or len(set(keys)) != len(keys):
            raise BadValue(expected=words, found="a map with doubled or missing keys")
        result: dict[str, Any] = {}
        for key, element in zip(keys, values, strict=True):
            try:
                result[key] = item(element, files)
            except BadValue as error:
                raise error.under(f"[{key!r}]") from None
        return result

    return decode_map


def _enum(cls: type[enum.Enum]) -> Decoder:
    members = {member.name: member for member in cls}

    def decode_member(value: types_pb2.Value, files: Files) -> Any:
        if value.WhichOneof("kind") != "member":
            return _other(value, files, decode_member, f"a member of {cls.__qualname__}")
        if value.member not in members:
            raise BadValue(expected=f"a member of {cls.__qualname__}: {', '.join(members)}", found=show(value.member))
        return members[value.member]

    return decode_member


def _tuple(annotation: Any) -> Decoder:
    items, words = get_args(annotation), describe(type_of(annotation))
    if len(items) == 2 and items[1] is ...:
        as_list = _list(_build(items[0]), words)
        return lambda value, files: tuple(as_list(value, files))
    decoders = [_build(item) for item in items]

    def decode_tuple(value: types_pb2.Value, files: Files) -> Any:
        if value.WhichOneof("kind") != "record":
            return _other(value, files, decode_tuple, words)
        fields = value.record.fields
        if len(fields) != len(decoders):
            raise BadValue(expected=f"{words}, of {len(decoders)} items", found=f"{len(fields)} items")
        parts: list[Any] = []
        try:
            for decoder, field in zip(decoders, fields, strict=True):
                parts.append(decoder(field, files))
        except BadValue as error:
            raise error.under(f"[{len(parts)}]") from None
        return tuple(parts)

    return decode_tuple


def _record(annotation: Any) -> Decoder:
    cls: Any = record_class(annotation)
    left_out = keys_left_out(cls) if is_typed_dict(cls) else frozenset()
    decoders = [(name, _build(hint)) for name, hint in (record_fields(annotation) or {}).items()]
    words = describe(type_of(annotation))
    by_name = dataclasses.is_dataclass(cls) or is_typed_dict(cls)

    def decode_record(value: types_pb2.Value, files: Files) -> Any:
        if value.WhichOneof("kind") != "record":
            return _other(value, files, decode_record, words)
        fields = value.record.fields
        if len(fields) != len(decoders):
            raise BadValue(expected=f"{words} of {len(decoders)} fields", found=f"{len(fields)} fields")
        parts: dict[str, Any] = {}
        for (name, decoder), field in zip(decoders, fields, strict=True):
            if name in left_out and field.WhichOneof("kind") == "null":
                continue
            try:
                parts[name] = decoder(field, files)
            except BadValue as error:
                raise error.under(f".{name}") from None
        return cls(**parts) if by_name else cls(*parts.values())

    return decode_record


def _moment(moment: Moment) -> Decoder:
    def decode_moment(value: types_pb2.Value, files: Files) -> Any:
        return moment.check(unspill(value, files) if is_spilled(value) else value)

    return decode_moment


def _semantic(cls: Any, declared: Any) -> Decoder:
    """declared: the annotation with its arguments, such as `Dataset[Row]`, which objects that want to know are told."""

    def decode_semantic(value: types_pb2.Value, files: Files) -> Any:
        if is_spilled(value):
            value = unspill(value, files)
        obj = cls.__mwfs_decode__(value, files)
        if declared is not None and hasattr(obj, "__mwfs_declared__"):
            obj.__mwfs_declared__(declared)
        return obj

    return decode_semantic
