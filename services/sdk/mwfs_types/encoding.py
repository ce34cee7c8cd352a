"""From Python objects to values: `encode(3, type_of(int))`."""

import numbers
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from mwfs_api.types.v1 import types_pb2
from mwfs_types.constraints import narrowing_of
from mwfs_types.errors import BadValue, UnsupportedType, show
from mwfs_types.files import NO_FILES, Files
from mwfs_types.limits import MAX_DEPTH
from mwfs_types.moments import MOMENTS
from mwfs_types.rendering import describe
from mwfs_types.type_rules import parse_type

Encoder = Callable[[Any, Files], types_pb2.Value]

_Value = types_pb2.Value


def encode(obj: Any, type_: types_pb2.Type, files: Files = NO_FILES, *, path: str = "") -> types_pb2.Value:
    """The value of a Python object. Raises BadValue where it is not of the type; `path` says where the object came from."""
    try:
        return encoder_for(type_.SerializeToString())(obj, files)
    except BadValue as error:
        raise (error.under(path) if path else error) from None


@lru_cache(maxsize=4096)
def encoder_for(serialised_type: bytes) -> Encoder:
    """The function that encodes objects of one type; keep it where the same type is encoded often."""
    return _build(parse_type(serialised_type), 0)


def _build(type_: types_pb2.Type, depth: int) -> Encoder:
    if depth > MAX_DEPTH:
        raise UnsupportedType(f"Types may nest at most {MAX_DEPTH} levels.")
    encoder = _build_plain(type_, depth)
    test = narrowing_of(type_)
    if test is None:
        return encoder
    is_list = type_.WhichOneof("kind") == "list"

    def encode_narrowed(obj: Any, files: Files) -> types_pb2.Value:
        value = encoder(obj, files)
        expected = test(value.list.items if is_list else getattr(value, value.WhichOneof("kind") or "null"))
        if expected:
            raise BadValue(expected=expected, found=show(obj))
        return value

    return encode_narrowed


def _build_plain(type_: types_pb2.Type, depth: int) -> Encoder:
    kind = type_.WhichOneof("kind")
    if kind == "scalar" and type_.scalar in _SCALARS:
        return _SCALARS[type_.scalar]
    if kind == "optional":
        return _optional(_build(type_.optional.item, depth + 1))
    if kind == "list":
        return _list(_build(type_.list.item, depth + 1), describe(type_))
    if kind == "map":
        return _map(_build(type_.map.value, depth + 1), describe(type_))
    if kind == "enum":
        return _enum(type_.enum)
    if kind == "record":
        return _record(type_.record, depth)
    if kind == "tuple":
        return _tuple([_build(item, depth + 1) for item in type_.tuple.items], describe(type_))
    if kind == "semantic":
        return _semantic(type_)
    if kind == "union":
        # An int that does not fit is no float: that would lose digits.
        whole = any(arm.scalar == types_pb2.SCALAR_KIND_INT for arm in type_.union.arms)
        return _union([_build(arm, depth + 1) for arm in type_.union.arms], describe(type_), whole)
    raise UnsupportedType("The type has no kind that this version knows. Update mwfs.")


def _encode_null(obj: Any, files: Files) -> types_pb2.Value:
    if obj is None:
        return _Value(null=True)
    raise BadValue(expected="None", found=show(obj))


def _encode_bool(obj: Any, files: Files) -> types_pb2.Value:
    if obj is True or obj is False:
        return _Value(boolean=obj)
    plain = _out_of_numpy(obj)
    if type(plain) is bool:
        return _Value(boolean=plain)
    raise BadValue(expected="bool", found=show(obj))


def _encode_int(obj: Any, files: Files) -> types_pb2.Value:
    if type(obj) is not int:
        if isinstance(obj, bool) or not isinstance(obj, numbers.Integral):
            fix = "Write True as 1 by int(…)." if isinstance(obj, bool) else ""
            raise BadValue(expected="int", found=show(obj), fix=fix)
        obj = int(obj)
    try:
        return _Value(integer=obj)
    except ValueError:
        raise BadValue(
            expected="an int of 64 bits", found=show(obj), fix="Use float or str for larger numbers."
        ) from None


