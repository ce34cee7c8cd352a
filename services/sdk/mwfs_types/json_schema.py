"""Types as JSON Schema (2020-12), for forms and for anyone who sends inputs: `schema_of`, `inputs_schema`.

Reading and writing the values themselves is in `json_values.py`, and given again here.
"""

from collections.abc import Iterable
from typing import Any

from mwfs_api.types.v1 import types_pb2
from mwfs_types.errors import BadValue, UnsupportedType
from mwfs_types.json_text import load_json
from mwfs_types.json_values import value_from_json, value_to_json
from mwfs_types.limits import MAX_DEPTH
from mwfs_types.moments import MOMENTS
from mwfs_types.rendering import describe
from mwfs_types.semantics import representation_of

__all__ = ["BadValue", "inputs_schema", "load_json", "schema_of", "value_from_json", "value_to_json"]

Schema = dict[str, Any]

_SCALARS: dict[int, Schema] = {
    types_pb2.SCALAR_KIND_NULL: {"type": "null"},
    types_pb2.SCALAR_KIND_BOOL: {"type": "boolean"},
    types_pb2.SCALAR_KIND_INT: {"type": "integer"},
    types_pb2.SCALAR_KIND_FLOAT: {"type": "number"},
    types_pb2.SCALAR_KIND_STRING: {"type": "string"},
    types_pb2.SCALAR_KIND_BYTES: {"type": "string", "contentEncoding": "base64"},
}


def schema_of(type_: types_pb2.Type) -> Schema:
    """The schema of the JSON documents that `value_from_json` takes for this type. Without references: types cannot recur."""
    return _schema(type_, 0)


def inputs_schema(inputs: Iterable[tuple[str, types_pb2.Type, types_pb2.Value | None, str]]) -> Schema:
    """The schema of a workflow's inputs, each (name, type, default or None, documentation), as one object.

    An optional input may be left out or null, and its schema is otherwise that of what it holds, so that forms show one field.
    """
    schema = _object(inputs, 0)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _schema(type_: types_pb2.Type, depth: int) -> Schema:
    if depth > MAX_DEPTH:
        raise UnsupportedType(f"Types may nest at most {MAX_DEPTH} levels.")
    schema = _plain(type_, depth)
    if type_.HasField("constraints"):
        _narrow(schema, type_)
    return schema


def _plain(type_: types_pb2.Type, depth: int) -> Schema:
    below = depth + 1
    match type_.WhichOneof("kind"):
        case "scalar" if type_.scalar in _SCALARS:
            return dict(_SCALARS[type_.scalar])
        case "optional":
            return {"anyOf": [_schema(type_.optional.item, below), {"type": "null"}]}
        case "list":
            return {"type": "array", "items": _schema(type_.list.item, below)}
        case "map":
            return {"type": "object", "additionalProperties": _schema(type_.map.value, below)}
        case "tuple":
            items = [_schema(item, below) for item in type_.tuple.items]
            return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
        case "enum":
            return {"type": "string", "title": describe(type_), "enum": list(type_.enum.members)}
        case "record":
            rows = (
                (field.name, field.type, field.default if field.HasField("default") else None, field.doc)
                for field in type_.record.fields
            )
            return {**_object(rows, below), "title": describe(type_)}
        case "semantic":
            return _semantic(type_, below)
        case "union":
            return {"anyOf": [{"title": describe(arm), **_schema(arm, below)} for arm in type_.union.arms]}
    raise UnsupportedType("The type has no kind that this version knows. Update mwfs.")


def _object(rows: Iterable[tuple[str, types_pb2.Type, types_pb2.Value | None, str]], depth: int) -> Schema:
    properties: Schema = {}
    required: list[str] = []
    for name, type_, default, doc in rows:
        optional = type_.WhichOneof("kind") == "optional"
        title = name.replace("_", " ").strip()
        schema = _nullable(_schema(type_.optional.item, depth + 1)) if optional else _schema(type_, depth + 1)
        schema["title"] = title[:1].upper() + title[1:]
        if doc:
            schema["description"] = doc
        if default is not None and default.WhichOneof("kind") != "null":
            schema["default"] = value_to_json(default, type_)
        if default is None and not optional:
            required.append(name)
        properties[name] = schema
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _nullable(schema: Schema) -> Schema:
    """The same, or null."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    nullable = {**schema, "type": [schema["type"], "null"]}
    return {**nullable, "enum": [*schema["enum"], None]} if "enum" in schema else nullable


def _semantic(type_: types_pb2.Type, depth: int) -> Schema:
    semantic = type_.semantic
    mark: Schema = {"title": describe(type_), "x-mwfs-semantic": {"name": semantic.name, "version": semantic.version}}
    mark |= {f"x-mwfs-{key}": name for key, name in (("viewer", semantic.viewer), ("widget", semantic.widget)) if name}
    if semantic.name in MOMENTS:
        return {"type": "string", **MOMENTS[semantic.name].schema, **mark}
    representation = representation_of(semantic)
    if representation is not None:
        return {**_schema(representation, depth), **mark}
    return {
        **mark,
        "type": "object",
        "properties": {
            "digest": {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"},
            "size": {"type": "integer", "minimum": 0},
            "encoding": {"type": "string"},
            "file_name": {"type": "string"},
        },
        "required": ["digest", "encoding"],
        "additionalProperties": False,
    }


def _narrow(schema: Schema, type_: types_pb2.Type) -> None:
    constraints = type_.constraints
    for keyword, present, bound in (
        ("minimum", constraints.HasField("minimum"), constraints.minimum),
        ("maximum", constraints.HasField("maximum"), constraints.maximum),
        ("exclusiveMinimum", constraints.HasField("exclusive_minimum"), constraints.exclusive_minimum),
        ("exclusiveMaximum", constraints.HasField("exclusive_maximum"), constraints.exclusive_maximum),
    ):
        if present:
            schema[keyword] = int(bound) if bound == int(bound) else bound
    what = "Items" if schema.get("type") == "array" else "Length"
    if constraints.HasField("min_length"):
        schema[f"min{what}"] = constraints.min_length
    if constraints.HasField("max_length"):
        schema[f"max{what}"] = constraints.max_length
    if constraints.pattern:
        # Python's $ is also before a line feed at the end.
        schema["pattern"] = f"^(?:{constraints.pattern})$(?!\\n)"
    if constraints.choices:
        plain = types_pb2.Type(scalar=type_.scalar)
        schema["enum"] = [value_to_json(choice, plain) for choice in constraints.choices]
    if constraints.unit:
        schema["x-mwfs-unit"] = constraints.unit
