"""Inputs as they are typed on a command line, against the workflow's types."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mwfs.errors import InvalidInput
from mwfs_api.types.v1 import types_pb2

if TYPE_CHECKING:
    from mwfs.local_files import LocalFiles
    from mwfs.workflows import Workflow


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedInputs:
    """Values by name, and the local files that they refer to."""

    values: dict[str, types_pb2.Value]
    files: LocalFiles


def read_inputs(workflow: Workflow[..., Any], given: Iterable[str], inputs_file: str | None) -> TypedInputs:
    """Parses `name=value` pairs and a JSON file, hashes the files they name. Raises InvalidInput."""
    from mwfs.local_files import LocalFiles

    types = {parameter.name: parameter.type for parameter in workflow.parameters}
    documents: dict[str, object] = {}
    if inputs_file is not None:
        documents.update(_read_file(inputs_file))
        for name in documents:
            _known(name, types, workflow)
    for pair in given:
        name, equals, text = pair.partition("=")
        name = name.strip()
        if not equals or not name:
            raise InvalidInput(f"`--input {pair}` is not NAME=VALUE.", "Write --input depth=3.")
        _known(name, types, workflow)
        documents[name] = parse_text(name, text, types[name])
    files = LocalFiles()
    values = {name: to_value(name, document, types[name], files) for name, document in documents.items()}
    return TypedInputs(values=values, files=files)


def parse_text(name: str, text: str, kind: types_pb2.Type) -> object:
    """The JSON document that a typed text stands for. Scalars, enum members and paths are written plainly, all else is JSON."""
    plain = kind
    while plain.WhichOneof("kind") == "optional":
        if text in ("null", "None", ""):
            return None
        plain = plain.optional.item
    match plain.WhichOneof("kind"):
        case "scalar":
            return _scalar(text, plain.scalar)
        case "enum":
            return text
        case "semantic" if not text.lstrip().startswith("{"):
            return text
        case "union":
            try:
                return json.loads(text)
            except ValueError:
                return text
        case _:
            try:
                return json.loads(text)
            except ValueError as error:
                from mwfs_types.rendering import describe

                raise InvalidInput(
                    f"Input `{name}` is {describe(kind)} and must be written as JSON; {text!r} is not ({error}).",
                    f"Write --input '{name}={_example(plain)}'.",
                ) from None


def to_value(name: str, document: object, kind: types_pb2.Type, files: LocalFiles) -> types_pb2.Value:
    """A JSON document as a value of its type; paths become hashed files. Raises InvalidInput."""
    from mwfs_types.errors import BadValue
    from mwfs_types.json_schema import value_from_json

    try:
        return value_from_json(_with_files(name, document, kind, files), kind)
    except BadValue as error:
        raise InvalidInput(
            f"Input `{name}{error.path}`: expected {error.expected}, found {error.found}.", error.fix
        ) from None


def _with_files(where: str, document: object, kind: types_pb2.Type, files: LocalFiles) -> object:
    """The same document with every path in place of a file-like value replaced by the artifact of that file."""
    match kind.WhichOneof("kind"):
        case "optional" if document is not None:
            return _with_files(where, document, kind.optional.item, files)
        case "list" if isinstance(document, list):
            return [_with_files(f"{where}[{i}]", item, kind.list.item, files) for i, item in enumerate(document)]
        case "map" if isinstance(document, dict):
            return {
                key: _with_files(f"{where}[{key!r}]", item, kind.map.value, files) for key, item in document.items()
            }
        case "record" if isinstance(document, dict):
            fields = {each.name: each.type for each in kind.record.fields}
            return {
                key: _with_files(f"{where}.{key}", item, fields[key], files) if key in fields else item
                for key, item in document.items()
            }
        case "union" if isinstance(document, str) and not any(
            arm.scalar == types_pb2.SCALAR_KIND_STRING for arm in kind.union.arms
        ):
            for arm in kind.union.arms:
                if arm.HasField("semantic"):
                    return _with_files(where, document, arm, files)
            return document
        case "semantic" if isinstance(document, str):
            return _artifact(where, document, kind.semantic.name, files)
        case _:
            return document


def _artifact(where: str, text: str, semantic: str, files: LocalFiles) -> dict[str, object]:
    import mwfs.types as semantic_types

    path = Path(text).expanduser()
    encoding: str = getattr(getattr(semantic_types, semantic, None), "_encoding", "file")
    try:
        artifact = files.put_file(path, encoding)
    except OSError as error:
        raise InvalidInput(
            f"Input `{where}` names the file {text}, which cannot be read: {error.strerror}.",
            f"Give the path of a file, from {Path.cwd()} or absolute.",
        ) from None
    return {
        "digest": artifact.digest,
        "size": artifact.size,
        "encoding": artifact.encoding,
        "file_name": artifact.file_name,
    }


def _scalar(text: str, kind: types_pb2.ScalarKind.ValueType) -> object:
    """What is not a literal of the type stays text, and the type check says what is wrong with it."""
    match kind:
        case types_pb2.SCALAR_KIND_BOOL:
            return {"true": True, "false": False}.get(text.strip().lower(), text)
        case types_pb2.SCALAR_KIND_INT | types_pb2.SCALAR_KIND_FLOAT:
            for convert in (int, float):
                try:
                    return convert(text)
                except ValueError:
                    continue
            return text
        case types_pb2.SCALAR_KIND_NULL:
            return None if text in ("", "null", "None") else text
        case _:
            return text


def _known(name: str, types: Mapping[str, types_pb2.Type], workflow: Workflow[..., Any]) -> None:
    if name in types:
        return
    from mwfs_types.rendering import describe

    near = difflib.get_close_matches(name, types, n=1)
    listed = ", ".join(f"{each}: {describe(kind)}" for each, kind in types.items()) or "none"
    raise InvalidInput(
        f"Workflow `{workflow.ref}` has no input `{name}`; its inputs are {listed}.",
        f"Did you mean `{near[0]}`?" if near else "Leave it out.",
    )


def _read_file(name: str) -> dict[str, object]:
    try:
        document = json.loads(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"--inputs {name} cannot be read: {error.strerror}.", "Name a JSON file.") from None
    except ValueError as error:
        raise InvalidInput(f"--inputs {name} is not JSON: {error}.", 'Write an object: {"depth": 3}.') from None
    if not isinstance(document, dict):
        raise InvalidInput(f"--inputs {name} holds no JSON object.", 'Write an object: {"depth": 3}.')
    return document


def _example(kind: types_pb2.Type) -> str:
    match kind.WhichOneof("kind"):
        case "list":
            return (
                "[1, 2, 3]" if kind.list.item.HasField("scalar") and kind.list.item.scalar in (3, 4) else '["a", "b"]'
            )
        case "record":
            return json.dumps({field.name: "…" for field in kind.record.fields}, ensure_ascii=False)
        case _:
            return '{"name": "value"}'
