"""Inputs of a workflow: from Python values to encoded ones, checked against the workflow's types."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from mwfs.earlier import EarlierOutput, FoundOutput, find_blocking, fitting, read_from
from mwfs.errors import BadDefinition, InvalidInput
from mwfs.local_files import LocalFiles
from mwfs.locations import site_of_definition
from mwfs.signatures import Parameter, nearest_name
from mwfs_api.types.v1 import types_pb2
from mwfs_types.annotations import type_of
from mwfs_types.limits import MAX_LONG_NAME
from mwfs_types.rendering import describe
from mwfs_types.values import BadValue, check, decode, encode

if TYPE_CHECKING:
    from mwfs.workflows import Workflow


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedInputs:
    """Every input of a workflow, defaults included, and the files that they refer to."""

    values: dict[str, types_pb2.Value]
    #: Files of this machine by digest, which must be in the object store before a run can read them.
    local_files: dict[str, Path]
    files: LocalFiles
    #: By name, for those that are outputs of earlier runs: which ones.
    sources: dict[str, str]


def encode_inputs(
    workflow: Workflow[..., Any], inputs: Mapping[str, Any], *, filled: Collection[str] | None = None
) -> EncodedInputs:
    """Checks and encodes the inputs of one run. Paths given for file-like inputs are hashed. Raises InvalidInput, BadDefinition.

    filled: inputs that the platform takes from an occasion; then defaults are left to the platform too.
    """
    _check_names(workflow, inputs, filled or ())
    files = LocalFiles()
    values = {}
    earlier = _Earlier(files)
    sources = {}
    for parameter in workflow.parameters:
        given = inputs.get(parameter.name, parameter.default)
        if parameter.name not in inputs:
            if filled is not None:
                continue
            default = encode_default(workflow, parameter, files)
            assert default is not None
            values[parameter.name] = default
            continue
        try:
            earlier.begin(f"Input `{parameter.name}` of workflow `{workflow.__name__}`")
            value = encode(opened(given, parameter.annotation, earlier.value), parameter.type, files)
            values[parameter.name] = files.spill(value)
            if earlier.sources:
                sources[parameter.name] = ", ".join(earlier.sources)[:MAX_LONG_NAME]
        except BadValue as error:
            raise _wrong(workflow, parameter, error) from None
        except OSError as error:
            raise InvalidInput(
                f"Input `{parameter.name}` of workflow `{workflow.__name__}` cannot be read: {error}.",
                "Give the path of a file that exists.",
            ) from None
    return EncodedInputs(values=values, local_files=files.paths, files=files, sources=sources)


class _Earlier:
    """Outputs of earlier runs in place of values."""

    def __init__(self, files: LocalFiles) -> None:
        self._files = files
        self.begin("")

    def begin(self, where: str) -> None:
        self._where = where
        self.sources: list[str] = []

    def value(self, given: EarlierOutput | FoundOutput, annotation: Any) -> Any:
        found = find_blocking(given) if isinstance(given, EarlierOutput) else given
        self.sources.append(found.source)
        read_from(self._files, found)
        return decode(fitting(found, type_of(annotation), self._where), annotation, self._files)


def check_inputs(workflow: Workflow[..., Any], values: Mapping[str, types_pb2.Value]) -> dict[str, types_pb2.Value]:
    """Every input, in order, from values that were encoded elsewhere; defaults filled in. Raises InvalidInput."""
    _check_names(workflow, values)
    checked = {}
    for parameter in workflow.parameters:
        value = values.get(parameter.name)
        if value is None:
            value = encode_default(workflow, parameter)
            assert value is not None
        else:
            try:
                check(value, parameter.type)
            except BadValue as error:
                raise _wrong(workflow, parameter, error) from None
        checked[parameter.name] = value
    return checked


def encode_default(
    workflow: Workflow[..., Any], parameter: Parameter, files: LocalFiles | None = None
) -> types_pb2.Value | None:
    """The default of a parameter; None when it is required. Raises BadDefinition when the default has another type."""
    if parameter.required:
        return None
    try:
        return encode(parameter.default, parameter.type, files or LocalFiles())
    except BadValue as error:
        raise BadDefinition(
            f"the default of input `{parameter.name}` of workflow `{workflow.__name__}` has the wrong type",
            site=site_of_definition(workflow.function),
            expected=error.expected,
            found=error.found,
            fix=f"change the default, or the type of `{parameter.name}`",
        ) from None


def _check_names(workflow: Workflow[..., Any], given: Mapping[str, object], filled: Collection[str] = ()) -> None:
    names = [parameter.name for parameter in workflow.parameters]
    for name in [*given, *filled]:
        if name not in names:
            near = nearest_name(name, names)
            raise InvalidInput(
                f"Workflow `{workflow.__name__}` has no input `{name}`; its inputs are {_listed(names)}.",
                f"Did you mean `{near}`?" if near else "Remove it.",
            )
    missing = [
        parameter
        for parameter in workflow.parameters
        if parameter.required and parameter.name not in given and parameter.name not in filled
    ]
    if missing:
        wanted = _listed([f"{parameter.name}: {describe(parameter.type)}" for parameter in missing])
        raise InvalidInput(
            f"Workflow `{workflow.__name__}` needs {wanted}.",
            f"Give {', '.join(f'{parameter.name}=…' for parameter in missing)}.",
        )


def _wrong(workflow: Workflow[..., Any], parameter: Parameter, error: BadValue) -> InvalidInput:
    return InvalidInput(
        f"Input `{parameter.name}{error.path}` of workflow `{workflow.__name__}` expects {error.expected}, "
        f"found {error.found}.",
        error.fix or f"Give `{parameter.name}` such a value.",
    )


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


def opened(value: Any, annotation: Any, look_up: Callable[[Any, Any], Any]) -> Any:
    """The value with every path in place of a file-like value opened as that, and outputs of earlier runs looked up.

    `labeled="iris.csv"`, `mwfs.output_of(…)`, also in lists and maps.
    """
    if isinstance(value, (EarlierOutput, FoundOutput)):
        return look_up(value, annotation)
    origin, arms = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return opened(value, arms[0], look_up)
    if isinstance(value, (str, Path)):
        if origin in (Union, UnionType) and str not in arms:
            annotation = next((arm for arm in arms if hasattr(get_origin(arm) or arm, "__mwfs_from_path__")), None)
        open_path = getattr(get_origin(annotation) or annotation, "__mwfs_from_path__", None)
        return value if open_path is None else open_path(value)
    if origin is list and isinstance(value, list):
        return [opened(item, arms[0], look_up) for item in value]
    if origin is dict and isinstance(value, dict):
        return {key: opened(item, arms[1], look_up) for key, item in value.items()}
    return value
