"""Typed operators, workflows written as ordinary Python, and a platform that runs them: `import mwfs`.

Names load when they are first used, so that importing this package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mwfs.client import BlockingClient as BlockingClient
    from mwfs.client import Client as Client
    from mwfs.compiler import compile as compile
    from mwfs.dag import Dag as Dag
    from mwfs.errors import CompileError as CompileError
    from mwfs.errors import InvalidInput as InvalidInput
    from mwfs.errors import MwfsError as MwfsError
    from mwfs.errors import RunFailed as RunFailed
    from mwfs.futures import Future as Future
    from mwfs.operators import Operator as Operator
    from mwfs.operators import operator as operator
    from mwfs.resources import Resources as Resources
    from mwfs.resources import Retry as Retry
    from mwfs.types import Dataset as Dataset
    from mwfs.types import File as File
    from mwfs.types import Metrics as Metrics
    from mwfs.types import Model as Model
    from mwfs.workflows import Workflow as Workflow
    from mwfs.workflows import workflow as workflow
    from mwfs_types.constraints import Choices as Choices
    from mwfs_types.constraints import Doc as Doc
    from mwfs_types.constraints import Length as Length
    from mwfs_types.constraints import Pattern as Pattern
    from mwfs_types.constraints import Range as Range
    from mwfs_types.constraints import Unit as Unit

#: Public name → the module that defines it.
_HOMES = {
    "Client": "mwfs.client",
    "Choices": "mwfs_types.constraints",
    "BlockingClient": "mwfs.client",
    "CompileError": "mwfs.errors",
    "Dag": "mwfs.dag",
    "Dataset": "mwfs.types",
    "File": "mwfs.types",
    "Doc": "mwfs_types.constraints",
    "Future": "mwfs.futures",
    "InvalidInput": "mwfs.errors",
    "Length": "mwfs_types.constraints",
    "Metrics": "mwfs.types",
    "Model": "mwfs.types",
    "MwfsError": "mwfs.errors",
    "Operator": "mwfs.operators",
    "Pattern": "mwfs_types.constraints",
    "Range": "mwfs_types.constraints",
    "Resources": "mwfs.resources",
    "Retry": "mwfs.resources",
    "RunFailed": "mwfs.errors",
    "Unit": "mwfs_types.constraints",
    "Workflow": "mwfs.workflows",
    "compile": "mwfs.compiler",
    "operator": "mwfs.operators",
    "workflow": "mwfs.workflows",
}

__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
