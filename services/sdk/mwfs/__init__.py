"""Typed operators, workflows written as ordinary Python, and a platform that runs them: `import mwfs`.

Names load when they are first used, so that importing this package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mwfs import passes as passes
    from mwfs.attempt_context import Preempted as Preempted
    from mwfs.attempt_context import ctx as ctx
    from mwfs.cache.local_cache import LocalCache as LocalCache
    from mwfs.client import BlockingClient as BlockingClient
    from mwfs.client import Client as Client
    from mwfs.compiler import compile as compile
    from mwfs.dag import Dag as Dag
    from mwfs.earlier import latest as latest
    from mwfs.earlier import output_of as output_of
    from mwfs.errors import CompileError as CompileError
    from mwfs.errors import InvalidInput as InvalidInput
    from mwfs.errors import MwfsError as MwfsError
    from mwfs.errors import RunFailed as RunFailed
    from mwfs.futures import Future as Future
    from mwfs.heartbeats import heartbeat as heartbeat
    from mwfs.lifted import all_of as all_of
    from mwfs.lifted import any_of as any_of
    from mwfs.lifted import as_float as as_float
    from mwfs.lifted import as_int as as_int
    from mwfs.lifted import as_text as as_text
    from mwfs.lifted import coalesce as coalesce
    from mwfs.lifted import contains as contains
    from mwfs.lifted import entries as entries
    from mwfs.lifted import flatten as flatten
    from mwfs.lifted import is_none as is_none
    from mwfs.lifted import keys as keys
    from mwfs.lifted import largest as largest
    from mwfs.lifted import length as length
    from mwfs.lifted import not_ as not_
    from mwfs.lifted import select as select
    from mwfs.lifted import smallest as smallest
    from mwfs.lifted import total as total
    from mwfs.lifted import values as values
    from mwfs.local_run import LocalRun as LocalRun
    from mwfs.operators import Operator as Operator
    from mwfs.operators import operator as operator
    from mwfs.resources import Resources as Resources
    from mwfs.resources import Retry as Retry
    from mwfs.structure.branches import when as when
    from mwfs.structure.dynamic import dynamic as dynamic
    from mwfs.structure.failure import Failure as Failure
    from mwfs.structure.fallbacks import catch as catch
    from mwfs.structure.fallbacks import with_cleanup as with_cleanup
    from mwfs.structure.loops import LoopLimit as LoopLimit
    from mwfs.structure.loops import repeat_while as repeat_while
    from mwfs.structure.mapping import crossed as crossed
    from mwfs.structure.mapping import filter as filter
    from mwfs.structure.mapping import group as group
    from mwfs.structure.mapping import map as map
    from mwfs.structure.mapping import reduce as reduce
    from mwfs.structure.mapping import zipped as zipped
    from mwfs.structure.nesting import child as child
    from mwfs.structure.races import NoWinner as NoWinner
    from mwfs.structure.races import race as race
    from mwfs.structure.waiting import after as after
    from mwfs.structure.waiting import signal as signal
    from mwfs.structure.waiting import sleep as sleep
    from mwfs.type_registry import register_type as register_type
    from mwfs.types import Checkpoint as Checkpoint
    from mwfs.types import Dataset as Dataset
    from mwfs.types import Directory as Directory
    from mwfs.types import FeatureSet as FeatureSet
    from mwfs.types import File as File
    from mwfs.types import HyperparameterSet as HyperparameterSet
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
    from mwfs_types.growth import GrowthLimits as GrowthLimits
    from mwfs_types.partitions import DatePartition as DatePartition

#: Public name → the module that defines it.
_HOMES = {
    "Client": "mwfs.client",
    "Choices": "mwfs_types.constraints",
    "BlockingClient": "mwfs.client",
    "CompileError": "mwfs.errors",
    "Dag": "mwfs.dag",
    "Checkpoint": "mwfs.types",
    "Dataset": "mwfs.types",
    "Directory": "mwfs.types",
    "FeatureSet": "mwfs.types",
    "HyperparameterSet": "mwfs.types",
    "DatePartition": "mwfs_types.partitions",
    "File": "mwfs.types",
    "GrowthLimits": "mwfs_types.growth",
    "Doc": "mwfs_types.constraints",
    "Future": "mwfs.futures",
    "InvalidInput": "mwfs.errors",
    "LocalCache": "mwfs.cache.local_cache",
    "LocalRun": "mwfs.local_run",
    "Length": "mwfs_types.constraints",
    "Metrics": "mwfs.types",
    "Model": "mwfs.types",
    "MwfsError": "mwfs.errors",
    "Operator": "mwfs.operators",
    "Pattern": "mwfs_types.constraints",
    "Range": "mwfs_types.constraints",
    "Resources": "mwfs.resources",
    "Retry": "mwfs.resources",
    "Preempted": "mwfs.attempt_context",
    "ctx": "mwfs.attempt_context",
    "RunFailed": "mwfs.errors",
    "Unit": "mwfs_types.constraints",
    "Workflow": "mwfs.workflows",
    "compile": "mwfs.compiler",
    "Failure": "mwfs.structure.failure",
    "LoopLimit": "mwfs.structure.loops",
    "NoWinner": "mwfs.structure.races",
    "after": "mwfs.structure.waiting",
    "all_of": "mwfs.lifted",
    "any_of": "mwfs.lifted",
    "as_float": "mwfs.lifted",
    "as_int": "mwfs.lifted",
    "as_text": "mwfs.lifted",
    "catch": "mwfs.structure.fallbacks",
    "child": "mwfs.structure.nesting",
    "coalesce": "mwfs.lifted",
    "contains": "mwfs.lifted",
    "crossed": "mwfs.structure.mapping",
    "dynamic": "mwfs.structure.dynamic",
    "entries": "mwfs.lifted",
    "filter": "mwfs.structure.mapping",
    "flatten": "mwfs.lifted",
    "group": "mwfs.structure.mapping",
    "heartbeat": "mwfs.heartbeats",
    "is_none": "mwfs.lifted",
    "keys": "mwfs.lifted",
    "largest": "mwfs.lifted",
    "latest": "mwfs.earlier",
    "length": "mwfs.lifted",
    "map": "mwfs.structure.mapping",
    "not_": "mwfs.lifted",
    "output_of": "mwfs.earlier",
    "race": "mwfs.structure.races",
    "reduce": "mwfs.structure.mapping",
    "register_type": "mwfs.type_registry",
    "repeat_while": "mwfs.structure.loops",
    "select": "mwfs.lifted",
    "signal": "mwfs.structure.waiting",
    "sleep": "mwfs.structure.waiting",
    "smallest": "mwfs.lifted",
    "total": "mwfs.lifted",
    "values": "mwfs.lifted",
    "when": "mwfs.structure.branches",
    "with_cleanup": "mwfs.structure.fallbacks",
    "zipped": "mwfs.structure.mapping",
    "operator": "mwfs.operators",
    "workflow": "mwfs.workflows",
}

#: Modules that are part of the public interface.
_MODULES = ("passes", "sweep", "testing", "types")

__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(f"mwfs.{name}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
