"""Inputs as they are typed on a command line, against the workflow's types."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mwfs.errors import InvalidInput
from mwfs_api.types.v1 import types_pb2
from mwfs_types.errors import BadValue
from mwfs_types.json_text import load_json
from mwfs_types.semantics import representation_of

if TYPE_CHECKING:
    from mwfs.local_files import LocalFiles
    from mwfs.workflows import Workflow


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedInputs:
    """Values by name, and the local files that they refer to."""

    values: dict[str, types_pb2.Value]
    files: LocalFiles
    #: By name, for those that are outputs of earlier runs: which ones.
    sources: dict[str, str]


def read_inputs(
    workflow: Workflow[..., Any], given: Iterable[str], inputs_file: str | None, *, home: str | None = None
) -> TypedInputs:
    """Parses `name=value` pairs and a JSON file, hashes the files they name, looks up outputs of earlier runs. Raises InvalidInput.

    home: the platform that has the earlier runs. What a JSON file holds is taken as it is, also text that looks like a run.
    """
    from mwfs.earlier import FoundOutput, find_blocking, fitting, parse_earlier, read_from
    from mwfs.local_files import LocalFiles

    types = {parameter.name: parameter.type for parameter in workflow.parameters}
    documents: dict[str, object] = {}
    found: dict[str, FoundOutput] = {}
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
        earlier = parse_earlier(text)
        if earlier is not None:
            found[name] = find_blocking(replace(earlier, home=home))
        else:
            documents[name] = parse_text(name, text, types[name])
    files = LocalFiles()
    values = {name: to_value(name, document, types[name], files) for name, document in documents.items()}
    for name, output in found.items():
        values[name] = fitting(output, types[name], f"Input `{name}`")
        read_from(files, output)
    return TypedInputs(values=values, files=files, sources={name: output.source for name, output in found.items()})


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
        case "semantic" if plain.semantic.HasField("representation") and not _opens_paths(plain):
            return parse_text(name, text, plain.semantic.representation)
        case "semantic" if not text.lstrip().startswith("{"):
            return text
        case "union":
            try:
                return load_json(text)
            except BadValue:
                return text
        case _:
            try:
                return load_json(text)
            except BadValue as error:
                from mwfs_types.rendering import describe

                shown = repr(text) if len(text) <= 200 else f"{text[:200]!r}…"
                raise InvalidInput(
                    f"Input `{name}` is {describe(kind)} and must be written as JSON; {shown} is not ({error}).",
                    f"Write --input '{name}={_example(plain)}'.",
                ) from None


def to_value(
    name: str, document: object, kind: types_pb2.Type, files: LocalFiles, *, what: str = "Input"
) -> types_pb2.Value:
    """A JSON document as a value of its type; paths become hashed files. Raises InvalidInput."""
    from mwfs_types.json_schema import value_from_json

    try:
        return value_from_json(_with_files(name, document, kind, files), kind)
    except BadValue as error:
        raise InvalidInput(
            f"{what} `{name}{error.path}`: expected {error.expected}, found {error.found}.", error.fix
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
            return _from_path(where, document, kind, files)
        case "tuple" if isinstance(document, list) and len(document) == len(kind.tuple.items):
            pairs = zip(document, kind.tuple.items, strict=True)
            return [_with_files(f"{where}[{i}]", item, inner, files) for i, (item, inner) in enumerate(pairs)]
        case "semantic" if isinstance(document, dict | list):
            made = _from_document(where, document, kind, files)
            if made is not None:
                return made
            representation = representation_of(kind.semantic)
            return document if representation is None else _with_files(where, document, representation, files)
        case _:
            return document


def _opens_paths(kind: types_pb2.Type) -> bool:
    from mwfs.type_registry import class_of

    return hasattr(class_of(kind.semantic), "__mwfs_from_path__")


def _from_path(where: str, text: str, kind: types_pb2.Type, files: LocalFiles) -> object:
    """The document of the value that is in a file or folder; text that is no path of one stays text."""
    from mwfs.type_registry import class_of

    open_path = getattr(class_of(kind.semantic), "__mwfs_from_path__", None)
    if open_path is None:
        return text
    return _checked(where, text, lambda: open_path(Path(text).expanduser()), kind, files)


def _from_document(where: str, document: object, kind: types_pb2.Type, files: LocalFiles) -> object:
    """The same for a document with a path in it, where the class wants to see both together; else None."""
    from mwfs.type_registry import class_of

    read = getattr(class_of(kind.semantic), "__mwfs_from_document__", None)
    if read is None or not isinstance(document, dict):
        return None
    return _checked(where, "in it", lambda: read(document), kind, files)


def _checked(where: str, text: str, make: Callable[[], object], kind: types_pb2.Type, files: LocalFiles) -> object:
    """The document of the object that `make` gives; None when it gives none. Raises InvalidInput."""
    from mwfs_types.encoding import encode
    from mwfs_types.json_schema import value_to_json

    try:
        made = make()
        return None if made is None else value_to_json(encode(made, kind, files), kind)
    except BadValue as error:
        raise InvalidInput(
            f"Input `{where}{error.path}`: expected {error.expected}, found {error.found}.", error.fix
        ) from None
    except OSError as error:
        raise InvalidInput(
            f"Input `{where}` names the file {text}, which cannot be read: {error.strerror}.",
            f"Give the path of a file, from {Path.cwd()} or absolute.",
        ) from None


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
    from mwfs.signatures import nearest_name
    from mwfs_types.rendering import describe

    near = nearest_name(name, types)
    listed = ", ".join(f"{each}: {describe(kind)}" for each, kind in types.items()) or "none"
    raise InvalidInput(
        f"Workflow `{workflow.ref}` has no input `{name}`; its inputs are {listed}.",
        f"Did you mean `{near}`?" if near else "Leave it out.",
    )


def _read_file(name: str) -> dict[str, object]:
    try:
        # Windows writes a byte order mark first.
        document = load_json(Path(name).read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except OSError as error:
        raise InvalidInput(f"--inputs {name} cannot be read: {error.strerror}.", "Name a JSON file.") from None
    except BadValue as error:
        raise InvalidInput(f"--inputs {name}: {error}", 'Write an object: {"depth": 3}.') from None
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