def _encode_float(obj: Any, files: Files) -> types_pb2.Value:
    if type(obj) is float:
        return _Value(number=obj)
    if isinstance(obj, bool) or not isinstance(obj, numbers.Real):
        raise BadValue(expected="float", found=show(obj))
    try:
        return _Value(number=float(obj))
    except OverflowError:
        raise BadValue(expected="float", found=show(obj), fix="It is too large for 64 bits.") from None


def _encode_text(obj: Any, files: Files) -> types_pb2.Value:
    if not isinstance(obj, str):
        raise BadValue(expected="str", found=show(obj))
    try:
        return _Value(text=obj if type(obj) is str else str.__str__(obj))
    except UnicodeEncodeError:
        raise BadValue(
            expected="text in Unicode", found="a lone surrogate", fix="Use bytes for text of an unknown encoding."
        ) from None


def _encode_data(obj: Any, files: Files) -> types_pb2.Value:
    if isinstance(obj, bytes | bytearray | memoryview):
        return _Value(data=bytes(obj))
    raise BadValue(expected="bytes", found=show(obj))


_SCALARS: dict[int, Encoder] = {
    types_pb2.SCALAR_KIND_NULL: _encode_null,
    types_pb2.SCALAR_KIND_BOOL: _encode_bool,
    types_pb2.SCALAR_KIND_INT: _encode_int,
    types_pb2.SCALAR_KIND_FLOAT: _encode_float,
    types_pb2.SCALAR_KIND_STRING: _encode_text,
    types_pb2.SCALAR_KIND_BYTES: _encode_data,
}


def _out_of_numpy(obj: Any) -> Any:
    """numpy's bool is no bool; its other scalars register with `numbers`."""
    return obj.item() if type(obj).__module__ == "numpy" and getattr(obj, "shape", None) == () else obj


def _optional(item: Encoder) -> Encoder:
    return lambda obj, files: _Value(null=True) if obj is None else item(obj, files)


def _list(item: Encoder, words: str) -> Encoder:
    def encode_list(obj: Any, files: Files) -> types_pb2.Value:
        if not isinstance(obj, list | tuple) or hasattr(obj, "_fields"):
            fix = "Call .tolist() on it." if hasattr(obj, "tolist") else ""
            raise BadValue(expected=words, found=show(obj), fix=fix)
        items: list[types_pb2.Value] = []
        try:
            for element in obj:
                items.append(item(element, files))
        except BadValue as error:
            raise error.under(f"[{len(items)}]") from None
        return _Value(list=types_pb2.ListValue(items=items))

    return encode_list


def _tuple(items: list[Encoder], words: str) -> Encoder:
    def encode_tuple(obj: Any, files: Files) -> types_pb2.Value:
        if not isinstance(obj, list | tuple) or hasattr(obj, "_fields"):
            raise BadValue(expected=words, found=show(obj))
        if len(obj) != len(items):
            raise BadValue(expected=f"{words}, of {len(items)} items", found=f"{len(obj)} items")
        fields: list[types_pb2.Value] = []
        try:
            for encoder, element in zip(items, obj, strict=True):
                fields.append(encoder(element, files))
        except BadValue as error:
            raise error.under(f"[{len(fields)}]") from None
        return _Value(record=types_pb2.RecordValue(fields=fields))

    return encode_tuple


def _map(item: Encoder, words: str) -> Encoder:
    def encode_map(obj: Any, files: Files) -> types_pb2.Value:
        if not isinstance(obj, dict):
            raise BadValue(expected=words, found=show(obj))
        for key in obj:
            if not isinstance(key, str):
                raise BadValue(expected="keys that are str", found=show(key), fix="Write str(key).")
            _encode_text(key, files)
        value = _Value()
        value.map.SetInParent()
        # By UTF-8, like every other reader; by code point is the same order.
        for key in sorted(obj):
            try:
                value.map.values.append(item(obj[key], files))
            except BadValue as error:
                raise error.under(f"[{key!r}]") from None
            value.map.keys.append(key)
        return value

    return encode_map


