"""What an attempt may use, and when a failed one is tried again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from mwfs.errors import MwfsError
from mwfs_api.dags.v1 import dag_pb2

_MEMORY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(Ki|Mi|Gi|Ti|K|M|G|T|k)?B?\s*")
_UNITS = {
    None: 1,
    "k": 10**3,
    "K": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}


class BadOption(MwfsError, ValueError):
    """An option of an operator has a value that makes no sense."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Resources:
    """What one attempt of an operator may use.

    cpu: cores, in steps of a thousandth. memory: bytes, or text such as "2Gi" or "500M"; 0 asks for none in particular.
    gpu: whole GPUs. gpu_type: such as "A100"; empty means any.
    """

    cpu: float = 1.0
    memory: str | int = 0
    gpu: int = 0
    gpu_type: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.cpu, bool) or not 0.001 <= self.cpu <= 4_000_000:
            raise BadOption(f"Resources(cpu={self.cpu!r}) is not a number of cores.", "Give 0.001 or more: cpu=0.5.")
        if isinstance(self.gpu, bool) or not isinstance(self.gpu, int) or not 0 <= self.gpu <= 1_000_000:
            raise BadOption(f"Resources(gpu={self.gpu!r}) is not a number of GPUs.", "Give a whole number: gpu=1.")
        if self.gpu_type and not self.gpu:
            raise BadOption(f"Resources(gpu_type={self.gpu_type!r}) asks for no GPU.", "Add gpu=1.")
        _ = self.memory_bytes

    @property
    def memory_bytes(self) -> int:
        if isinstance(self.memory, int):
            if self.memory < 0 or self.memory >= 2**63:
                raise BadOption(f"Resources(memory={self.memory}) is not a size.", 'Give bytes or text: memory="2Gi".')
            return self.memory
        found = _MEMORY.fullmatch(self.memory)
        size = int(float(found[1]) * _UNITS[found[2]]) if found else -1
        if not 0 <= size < 2**63:
            raise BadOption(
                f"Resources(memory={self.memory!r}) is not a size.", 'Write a number and a unit: memory="2Gi".'
            )
        return size

    def to_proto(self) -> dag_pb2.Resources:
        return dag_pb2.Resources(
            cpu_millis=round(self.cpu * 1000), memory_bytes=self.memory_bytes, gpus=self.gpu, gpu_type=self.gpu_type
        )


@dataclass(frozen=True, slots=True)
class Retry:
    """When a failed attempt is tried again. Lost hosts and preemptions never count.

    attempts: in all, the first one included. backoff: seconds before the second attempt; each further wait is `factor`
    times longer, up to `max_backoff`. except_errors: errors that are never tried again (their subclasses too).
    """

    attempts: int = 3
    backoff: float | timedelta = 1.0
    factor: float = 2.0
    max_backoff: float | timedelta = 300.0
    except_errors: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int) or not 1 <= self.attempts <= 1000:
            raise BadOption(f"Retry(attempts={self.attempts!r}) is not a number of attempts.", "Give 1 to 1000.")
        for name, given in (("backoff", self.backoff), ("max_backoff", self.max_backoff)):
            if not 0 <= seconds_of(given) <= 30 * 86_400:
                raise BadOption(f"Retry({name}={given!r}) is not a waiting time.", "Give seconds, at most 30 days.")
        if not 1 <= self.factor <= 1000:
            raise BadOption(f"Retry(factor={self.factor!r}) would not wait longer each time.", "Give 1 to 1000.")

    def covers(self, error: BaseException) -> bool:
        """Whether this error may be tried again."""
        return not isinstance(error, self.except_errors)

    def to_proto(self) -> dag_pb2.RetryPolicy:
        return dag_pb2.RetryPolicy(
            attempts=self.attempts,
            backoff_seconds=seconds_of(self.backoff),
            backoff_factor=self.factor,
            max_backoff_seconds=seconds_of(self.max_backoff),
            except_errors=[f"{error.__module__}.{error.__qualname__}" for error in self.except_errors],
        )


def seconds_of(duration: float | timedelta) -> float:
    """Seconds of a duration that users give as seconds or as a timedelta."""
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
