"""Calling an operator on encoded arguments: the one way, for `run_local` and for the platform's workers."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from mwfs.artifacts import Store
from mwfs.errors import BadResult, NotLoadable
from mwfs.locations import is_library, site_of_definition, site_of_error
from mwfs.operators import Operator
from mwfs.signatures import Output, resolve
from mwfs.workflows import Workflow
from mwfs_api.types.v1 import types_pb2
from mwfs_types.rendering import describe
from mwfs_types.values import BadValue, Decoder, Encoder, decoder_for, encoder_for

Value = types_pb2.Value


def load_operator(module: str, qualname: str, source_digest: str = "") -> Operator[..., Any]:
    """The operator of this name. Raises NotLoadable; an error in the module's own code is its cause.

    source_digest: what its source was when the workflow was compiled; empty takes any.
    """
    found = _load(module, qualname, "operator")
    if isinstance(found, Operator):
        if source_digest:
            _check_source(found, source_digest)
        return found
    raise NotLoadable(
        f"`{module}:{qualname}` is {_kind_of(found)}, not an operator.", "Put @mwfs.operator above its definition."
    )


def _check_source(operator: Operator[..., Any], compiled: str) -> None:
    """Refuses code that is not what was compiled: it may take other arguments, or mean something else."""
    from mwfs.code_closure import source_digest

    here = source_digest(operator)
    if here and here != compiled:
        raise NotLoadable(
            f"Operator `{operator.ref}` was changed since the workflow was compiled: its source was "
            f"{compiled.removeprefix('sha256:')[:12]} then and is {here.removeprefix('sha256:')[:12]} here.",
            "Compile the workflow again, or run the code that it was compiled with.",
        )


def check_kind(operator: Operator[..., Any], *, dynamic: bool) -> None:
    """Raises NotLoadable when it was compiled as a dynamic operator and is not one here, or the other way round."""
    if operator.dynamic is not dynamic:
        was, found = ("a dynamic", "an ordinary") if dynamic else ("an ordinary", "a dynamic")
        raise NotLoadable(
            f"`{operator.ref}` was compiled as {was} operator, and here it is {found} one.",
            "Compile the workflow again, or run the code that it was compiled with.",
        )


def load_workflow(ref: str) -> Workflow[..., Any]:
    """The workflow `module:qualname`. Raises NotLoadable."""
    module, colon, qualname = ref.partition(":")
    if not colon or not module or not qualname:
        raise NotLoadable(
            f"{ref!r} does not name a workflow.", "Write MODULE:WORKFLOW, such as my_project.train:train."
        )
    found = _load(module, qualname, "workflow")
    if isinstance(found, Workflow):
        return found
    if isinstance(found, Operator):
        raise NotLoadable(
            f"`{ref}` is an operator, not a workflow.", "Call it in a function with @mwfs.workflow, and name that."
        )
    raise NotLoadable(f"`{ref}` is {_kind_of(found)}, not a workflow.", "Put @mwfs.workflow above its definition.")


def import_module_of_user(module: str, needed_by: str = "") -> ModuleType:
    """A module of the user's project. Raises NotLoadable. needed_by: what is not there without it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        if module == missing or module.startswith(f"{missing}."):
            raise NotLoadable(
                f"There is no module `{missing}`{f', so {needed_by} cannot be loaded' if needed_by else ''}.",
                "Check the name, and run from the folder that holds it or install it.",
            ) from error
        raise NotLoadable(
            f"Module `{module}` needs `{missing}`, which is not installed.", f"Install `{missing}` where operators run."
        ) from error
    except Exception as error:
        site = None if isinstance(error, SyntaxError) else site_of_error(error)  # which says its line by itself
        where = f" {site}:" if site is not None and not is_library(site.file) else ""
        what = f"{type(error).__name__}: {error}".rstrip(".")
        raise NotLoadable(
            f"Module `{module}` cannot be imported:{where} {what}.", "Correct it, and try again."
        ) from error


