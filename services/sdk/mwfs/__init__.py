"""Typed operators, workflows written as ordinary Python, and a platform that runs them: `import mwfs`.

Names load when they are first used, so that importing this package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mwfs.client import AsyncClient as AsyncClient
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

#: Public name → the module that defines it.
_HOMES = {
    "AsyncClient": "client",
    "Client": "client",
    "CompileError": "errors",
    "Dag": "dag",
    "Dataset": "types",
    "File": "types",
    "Future": "futures",
    "InvalidInput": "errors",
    "Metrics": "types",
    "Model": "types",
    "MwfsError": "errors",
    "Operator": "operators",
    "Resources": "resources",
    "Retry": "resources",
    "RunFailed": "errors",
    "Workflow": "workflows",
    "compile": "compiler",
    "operator": "operators",
    "workflow": "workflows",
}

__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
