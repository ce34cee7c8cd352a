"""What the action service is told through its environment."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

import psutil

from mwfs_api.dags.v1 import dag_pb2
from mwfs_chassis.errors import FailedPrecondition
from mwfs_chassis.settings import ServiceSettings, optional, require
from mwfs_types.resource_names import custom_rows, label_rows, parse_amounts, parse_labels

T = TypeVar("T")

GIB = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLimits:
    """How many worker processes, and how long they are kept."""

    #: A pool starts this many before it waits for evidence that more are needed.
    floor: int
    #: Never more worker processes than this, all pools together.
    most: int = 64
    #: An idle worker above the floor is kept this long, and one of a pool that nobody uses ten times as long.
    idle_seconds: float = 30.0
    #: Between SIGTERM and SIGKILL when an attempt is stopped.
    grace_seconds: float = 3.0
    #: An attempt that runs longer is in nobody's way: its worker's queue is given to others.
    long_us: int = 50_000
    #: Attempts that run longer are reported as started before they end.
    report_started_us: int = 100_000
    #: An attempt that writes more is stopped.
    max_log_bytes: int = GIB
    compile_seconds: float = 600.0
    #: Started ahead, so that a new version need not wait for a process.
    spares: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionSettings:
    """Everything the service needs to know before it starts."""

    service: ServiceSettings
    #: Name of this host for the scheduler.
    host: str
    scheduler_address: str
    #: Folder or URL of the object store.
    artifacts: str
    cpus: float
    memory_bytes: int
    gpus: int
    gpu_type: str
    #: Whatever else this host has, in whole units, by name.
    custom: Mapping[str, int]
    #: What nodes may ask of their host, by key.
    labels: Mapping[str, str]
    limits: WorkerLimits
    #: Outputs of attempts are kept this long.
    log_days: float
    max_artifact_bytes: int
    #: What one checkpoint of an operator may have.
    max_checkpoint_bytes: int

    @property
    def capacity(self) -> dag_pb2.Resources:
        """What this host offers."""
        return dag_pb2.Resources(
            cpu_millis=int(self.cpus * 1000),
            memory_bytes=self.memory_bytes,
            gpus=self.gpus,
            gpu_type=self.gpu_type if self.gpus else "",
            custom=custom_rows(self.custom),
            labels=label_rows({key: (value,) for key, value in self.labels.items()}),
        )

    @property
    def folder(self) -> Path:
        """Where this service keeps its journal, logs, bundles and scratch space."""
        return self.service.home / "action_service"

    @classmethod
    def from_env(cls) -> Self:
        cpus = _number("MWFS_CPUS", os.cpu_count() or 1)
        return cls(
            service=ServiceSettings.from_env(),
            host=optional("MWFS_HOST", "local"),
            scheduler_address=require("MWFS_SCHEDULER_ADDRESS"),
            artifacts=require("MWFS_ARTIFACTS"),
            cpus=cpus,
            memory_bytes=int(_number("MWFS_MEMORY_BYTES", psutil.virtual_memory().total)),
            gpus=int(_number("MWFS_GPUS", 0)),
            gpu_type=optional("MWFS_GPU_TYPE", ""),
            custom=_pairs("MWFS_RESOURCES", parse_amounts, "licenses=4,fpga=1"),
            labels=_pairs("MWFS_LABELS", parse_labels, "zone=a,disk=ssd"),
            limits=WorkerLimits(
                floor=max(2, int(cpus)),
                most=int(_number("MWFS_MAX_WORKERS", max(64, 10 * int(cpus)))),
                idle_seconds=_number("MWFS_WORKER_IDLE_SECONDS", 30),
                max_log_bytes=int(_number("MWFS_MAX_LOG_BYTES", GIB)),
            ),
            log_days=_number("MWFS_LOG_DAYS", 14),
            max_artifact_bytes=int(_number("MWFS_MAX_ARTIFACT_BYTES", 16 * GIB)),
            max_checkpoint_bytes=int(_number("MWFS_MAX_CHECKPOINT_BYTES", 4 * GIB)),
        )


def _pairs(name: str, parse: Callable[[Iterable[str]], dict[str, T]], example: str) -> dict[str, T]:
    text = optional(name, "")
    try:
        return parse(text.split(",")) if text.strip() else {}
    except ValueError as error:
        raise FailedPrecondition(
            f"The environment variable {name} is {text[:200]!r}: {error}.", f"Write such as {example}, or unset it."
        ) from None


def _number(name: str, default: float) -> float:
    text = optional(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise FailedPrecondition(
            f"The environment variable {name} must be a number that is not negative, found {text!r}.",
            f"Set it right, or unset it for the default of {default:g}.",
        )
    return value
