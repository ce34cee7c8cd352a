"""The digest of an operator's code changes with what its result depends on, and with nothing else."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

import mwfs
from mwfs.code_closure import closure_of, code_digest, environment_digest

FEATURES = '''
"""Features."""
import statistics

SCALE = 2

def scale(x):
    """Doubles."""
    return x * SCALE

def unused(x):
    return x
'''
FLOWS = """
import json
import features
from features import scale

FACTOR = 3

class Model:
    def predict(self, x):
        return helper(x)

def helper(x):
    return x + FACTOR

def deepest(x):
    return deeper(x)

def deeper(x):
    return deepest(x) if x > 10 else features.scale(x)

import mwfs

@mwfs.operator(pure=True)
def train(x: int, rounds: int = 1) -> int:
    # A comment.
    def inner(y):
        return Model().predict(y)
    return inner(deepest(x))
"""


@pytest.fixture
def digest_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The digest of `train` in a project with these texts replaced."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def digest(*replaced: tuple[str, str]) -> str:
        features, flows = FEATURES, FLOWS
        for old, new in replaced:
            assert old in features + flows
            features, flows = features.replace(old, new), flows.replace(old, new)
        (tmp_path / "features.py").write_text(features)
        (tmp_path / "flows.py").write_text(flows)
        for name in ("features", "flows"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        import linecache

        linecache.clearcache()
        return code_digest(importlib.import_module("flows").train)

    yield digest
    for name in ("features", "flows"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x + FACTOR", "x - FACTOR"),
        ("FACTOR = 3", "FACTOR = 4"),
        ("SCALE = 2", "SCALE = 5"),
        ("return x * SCALE", "return SCALE * x"),
        ("x > 10", "x > 11"),
        ("Model().predict(y)", "Model().predict(y + 1)"),
        ("return helper(x)", "return helper(x) + 1"),
        ("rounds: int = 1", "rounds: int = 2"),
    ],
)
def test_digest_changes_with_code_that_is_reached(digest_of: Any, old: str, new: str) -> None:
    assert digest_of() != digest_of((old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# A comment.", "# Another comment, which is longer."),
        ('"""Doubles."""', '"""Gives the double."""'),
        ("def unused(x):\n    return x", "def unused(x):\n    return x + 1"),
        ("return x + FACTOR", "return (x\n        + FACTOR)"),
        ("pure=True", "pure=True, retry=3"),
        ("import json", "import json\n\n\n"),
    ],
)
def test_digest_does_not_change_with_anything_else(digest_of: Any, old: str, new: str) -> None:
    assert digest_of() == digest_of((old, new))


@mwfs.operator(pure=True, requirements=["numpy>=1"])
def uses_numpy(x: int) -> int:
    import numpy as np

    return int(np.add(x, 1))


def test_libraries_count_by_their_version() -> None:
    assert "numpy" in closure_of(uses_numpy).libraries
    other = mwfs.operator(pure=True, requirements=["numpy>=2"])(uses_numpy.function)
    assert environment_digest(uses_numpy) != environment_digest(other)


def test_only_pure_operators_are_cached_but_all_know_their_code() -> None:
    pure = uses_numpy.to_proto([0], [0])
    assert pure.cached
    assert pure.code_digest.startswith("sha256:")
    assert not uses_numpy.with_options(cache=False).to_proto([0], [0]).cached
    impure = mwfs.operator(uses_numpy.function).to_proto([0], [0])
    assert (impure.code_digest, impure.environment_digest, impure.cached) == (pure.code_digest, "", False)


def test_resources_by_attempt() -> None:
    def wanted(attempt: int) -> mwfs.Resources:
        return mwfs.Resources(memory=f"{2**attempt}Gi")

    row = mwfs.operator(retry=3, resources=wanted)(uses_numpy.function).to_proto([0], [0])
    assert [one.memory_bytes >> 30 for one in (row.resources, *row.later_resources)] == [2, 4, 8]
    grown = mwfs.Resources(memory="2Gi").growing(memory=3, most="10Gi")
    row = mwfs.operator(retry=5, resources=grown)(uses_numpy.function).to_proto([0], [0])
    assert [one.memory_bytes >> 30 for one in (row.resources, *row.later_resources)] == [2, 6, 10]
