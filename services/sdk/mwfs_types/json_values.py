"""Values as JSON and back: `value_from_json`, `value_to_json`. Servers and the CLI use it: no user code is needed."""

import base64
import binascii
import difflib
import math
from collections.abc import Iterable
from typing import Any

from mwfs_api.types.v1 import types_pb2
from mwfs_types.checking import checker_for, first_fit
from mwfs_types.constraints import narrowing_of
from mwfs_types.errors import BadValue, UnsupportedType, show
from mwfs_types.files import is_spilled
from mwfs_types.limits import MAX_DEPTH, MAX_VALUE_DEPTH
from mwfs_types.moments import MOMENTS
from mwfs_types.rendering import describe
from mwfs_types.semantics import layouts_of, representation_of
from mwfs_types.shapes import check_artifact, check_well_formed, found_in

_Value = types_pb2.Value
_ARTIFACT_KEYS = {"digest", "size", "encoding", "file_name"}


def value_from_json(obj: Any, type_: types_pb2.Type, *, path: str = "", patterns: bool = True) -> types_pb2.Value:
    """The value that a JSON document means. Raises BadValue, naming the path, what was expected and what was found.

    Give `patterns=False` on a server: see `checking.check`.
    """
    try:
        return _read(obj, type_, patterns, 0)
    except BadValue as error:
        raise (error.under(path) if path else error) from None


def value_to_json(value: types_pb2.Value, type_: types_pb2.Type) -> Any:
    """The JSON document of a value. A number that JSON lacks becomes "NaN", "Infinity" or "-Infinity". Raises BadValue.

    A value that was stored as an artifact, spilled ones included, is shown as the artifact.
    """
    return _write(value, type_, 0)


# Reading.


def _read(obj: Any, type_: types_pb2.Type, patterns: bool, depth: int) -> types_pb2.Value:
    if depth > MAX_DEPTH:
        raise UnsupportedType(f"Types may nest at most {MAX_DEPTH} levels.")
    value = _read_plain(obj, type_, patterns, depth)
    narrowing = narrowing_of(type_, patterns=patterns)
    if narrowing is not None:
        kind = value.WhichOneof("kind") or "null"
        expected = narrowing(value.list.items if kind == "list" else getattr(value, kind))
        if expected:
            raise BadValue(expected=expected, found=show(obj))
    return value


def _read_plain(obj: Any, type_: types_pb2.Type, patterns: bool, depth: int) -> types_pb2.Value:
    match type_.WhichOneof("kind"):
        case "scalar":
            return _read_scalar(obj, type_.scalar)
        case "optional":
            return _Value(null=True) if obj is None else _read(obj, type_.optional.item, patterns, depth + 1)
        case "list":
            return _read_list(obj, type_, patterns, depth)
        case "tuple":
            return _read_tuple(obj, type_, patterns, depth)
        case "map":
            return _read_map(obj, type_, patterns, depth)
        case "enum":
            if isinstance(obj, str) and obj in type_.enum.members:
                return _Value(member=obj)
            raise BadValue(
                expected=f"a member of {describe(type_)}: {_few(type_.enum.members)}",
                found=show(obj),
                fix=_did_you_mean(obj, type_.enum.members),
            )
        case "record":
            return _read_record(obj, type_, patterns, depth)
        case "semantic":
            return _read_semantic(obj, type_, patterns, depth + 1)
        case "union":
            return _read_union(obj, type_, patterns, depth)
    raise UnsupportedType("The type has no kind that this version knows. Update mwfs.")


def _read_scalar(obj: Any, scalar: int) -> types_pb2.Value:
    match scalar:
        case types_pb2.SCALAR_KIND_NULL:
            if obj is None:
                return _Value(null=True)
            raise BadValue(expected="null", found=show(obj))
        case types_pb2.SCALAR_KIND_BOOL:
            if isinstance(obj, bool):
                return _Value(boolean=obj)
            raise BadValue(expected="bool", found=show(obj), fix="Write true or false.")
        case types_pb2.SCALAR_KIND_INT:
            if isinstance(obj, bool) or not isinstance(obj, int):
                raise BadValue(expected="int", found=show(obj))
            _check_long(obj)
            return _Value(integer=obj)
        case types_pb2.SCALAR_KIND_FLOAT:
            if isinstance(obj, bool) or not isinstance(obj, int | float):
                raise BadValue(expected="float", found=show(obj))
            return _Value(number=_finite(obj))
        case types_pb2.SCALAR_KIND_STRING:
            return _Value(text=_text(obj))
        case types_pb2.SCALAR_KIND_BYTES:
            try:
                return _Value(data=base64.b64decode(_text(obj), validate=True))
            except (binascii.Error, ValueError, BadValue):
                raise BadValue(expected="bytes, as text in base64", found=show(obj)) from None
    raise UnsupportedType(f"There is no scalar type number {scalar}. Update mwfs.")


