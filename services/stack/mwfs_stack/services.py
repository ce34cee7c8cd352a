"""Which services `up` runs, and what each is told through its environment."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from mwfs.home import any_of

SHARDS = ("shard_0", "shard_1")
DATABASES = ("catalogue", *SHARDS, "observability")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """A service, and the command that runs it."""

    #: Replicas of a service are named after it: `orchestrator`, `orchestrator-1` …
    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def argv(self) -> tuple[str, ...]:
        return self.command


def python_module(module: str) -> tuple[str, ...]:
    # -P: the working directory must not shadow a package of ours.
    return (sys.executable, "-P", "-m", module)


#: More replicas than anybody needs on one machine.
MAX_ORCHESTRATORS = 16
MAX_SCHEDULERS = 4


def services_of(orchestrators: int, schedulers: int = 1) -> tuple[ServiceSpec, ...]:
    """What runs, with so many replicas of the orchestrator, and so many schedulers, of which one leads."""
    return (
        *(_orchestrator(number) for number in range(orchestrators)),
        *(_scheduler(number) for number in range(schedulers)),
        *_OTHERS,
    )


def _orchestrator(number: int) -> ServiceSpec:
    return ServiceSpec(
        name=f"orchestrator-{number}" if number else "orchestrator",
        command=python_module("mwfs_orchestrator"),
        environment={"MWFS_REPLICA": f"orchestrator-{number}"},
    )


def _scheduler(number: int) -> ServiceSpec:
    return ServiceSpec(
        name=f"scheduler-{number}" if number else "scheduler",
        command=python_module("mwfs_scheduler"),
        environment={"MWFS_SCHEDULER": f"scheduler-{number}"},
    )


_OTHERS: tuple[ServiceSpec, ...] = (
    ServiceSpec(name="action_service", command=python_module("mwfs_action_service")),
    ServiceSpec(name="observability", command=python_module("mwfs_observability")),
)
SERVICES = services_of(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What operators may use on this machine."""

    cpus: float
    memory_bytes: int
    gpus: int
    gpu_type: str = ""
    #: Whatever else there is, in whole units, by name.
    custom: Mapping[str, int] = field(default_factory=dict)
    #: What nodes may ask of their host, by key.
    labels: Mapping[str, str] = field(default_factory=dict)

    def offered(self) -> dict[str, str]:
        """As the action service reads it. What nobody declared is as the environment says."""
        named = {
            "MWFS_GPU_TYPE": self.gpu_type,
            "MWFS_RESOURCES": ",".join(f"{name}={amount}" for name, amount in self.custom.items()),
            "MWFS_LABELS": ",".join(f"{key}={value}" for key, value in self.labels.items()),
        }
        return {
            "MWFS_CPUS": str(int(self.cpus) if self.cpus == int(self.cpus) else self.cpus),
            "MWFS_MEMORY_BYTES": str(self.memory_bytes),
            "MWFS_GPUS": str(self.gpus),
            **{name: text for name, text in named.items() if text},
        }

    @staticmethod
    def of_this_machine() -> "Capacity":
        """The cores and the memory that this process may use; GPUs are declared by hand."""
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return Capacity(cpus=cpus, memory_bytes=min(psutil.virtual_memory().total, _memory_limit()), gpus=0)


def _memory_limit() -> int:
    try:
        return int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such file, or "max"
        return sys.maxsize


def metrics_of(service: str) -> str:
    """The name under which the port of a service's metrics is recorded."""
    return f"{service}_metrics"


def common_environment(
    *,
    home: Path,
    token: str,
    ports: Mapping[str, int],
    services: Sequence[ServiceSpec],
    capacity: Capacity,
    dsn: Callable[[str], str],
) -> dict[str, str]:
    """What all services are told alike."""
    listening: dict[str, list[str]] = {}
    for spec in services:
        listening.setdefault(spec.name.partition("-")[0], []).append(f"127.0.0.1:{ports[spec.name]}")
    addresses = {f"MWFS_{name.upper()}_ADDRESS": any_of(replicas) for name, replicas in listening.items()}
    return {
        **os.environ,
        **addresses,
        "MWFS_HOME": str(home),
        "MWFS_TOKEN": token,
        "MWFS_DIE_WITH_PARENT": "1",
        "MWFS_PARENT_PID": str(os.getpid()),
        "MWFS_CATALOGUE_DSN": dsn("catalogue"),
        "MWFS_SHARD_DSNS": " ".join(map(dsn, SHARDS)),
        "MWFS_OBSERVABILITY_DSN": dsn("observability"),
        "MWFS_ARTIFACTS": os.environ.get("MWFS_ARTIFACTS") or str(home / "artifacts"),
        "MWFS_HOST": os.environ.get("MWFS_HOST") or "local",
        **capacity.offered(),
    }


def own_environment(spec: ServiceSpec, ports: Mapping[str, int]) -> dict[str, str]:
    """What differs from service to service."""
    return {
        **spec.environment,
        "MWFS_LISTEN": f"127.0.0.1:{ports[spec.name]}",
        "MWFS_METRICS_LISTEN": f"127.0.0.1:{ports[metrics_of(spec.name)]}",
    }
