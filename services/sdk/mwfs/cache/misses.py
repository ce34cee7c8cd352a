"""Why an earlier result is not taken: which part of the key changed since the nearest one that there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mwfs_api.dags.v1 import dag_pb2
from mwfs_types.cache_keys import CODE, ENVIRONMENT, INPUT, SIGNATURE

#: Changed pieces of code that are named one by one.
_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the key of an earlier result is made of."""

    #: Part → digest, as `mwfs_types.cache_keys.key_parts` gives them.
    parts: Mapping[str, str]
    #: Of its code: `module:qualname` → digest; empty when not known.
    code: Mapping[str, str] = field(default_factory=dict)
    #: Of its environment: library or requirement → version; empty when not known.
    environment: Mapping[str, str] = field(default_factory=dict)
    #: Where it is from: (run, node).
    origin: tuple[str, int] | None = None


def code_parts(operator: dag_pb2.Operator) -> dict[str, str]:
    """What an operator's code is made of, as it is on this machine now; empty when it cannot be loaded."""
    from mwfs.code_closure import closure_of
    from mwfs.errors import NotLoadable
    from mwfs.invoke import load_operator

    try:
        return {part.name: part.digest for part in closure_of(load_operator(operator.module, operator.qualname)).parts}
    except NotLoadable:
        return {}


def nearest_of(parts: Mapping[str, str], earlier: Sequence[Entry]) -> Entry | None:
    """The earlier result whose key differs in the fewest parts; of equals the first."""
    return min(earlier, key=lambda entry: len(_changed(entry.parts, parts)), default=None)


def explain_miss(operator: dag_pb2.Operator, now: Entry, earlier: Sequence[Entry]) -> list[str]:
    """What keeps a call from taking an earlier result, in sentences. now: what its key would be made of."""
    if not operator.pure:
        return ["The operator is not declared pure=True, so its results are never reused."]
    if not operator.cached:
        return ["The operator is declared cache=False, or was compiled without the pass `cache`."]
    nearest = nearest_of(now.parts, earlier)
    if nearest is None:
        return ["There is no earlier result of this operator."]
    changed = _changed(nearest.parts, now.parts)
    if not changed:
        return ["An earlier result is there: it would be taken now."]
    return [_words(name, now, nearest) for name in changed]


def changed_parts(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What changed in code, by name; nothing when one side is not known."""
    if not before or not now:
        return []
    found = [_code_change(name, before, now) for name in _changed(before, now)]
    return found if len(found) <= _NAMED else [*found[:_NAMED], f"and {len(found) - _NAMED} more"]


def changed_versions(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What changed in an environment, with both versions; nothing when one side is not known."""
    if not before or not now:
        return []
    return [f"{name}: {before.get(name) or 'none'} → {now.get(name) or 'none'}" for name in _changed(before, now)]


def _changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]


def _words(name: str, now: Entry, nearest: Entry) -> str:
    if name == CODE:
        changed = changed_parts(nearest.code, now.code)
        if changed:
            return f"The code changed: {', '.join(changed)}."
        return "The code of the operator, or of a function that it calls, changed."
    if name == ENVIRONMENT:
        versions = changed_versions(nearest.environment, now.environment)
        if versions:
            return f"The declared environment changed: {', '.join(versions)}."
        return "The declared environment changed: Python, its requirements, or the version of a library that it uses."
    if name == SIGNATURE:
        return "The parameters, their types, or the types of the results changed."
    return f"The input `{name.removeprefix(INPUT)}` has another value."


def _code_change(name: str, before: Mapping[str, str], now: Mapping[str, str]) -> str:
    if name not in before:
        return f"`{name}` is new"
    return f"`{name}` is gone" if name not in now else f"`{name}`"


__all__ = ["Entry", "changed_parts", "changed_versions", "code_parts", "explain_miss", "nearest_of"]