def _check_long(obj: int) -> None:
    if not -(1 << 63) <= obj < 1 << 63:
        raise BadValue(expected="an int of 64 bits", found=show(obj))


def _finite(obj: int | float) -> float:
    try:
        number = float(obj)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise BadValue(expected="a finite number of 64 bits", found=show(obj))
    return number


def _text(obj: Any) -> str:
    if not isinstance(obj, str):
        raise BadValue(expected="str", found=show(obj))
    try:
        obj.encode()
    except UnicodeEncodeError:
        raise BadValue(expected="text in Unicode", found="a lone surrogate") from None
    return obj


def _read_list(obj: Any, type_: types_pb2.Type, patterns: bool, depth: int) -> types_pb2.Value:
    if not isinstance(obj, list):
        raise BadValue(expected=describe(type_), found=show(obj), fix="Write a JSON list, such as [1, 2].")
    items: list[types_pb2.Value] = []
    try:
        for element in obj:
            items.append(_read(element, type_.list.item, patterns, depth + 1))
    except BadValue as error:
        raise error.under(f"[{len(items)}]") from None
    return _Value(list=types_pb2.ListValue(items=items))


def _read_map(obj: Any, type_: types_pb2.Type, patterns: bool, depth: int) -> types_pb2.Value:
    if not isinstance(obj, dict):
        raise BadValue(expected=describe(type_), found=show(obj), fix='Write a JSON object, such as {"a": 1}.')
    values: list[types_pb2.Value] = []
    keys = sorted(map(_text, obj))
    for key in keys:
        try:
            values.append(_read(obj[key], type_.map.value, patterns, depth + 1))
        except BadValue as error:
            raise error.under(f"[{key!r}]") from None
    return _Value(map=types_pb2.MapValue(keys=keys, values=values))


def _read_tuple(obj: Any, type_: types_pb2.Type, patterns: bool, depth: int) -> types_pb2.Value:
    items = type_.tuple.items
    if not isinstance(obj, list) or len(obj) != len(items):
        raise BadValue(expected=f"{describe(type_)}, a JSON array of {len(items)} items", found=show(obj))
    fields: list[types_pb2.Value] = []
    try:
        for element, item in zip(obj, items, strict=True):
            fields.append(_read(element, item, patterns, depth + 1))
    except BadValue as error:
        raise error.under(f"[{len(fields)}]") from None
    return _Value(record=types_pb2.RecordValue(fields=fields))


def _read_record(obj: Any, type_: types_pb2.Type, patterns: bool, depth: int) -> types_pb2.Value:
    if not isinstance(obj, dict):
        raise BadValue(expected=describe(type_), found=show(obj), fix="Write a JSON object with its fields.")
    fields = type_.record.fields
    names = [field.name for field in fields]
    for key in obj:
        if key not in names:
            fix = _did_you_mean(key, names) or f"The fields are {_few(names)}."
            raise BadValue(expected=f"a field of {describe(type_)}", found=show(key), fix=fix)
    values: list[types_pb2.Value] = []
    for field in fields:
        if field.name in obj:
            try:
                values.append(_read(obj[field.name], field.type, patterns, depth + 1))
            except BadValue as error:
                raise error.under(f".{field.name}") from None
        elif field.HasField("default"):
            values.append(field.default)
        elif field.type.WhichOneof("kind") == "optional":
            values.append(_Value(null=True))
        else:
            raise BadValue(expected=describe(field.type), found="nothing", path=f".{field.name}", fix="Add the field.")
    return _Value(record=types_pb2.RecordValue(fields=values))


def _read_semantic(obj: Any, type_: types_pb2.Type, patterns: bool, depth: int) -> types_pb2.Value:
    if isinstance(obj, dict) and {"digest", "encoding"} <= set(obj) <= _ARTIFACT_KEYS:
        size = obj.get("size", 0)
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size < 1 << 63:
            raise BadValue(expected="a size in bytes", found=show(size), path=".size")
        artifact = types_pb2.Artifact(
            digest=_text(obj["digest"]),
            size=size,
            encoding=_text(obj["encoding"]),
            file_name=_text(obj.get("file_name", "")),
        )
        check_artifact(artifact)
        return _Value(artifact=artifact)
    if type_.semantic.name in MOMENTS:
        moment = MOMENTS[type_.semantic.name]
        return moment.encode(moment.parse(_text(obj)))
    representation = representation_of(type_.semantic)
    if representation is not None:
        return _read(obj, representation, patterns, depth)
    fix = "Files are uploaded by the client: give their path to `mwfs run` or the Python client."
    raise BadValue(expected=f"{describe(type_)}, as an artifact", found=show(obj), fix=fix)


