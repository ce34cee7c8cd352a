"""What is wrong with a call of an operator, said so that its author can mend it. Only runs for calls that need a closer look."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from mwfs.errors import (
    BadDefinition,
    CompileError,
    ForeignFuture,
    MissingArgument,
    TooLarge,
    UnknownArgument,
    WrongType,
)
from mwfs.locations import calling_user_frame, site_of_argument, site_of_definition, site_of_frame
from mwfs.signatures import nearest_name, resolve
from mwfs_types.rendering import describe

if TYPE_CHECKING:
    from mwfs.binding import Mismatch
    from mwfs.graph import Graph
    from mwfs.operators import Operator
    from mwfs.signatures import Signature


class Callee(Protocol):
    """What is called: an operator, or a workflow inside a workflow."""

    #: "operator" or "workflow".
    what: str
    name: str
    signature: Signature
    positional: int
    operator: Any


def arrange(graph: Graph, row: Callee, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """Arguments in the order of the parameters, defaults filled in. Raises UnknownArgument, MissingArgument."""
    parameters = row.signature.parameters
    if len(args) > row.positional:
        raise UnknownArgument(
            f"{row.what} `{row.name}` takes {row.positional} positional arguments, but {len(args)} were given",
            site=site_of_argument(calling_user_frame(), row.positional),
            expected=_signature(row),
            found=f"{len(args)} positional arguments",
            fix=_too_many_fix(row),
        )
    values = list(args)
    taken = 0
    for parameter in parameters[: len(args)]:
        if parameter.name in kwargs:
            raise UnknownArgument(
                f"argument `{parameter.name}` of {row.what} `{row.name}` is given twice",
                site=site_of_argument(calling_user_frame(), parameter.name),
                expected=_signature(row),
                found="once by position and once by name",
                fix=f"remove `{parameter.name}=`",
            )
    for parameter in parameters[len(args) :]:
        if parameter.name in kwargs and parameter.positional_only:
            raise UnknownArgument(
                f"argument `{parameter.name}` of {row.what} `{row.name}` is positional only",
                site=site_of_argument(calling_user_frame(), parameter.name),
                expected=_signature(row),
                found=f"`{parameter.name}=`",
                fix=f"leave `{parameter.name}=` out, or the `/` in its signature",
            )
        if parameter.name in kwargs:
            values.append(kwargs[parameter.name])
            taken += 1
        elif parameter.required:
            raise _missing(row, args, kwargs)
        else:
            values.append(parameter.default)
    if taken != len(kwargs):
        names = [parameter.name for parameter in parameters]
        unknown = next(name for name in kwargs if name not in names)
        near = nearest_name(unknown, names)
        raise UnknownArgument(
            f"{row.what} `{row.name}` has no argument `{unknown}`",
            site=site_of_argument(calling_user_frame(), unknown),
            expected=_signature(row),
            found=f"`{unknown}=`",
            fix=f"write `{near}=`" if near else f"remove `{unknown}=`, or add it to its parameters",
        )
    return values


def _missing(row: Callee, args: tuple[Any, ...], kwargs: dict[str, Any]) -> CompileError:
    parameters = row.signature.parameters
    missing = [p for p in parameters[len(args) :] if p.required and p.name not in kwargs]
    names = {parameter.name for parameter in parameters}
    unknown = [name for name in kwargs if name not in names]
    frame = calling_user_frame()
    for parameter in missing:
        near = nearest_name(parameter.name, unknown)
        if near:
            return UnknownArgument(
                f"{row.what} `{row.name}` has no argument `{near}`",
                site=site_of_argument(frame, near),
                expected=_signature(row),
                found=f"`{near}=`",
                fix=f"write `{parameter.name}=`",
            )
    listed = ", ".join(f"`{p.name}: {describe(p.type)}`" for p in missing)
    return MissingArgument(
        f"{row.what} `{row.name}` misses {'an argument' if len(missing) == 1 else f'{len(missing)} arguments'}: {listed}",
        site=site_of_frame(frame),
        expected=_signature(row),
        found=_given(args, kwargs),
        fix=f"add `{', '.join(f'{p.name}=…' for p in missing)}`, or give a default in its signature",
    )


def _given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    parts = [f"{len(args)} by position"] if args else []
    parts += [f"`{name}=`" for name in kwargs]
    return ", ".join(parts) or "no arguments"


def _too_many_fix(row: Callee) -> str:
    keyword_only = [p.name for p in row.signature.parameters if p.keyword_only]
    if keyword_only:
        return f"name the keyword-only arguments: `{keyword_only[0]}=…`"
    return "remove the extra arguments"


def _signature(row: Callee) -> str:
    parts = []
    for position, parameter in enumerate(row.signature.parameters):
        if position == row.positional:
            parts.append("*")
        default = "" if parameter.required else f" = {parameter.default!r}"
        parts.append(f"{parameter.name}: {describe(parameter.type)}{default}")
        following = row.signature.parameters[position + 1 : position + 2]
        if parameter.positional_only and not any(one.positional_only for one in following):
            parts.append("/")
    return f"{row.name}({', '.join(parts)})"


def wrong_argument(
    graph: Graph, row: Callee, position: int, mismatch: Mismatch, *, given: int, named: Iterable[str]
) -> CompileError:
    """The error of an argument that does not fit its parameter. `given`: how many came by position; `named`: which by name."""
    parameter = row.signature.parameters[position]
    if position >= given and parameter.name not in named:
        return BadDefinition(
            f"the default of argument `{parameter.name}{mismatch.path}` of {row.what} `{row.name}` has the wrong type",
            site=site_of_definition(row.operator.function),
            expected=mismatch.expected,
            found=mismatch.found,
            fix=mismatch.fix or f"change the default, or the type of `{parameter.name}`",
        )
    site = site_of_argument(calling_user_frame(), position if position < given else parameter.name)
    where = f"argument `{parameter.name}{mismatch.path}` of {row.what} `{row.name}`"
    if mismatch.foreign:
        return ForeignFuture(
            f"{where} is a future of another {'branch' if mismatch.branch else 'workflow'}",
            site=site,
            expected=mismatch.expected,
            found=mismatch.found,
            fix=mismatch.fix
            or "call the operator again inside this workflow, or pass the other workflow's result in as an input",
        )
    return WrongType(
        f"{where} has the wrong type" + (f": {mismatch.reason}" if mismatch.reason else ""),
        site=site,
        expected=mismatch.expected,
        found=mismatch.found,
        fix=mismatch.fix
        or f"pass {_article(mismatch.expected)}, or change the type of `{parameter.name}` in `{row.name}`",
    )


def too_many_nodes(workflow: str, limit: int) -> CompileError:
    """The error of one call too many."""
    return TooLarge(
        f"workflow `{workflow}` calls more than {limit:,} operators",
        site=site_of_frame(calling_user_frame()),
        expected=f"at most {limit:,} nodes in one Dag",
        found="one more",
        fix="check the loop around this call; for larger jobs let an operator work through a batch, or submit several runs",
    )


def _article(expected: str) -> str:
    return f"a value of type {expected}" if " " not in expected else expected


def check_importable(operator: Operator[..., Any]) -> None:
    """Refuses an operator that a worker could not find under its name. Raises BadDefinition."""
    module, qualname = operator.module, operator.qualname
    site = site_of_definition(operator.function)
    if "<locals>" in qualname:
        outer = qualname.split(".<locals>", 1)[0]
        raise BadDefinition(
            f"operator `{operator.__name__}` is defined inside `{outer}`, where no worker can import it",
            site=site,
            expected="an operator at module level",
            found=f"`{qualname}`",
            fix=f"move `{operator.__name__}` out of `{outer}`; pass what it took from there as arguments",
        )
    if "<lambda>" in qualname:
        raise BadDefinition(
            "an operator is a lambda, which no worker can import",
            site=site,
            expected="an operator at module level",
            found="a lambda",
            fix="write a `def` at module level",
        )
    loaded = sys.modules.get(operator.function.__module__)
    found = resolve(loaded, qualname)
    if found is not None and getattr(found, "definition", None) is not operator.definition:
        raise BadDefinition(
            f"`{module}:{qualname}` is not the operator that was called, so a worker would run something else",
            site=site,
            expected=f"operator `{operator.__name__}` under its own name",
            found=f"{type(found).__qualname__} under that name",
            fix="use the decorator, `@mwfs.operator` above the `def`, and define the name once",
        )
    if found is None and loaded is not None:
        raise BadDefinition(
            f"operator `{operator.__name__}` cannot be found as `{module}:{qualname}`",
            site=site,
            expected="an operator at module level",
            found="no such name in the module",
            fix="define it at module level under its own name",
        )