def _enum(type_: types_pb2.EnumType) -> Encoder:
    members = frozenset(type_.members)
    name = type_.name
    short = name.rpartition(".")[2]

    def encode_member(obj: Any, files: Files) -> types_pb2.Value:
        cls = type(obj)
        if f"{cls.__module__}.{cls.__qualname__}" != name:
            fix = f"Write {short}.{next(iter(type_.members), '')}." if isinstance(obj, str) else ""
            raise BadValue(expected=f"a member of {short}", found=show(obj), fix=fix)
        if obj.name not in members:
            raise BadValue(expected=f"a member of {short}", found=str(obj.name), fix="Compile again: the enum changed.")
        return _Value(member=obj.name)

    return encode_member


def _record(type_: types_pb2.RecordType, depth: int) -> Encoder:
    encoders = [(field.name, _build(field.type, depth + 1)) for field in type_.fields]
    short = describe(types_pb2.Type(record=type_))
    if type_.is_dict:
        return _typed_dict(type_, [encoder for _, encoder in encoders], short)
    # An object of a generic class does not know the arguments of the class; its fields are checked.
    name = type_.name.partition("[")[0]

    def encode_record(obj: Any, files: Files) -> types_pb2.Value:
        if not any(f"{cls.__module__}.{cls.__qualname__}" == name for cls in type(obj).__mro__):
            raise BadValue(expected=short, found=show(obj))
        fields: list[types_pb2.Value] = []
        for field, encoder in encoders:
            try:
                fields.append(encoder(getattr(obj, field), files))
            except AttributeError:
                raise BadValue(expected=f"{short} with a field {field!r}", found=show(obj)) from None
            except BadValue as error:
                raise error.under(f".{field}") from None
        return _Value(record=types_pb2.RecordValue(fields=fields))

    return encode_record


def _typed_dict(type_: types_pb2.RecordType, encoders: list[Encoder], words: str) -> Encoder:
    names = [field.name for field in type_.fields]
    optional = [field.type.WhichOneof("kind") == "optional" for field in type_.fields]

    def encode_typed_dict(obj: Any, files: Files) -> types_pb2.Value:
        if not isinstance(obj, dict):
            raise BadValue(expected=f"{words}, a dict", found=show(obj))
        for key in obj:
            if key not in names:
                raise BadValue(expected=f"a key of {words}: {', '.join(names[:20])}", found=show(key))
        fields: list[types_pb2.Value] = []
        for name, may_lack, encoder in zip(names, optional, encoders, strict=True):
            if name not in obj and not may_lack:
                raise BadValue(expected=f"{words} with a key {name!r}", found="a dict without it")
            try:
                fields.append(encoder(obj.get(name), files))
            except BadValue as error:
                raise error.under(f".{name}") from None
        return _Value(record=types_pb2.RecordValue(fields=fields))

    return encode_typed_dict


def _semantic(type_: types_pb2.Type) -> Encoder:
    if type_.semantic.name in MOMENTS:
        moment = MOMENTS[type_.semantic.name]
        return lambda obj, files: moment.encode(obj)
    declared = (type_.semantic.name, type_.semantic.version)
    taken = {declared, *((type_.semantic.name, one.version) for one in type_.semantic.reads)}
    words = describe(type_)

    def encode_semantic(obj: Any, files: Files) -> types_pb2.Value:
        if getattr(type(obj), "__mwfs_semantic__", None) not in taken:
            fix = f"Write {declared[0]}({obj!r})." if isinstance(obj, str) and len(obj) < 200 else ""
            if isinstance(obj, dict) and declared[0] in ("Metrics", "HyperparameterSet"):
                fix = f"Write {declared[0]}({{…}})."
            raise BadValue(expected=words, found=show(obj), fix=fix)
        check = getattr(obj, "__mwfs_check__", None)
        if check is not None:
            check(type_)
        value = obj.__mwfs_encode__(files)
        if not isinstance(value, types_pb2.Value):
            raise BadValue(expected=f"a Value from {type(obj).__name__}.__mwfs_encode__", found=show(value))
        return value

    return encode_semantic


def _union(arms: list[Encoder], words: str, whole: bool) -> Encoder:
    def encode_union(obj: Any, files: Files) -> types_pb2.Value:
        if whole and isinstance(obj, int) and not -(1 << 63) <= obj < 1 << 63:
            return _encode_int(obj, files)
        inner: BadValue | None = None
        for arm in arms:
            try:
                return arm(obj, files)
            except BadValue as error:
                if error.path and inner is None:
                    inner = error
        raise inner or BadValue(expected=words, found=show(obj))

    return encode_union
