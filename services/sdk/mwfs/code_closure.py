"""What an operator's result depends on besides its inputs: its own code, the project's code that it reaches, and what is installed.

The digest is of syntax trees without docstrings, comments, positions and the operator's own options, so formatting a file changes nothing. Followed
are names: globals, closures, defaults, decorators, attributes of the project's modules and classes, base classes, imports inside functions, and code in tables
such as `LOSSES = {"mse": mse}`. Globals count by their value; those of libraries' classes by the statements that made them. A module that is
used as a value, as by `getattr(losses, name)`, counts as a whole. What is only known when the code runs is not followed: other uses of
`getattr` by text, `exec`, extension modules, data files. Installed libraries count by their version.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING, Any

from mwfs.code_trees import digest, source_of, text_of
from mwfs.code_walk import Part, Walk, unwrapped
from mwfs_api.dags.v1 import dag_pb2
from mwfs_types.limits import MAX_LONG_NAME

if TYPE_CHECKING:
    from mwfs.operators import Operator


@dataclass(frozen=True, slots=True, kw_only=True)
class Closure:
    """All that an operator reaches."""

    #: Sorted by name.
    parts: tuple[Part, ...]
    #: Top-level names of the installed libraries that the code names, sorted.
    libraries: tuple[str, ...]


def closure_of(operator: Operator[..., Any]) -> Closure:
    """The code of an operator; computed once a process."""
    found = operator.definition.__dict__.get("_closure")
    if found is None:
        walk = Walk()
        walk.reach(operator)
        found = operator.definition.__dict__["_closure"] = Closure(
            parts=tuple(sorted(walk.parts.values(), key=lambda part: part.name)),
            libraries=tuple(sorted(walk.libraries)),
        )
    closure: Closure = found
    return closure


def code_digest(operator: Operator[..., Any]) -> str:
    """One digest over all parts: "sha256:…"."""
    known = operator.definition.__dict__.get("_code_digest")
    if known is None:
        parts = closure_of(operator).parts
        known = operator.definition.__dict__["_code_digest"] = digest(*(f"{part.name}={part.digest}" for part in parts))
    return str(known)


def source_digest(operator: Operator[..., Any]) -> str:
    """A digest of the operator's own function and signature alone: "sha256:…"; empty when there is no source to read."""
    function = unwrapped(operator)
    source = source_of(function.__code__.co_filename) if isinstance(function, FunctionType) else None
    trees = source.of_code(function.__code__) if source is not None else []
    return digest(text_of(trees)) if trees else ""


def environment_of(operator: Operator[..., Any]) -> dict[str, str]:
    """The declared environment: Python's minor version, declared requirements, versions of the libraries that the code names."""
    environment = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for requirement in operator.options.requirements:
        environment[f"requirement {requirement}"] = requirement
    for library in closure_of(operator).libraries:
        environment[library] = _version_of(library)
    return environment


def environment_digest(operator: Operator[..., Any]) -> str:
    """One digest over the environment: "sha256:…"."""
    return digest(*(f"{name}={value}" for name, value in sorted(environment_of(operator).items())))


def digest_parts(operators: Iterable[Operator[..., Any]]) -> list[dag_pb2.DigestParts]:
    """What the digests of operators are made of, as a Dag tells it."""
    found: dict[str, dict[str, str]] = {}
    for operator in operators:
        parts = closure_of(operator).parts
        if parts:
            found.setdefault(code_digest(operator), {part.name: part.digest[7:23] for part in parts})
        if operator.options.pure:
            found.setdefault(environment_digest(operator), environment_of(operator))
    return [
        dag_pb2.DigestParts(
            digest=digest, names=_short(sorted(parts)), values=_short(parts[name] for name in sorted(parts))
        )
        for digest, parts in found.items()
    ]


def _short(texts: Iterable[str]) -> list[str]:
    return [text[:MAX_LONG_NAME] for text in texts]


@functools.lru_cache(maxsize=1)
def _distributions() -> Mapping[str, list[str]]:
    from importlib.metadata import packages_distributions

    return packages_distributions()


@functools.lru_cache(maxsize=1024)
def _version_of(library: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    if library in sys.stdlib_module_names:
        return ""  # Python's own version says it
    found = []
    for distribution in sorted(set(_distributions().get(library, [library]))):
        try:
            found.append(f"{distribution} {version(distribution)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


__all__ = [
    "Closure",
    "Part",
    "closure_of",
    "code_digest",
    "digest_parts",
    "environment_digest",
    "environment_of",
    "source_digest",
]