def _load(module: str, qualname: str, what: str) -> object:
    loaded = import_module_of_user(module, f"the {what} `{module}:{qualname}`")
    found = resolve(loaded, qualname)
    if found is None:
        names = [
            name
            for name, value in vars(loaded).items()
            if isinstance(value, Operator if what == "operator" else Workflow)
        ]
        raise NotLoadable(
            f"Module `{module}` has no `{qualname}`.",
            f"Its {what}s are {', '.join(f'`{name}`' for name in names[:20])}." if names else f"It defines no {what}s.",
        )
    return found


def _kind_of(found: object) -> str:
    return "a plain function" if callable(found) else f"a {type(found).__name__}"


def invoke(
    operator: Operator[..., Any],
    arguments: Sequence[Value],
    store: Store,
    *,
    function: Callable[..., Any] | None = None,
) -> list[Value]:
    """Decodes the arguments, calls the function, checks and encodes its outputs, one value an output.

    function: called in place of the operator's own.

    Whatever the function raises comes through as it is (see `failures.describe_exception`). Raises BadResult when the result
    is not what the operator declares, and the store's errors. A value over INLINE_LIMIT becomes an artifact.
    """
    signature = operator.signature
    if len(arguments) != len(signature.parameters):
        raise NotLoadable(
            f"Operator `{operator.ref}` takes {len(signature.parameters)} arguments here, "
            f"but was compiled with {len(arguments)}.",
            "Run again with the code that was compiled, or compile again.",
        )
    plan = _plan_of(operator)
    args = [decode(value, store) for decode, value in zip(plan.decoders, arguments, strict=False)]
    call = function or operator.function
    if plan.named:
        named = dict(zip(plan.named, args[plan.positional :], strict=True))
        result = call(*args[: plan.positional], **named)
    else:
        result = call(*args)
    if signature.record is None:
        return [_encode(operator, 0, plan, result, store)]
    fields = _fields(operator, signature.record, signature.outputs, result)
    return [_encode(operator, index, plan, field, store) for index, field in enumerate(fields)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """How the values of one operator are decoded and encoded; made once a process, because a call should cost microseconds."""

    decoders: tuple[Decoder, ...]
    encoders: tuple[Encoder, ...]
    positional: int
    #: Names of the keyword-only parameters, which come last.
    named: tuple[str, ...]


def _plan_of(operator: Operator[..., Any]) -> _Plan:
    plan: _Plan | None = operator.__dict__.get("_plan")
    if plan is None:
        signature = operator.signature
        plan = operator.__dict__["_plan"] = _Plan(
            decoders=tuple(decoder_for(parameter.annotation) for parameter in signature.parameters),
            encoders=tuple(encoder_for(output.type.SerializeToString()) for output in signature.outputs),
            positional=signature.positional,
            named=tuple(parameter.name for parameter in signature.parameters if parameter.keyword_only),
        )
    return plan


def _encode(operator: Operator[..., Any], index: int, plan: _Plan, result: Any, store: Store) -> Value:
    try:
        value = plan.encoders[index](result, store)
    except BadValue as error:
        output = operator.signature.outputs[index]
        what = "result" if operator.signature.record is None else f"output `{output.name}`"
        at = f" at {error.path.lstrip('.')}" if error.path else ""
        raise BadResult(
            f"Operator `{operator.__name__}` declares its {what} as {describe(output.type)}, "
            f"but returned {error.found}{at}, where {error.expected} was expected.",
            error.fix or "Return what is declared, or change the annotation.",
            site=site_of_definition(operator.function),
            expected_type=output.type,
        ) from None
    return store.spill(value)


def _fields(operator: Operator[..., Any], record: type, outputs: tuple[Output, ...], result: Any) -> list[Any]:
    names = [output.name for output in outputs]
    if isinstance(result, record):
        return [getattr(result, name) for name in names]
    if isinstance(result, dict) and set(result) == set(names):
        return [result[name] for name in names]
    found = f"a dict with {', '.join(f'`{name}`' for name in result)}" if isinstance(result, dict) else _shown(result)
    raise BadResult(
        f"Operator `{operator.__name__}` declares {record.__qualname__}({', '.join(names)}), but returned {found}.",
        f"Return {record.__qualname__}({', '.join(f'{name}=…' for name in names)}), or change the annotation.",
        site=site_of_definition(operator.function),
        expected_type=operator.signature.return_type,
    )


def _shown(value: object) -> str:
    from mwfs.binding import describe_value

    return describe_value(value)
