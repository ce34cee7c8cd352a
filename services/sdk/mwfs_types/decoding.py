"""From values to Python objects: `decode(value, list[int])`."""

import dataclasses
import enum
import types
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from mwfs_api.types.v1 import types_pb2
from mwfs_types.annotations import record_fields, semantic_of, type_of
from mwfs_types.constraints import narrowing_of
from mwfs_types.errors import BadValue, show
from mwfs_types.files import NO_FILES, Files, is_spilled, unspill
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
    if semantic_of(annotation) is not None:
        return _semantic(origin or annotation)
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
    if origin is dict:
        return _map(_build(get_args(annotation)[1]), describe(type_of(annotation)))
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    if hasattr(annotation, "__supertype__"):
        return _build(annotation.__supertype__)
    if hasattr(annotation, "__value__"):
        return _build(annotation.__value__)
    if issubclass(annotation, enum.Enum):
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


def _record(cls: type[Any]) -> Decoder:
    decoders = [(name, _build(annotation)) for name, annotation in (record_fields(cls) or {}).items()]
    by_name = dataclasses.is_dataclass(cls)

    def decode_record(value: types_pb2.Value, files: Files) -> Any:
        if value.WhichOneof("kind") != "record":
            return _other(value, files, decode_record, cls.__qualname__)
        fields = value.record.fields
        if len(fields) != len(decoders):
            raise BadValue(expected=f"{cls.__qualname__} of {len(decoders)} fields", found=f"{len(fields)} fields")
        parts: dict[str, Any] = {}
        for (name, decoder), field in zip(decoders, fields, strict=True):
            try:
                parts[name] = decoder(field, files)
            except BadValue as error:
                raise error.under(f".{name}") from None
        return cls(**parts) if by_name else cls(*parts.values())

    return decode_record


def _semantic(cls: Any) -> Decoder:
    def decode_semantic(value: types_pb2.Value, files: Files) -> Any:
        if is_spilled(value):
            value = unspill(value, files)
        return cls.__mwfs_decode__(value, files)

    return decode_semantic
