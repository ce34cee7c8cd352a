"""Custom resources and labels: which names there can be, how many, and how they are written. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Final

from mwfs_api.dags.v1 import dag_pb2

#: Of one node, or one host.
MAX_CUSTOM: Final = 16
MAX_LABELS: Final = 16
#: Values of one label of which any will do.
MAX_VALUES: Final = 16
MAX_AMOUNT: Final = 10**9

NAME_RULE: Final = (
    "1 to 63 lower-case letters, digits and . _ -, a letter first, and other than cpu, memory, gpu and the like"
)
LABEL_RULE: Final = "1 to 63 letters, digits and . _ - /, a letter or digit first"

_NAME: Final = re.compile(r"[a-z][a-z0-9._-]{0,62}")
_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}")
#: What is counted anyway, and what would be taken for it.
_RESERVED: Final = frozenset(("cpu", "cpus", "core", "cores", "mem", "memory", "ram", "gpu", "gpus", "gpu_type"))


def is_name(name: object) -> bool:
    """Whether a custom resource can be called this."""
    return isinstance(name, str) and name not in _RESERVED and _NAME.fullmatch(name) is not None


def is_label(text: object) -> bool:
    """Whether this can be the key, or a value, of a label."""
    return isinstance(text, str) and _LABEL.fullmatch(text) is not None


def problem_with(resources: dag_pb2.Resources) -> str | None:
    """What is wrong with custom resources and labels that somebody has sent; None: nothing."""
    custom, labels = resources.custom, resources.labels
    if custom:
        if len(custom) > MAX_CUSTOM:
            return f"at most {MAX_CUSTOM} custom resources, found {len(custom)}"
        for one in custom:
            if not is_name(one.name):
                return f"{one.name[:80]!r} cannot be the name of a custom resource: {NAME_RULE}"
            if not 1 <= one.amount <= MAX_AMOUNT:
                return f"the amount of {one.name} must be from 1 to {MAX_AMOUNT:,}, found {one.amount:,}"
        if not _ascending([one.name for one in custom]):
            return "custom resources must be ascending by name, each there once"
    if labels:
        if len(labels) > MAX_LABELS:
            return f"at most {MAX_LABELS} labels, found {len(labels)}"
        for label in labels:
            if not 1 <= len(label.values) <= MAX_VALUES:
                return f"label {label.key[:80]!r} must have 1 to {MAX_VALUES} values, found {len(label.values)}"
            for text in (label.key, *label.values):
                if not is_label(text):
                    return f"{text[:80]!r} cannot be the key or a value of a label: {LABEL_RULE}"
            if not _ascending(label.values):
                return f"the values of label {label.key} must be ascending, each there once"
        if not _ascending([label.key for label in labels]):
            return "labels must be ascending by key, each there once"
    return None


def _ascending(texts: Iterable[str]) -> bool:
    return all(one < other for one, other in pairwise(texts))


def custom_rows(amounts: Mapping[str, int]) -> list[dag_pb2.CustomResource]:
    """In the order in which they are written; those of 0 are left out."""
    return [dag_pb2.CustomResource(name=name, amount=amount) for name, amount in sorted(amounts.items()) if amount]


def label_rows(labels: Mapping[str, Iterable[str]]) -> list[dag_pb2.Label]:
    """In the order in which they are written."""
    return [dag_pb2.Label(key=key, values=sorted(set(values))) for key, values in sorted(labels.items())]


def parse_amounts(texts: Iterable[str]) -> dict[str, int]:
    """Amounts by name, of texts such as `licenses=4`. Raises ValueError, which says what is wrong."""
    found: dict[str, int] = {}
    for name, amount in _pairs(texts):
        if not is_name(name):
            raise ValueError(f"{name[:80]!r} cannot be the name of a custom resource: {NAME_RULE}")
        if not re.fullmatch(r"[0-9]{1,10}", amount) or int(amount) > MAX_AMOUNT:
            raise ValueError(f"{amount[:80]!r} is not an amount of {name}: a whole number up to {MAX_AMOUNT:,}")
        if name in found:
            raise ValueError(f"{name} is there twice")
        found[name] = int(amount)
    if len(found) > MAX_CUSTOM:
        raise ValueError(f"at most {MAX_CUSTOM} custom resources, found {len(found)}")
    return found


def parse_labels(texts: Iterable[str]) -> dict[str, str]:
    """The labels of a host, of texts such as `zone=a`. Raises ValueError, which says what is wrong."""
    found: dict[str, str] = {}
    for key, value in _pairs(texts):
        for text in (key, value):
            if not is_label(text):
                raise ValueError(f"{text[:80]!r} cannot be the key or the value of a label: {LABEL_RULE}")
        if key in found:
            raise ValueError(f"label {key} is there twice: a host has one value of each")
        found[key] = value
    if len(found) > MAX_LABELS:
        raise ValueError(f"at most {MAX_LABELS} labels, found {len(found)}")
    return found


def _pairs(texts: Iterable[str]) -> Iterable[tuple[str, str]]:
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise ValueError(f"{text[:80]!r} has no =")
        yield name, value