def _read_union(obj: Any, type_: types_pb2.Type, patterns: bool, depth: int) -> types_pb2.Value:
    inner: BadValue | None = None
    if isinstance(obj, int) and any(arm.scalar == types_pb2.SCALAR_KIND_INT for arm in type_.union.arms):
        _check_long(obj)
    for arm in type_.union.arms:
        try:
            return _read(obj, arm, patterns, depth + 1)
        except BadValue as error:
            if error.path and inner is None:
                inner = error
    raise inner or BadValue(expected=describe(type_), found=show(obj))


def _did_you_mean(obj: Any, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(obj[:100], list(names)[:1000], n=1) if isinstance(obj, str) else []
    return f"Did you mean {close[0]!r}?" if close else ""


def _few(names: Iterable[str]) -> str:
    shown = list(names)
    return ", ".join(shown[:20]) + (", …" if len(shown) > 20 else "")


# Writing.


def _write(value: types_pb2.Value, type_: types_pb2.Type, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise UnsupportedType(f"Types may nest at most {MAX_DEPTH} levels.")
    if is_spilled(value):
        return _untyped(value, 0)
    have, kind = value.WhichOneof("kind"), type_.WhichOneof("kind")
    if kind == "union":
        return _write(value, _fitting(value, type_.union.arms, type_), depth + 1)
    if kind == "optional":
        return None if have == "null" else _write(value, type_.optional.item, depth + 1)
    if kind == "semantic":
        layouts = layouts_of(type_.semantic)
        if layouts and have != "artifact":
            return _write(value, layouts[0] if len(layouts) == 1 else _fitting(value, layouts, type_), depth + 1)
        check_well_formed(value)
        return _untyped(value, 0)
    if kind == "list" and have == "list":
        return [_write(item, type_.list.item, depth + 1) for item in value.list.items]
    if kind == "map" and have == "map" and len(value.map.keys) == len(value.map.values):
        pairs = zip(value.map.keys, value.map.values, strict=True)
        return {key: _write(item, type_.map.value, depth + 1) for key, item in pairs}
    if kind == "record" and have == "record" and len(value.record.fields) == len(type_.record.fields):
        fields = zip(type_.record.fields, value.record.fields, strict=True)
        return {field.name: _write(item, field.type, depth + 1) for field, item in fields}
    if kind == "tuple" and have == "record" and len(value.record.fields) == len(type_.tuple.items):
        return [
            _write(field, item, depth + 1) for item, field in zip(type_.tuple.items, value.record.fields, strict=True)
        ]
    if kind in ("scalar", "enum"):
        checker_for(type_.SerializeToString())(value)
        if type_.scalar == types_pb2.SCALAR_KIND_FLOAT and have == "integer":
            return float(value.integer)
        return _untyped(value, 0)
    raise BadValue(expected=describe(type_), found=found_in(value))


def _fitting(value: types_pb2.Value, arms: Iterable[types_pb2.Type], type_: types_pb2.Type) -> types_pb2.Type:
    arm = first_fit(value, arms)
    if arm is None:
        raise BadValue(expected=describe(type_), found=found_in(value))
    return arm


def _untyped(value: types_pb2.Value, depth: int) -> Any:
    if depth > MAX_VALUE_DEPTH:
        raise BadValue(expected=f"at most {MAX_VALUE_DEPTH} levels of nesting", found="more")
    match value.WhichOneof("kind"):
        case None | "null":
            return None
        case "number":
            number = value.number
            if math.isfinite(number):
                return number
            return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
        case "data":
            return base64.b64encode(value.data).decode()
        case "list":
            return [_untyped(item, depth + 1) for item in value.list.items]
        case "record":
            return [_untyped(item, depth + 1) for item in value.record.fields]
        case "map":
            pairs = zip(value.map.keys, value.map.values, strict=True)
            return {key: _untyped(item, depth + 1) for key, item in pairs}
        case "artifact":
            artifact = value.artifact
            shown = {"digest": artifact.digest, "size": artifact.size, "encoding": artifact.encoding}
            return shown | ({"file_name": artifact.file_name} if artifact.file_name else {})
        case kind:
            return getattr(value, kind)
