"""What an attempt may use, and when a failed one is tried again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Literal, get_args

from mwfs.errors import MwfsError
from mwfs_api.dags.v1 import dag_pb2
from mwfs_types import resource_names

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
    gpu: whole GPUs. gpu_type: such as "A100"; empty means any. custom: whole units of what hosts offer under a name of its own,
    such as {"licenses": 1}. labels: what the host must have, such as {"zone": "a"}, or {"zone": ["a", "b"]} when either will do.
    """

    cpu: float = 1.0
    memory: str | int = 0
    gpu: int = 0
    gpu_type: str = ""
    #: Amounts above 0, by name, names ascending.
    custom: Mapping[str, int] = field(default_factory=dict, hash=False)
    #: By key, keys ascending: a tuple of the values that will do.
    labels: Mapping[str, str | Sequence[str]] = field(default_factory=dict, hash=False)
    #: Set by `growing`: how many times more memory each further attempt asks for, and at most how much.
    memory_factor: float = 1.0
    most_memory: str | int = 0

    def growing(self, *, memory: float, most: str | int) -> Resources:
        """Each further attempt asks for `memory` times as much memory, up to `most`: for work that may run out of it."""
        if isinstance(memory, bool) or not 1 <= memory <= 100:
            raise BadOption(f"growing(memory={memory!r}) would not give more.", "Give a factor: memory=2.")
        if not self.memory_bytes:
            raise BadOption("growing() needs an amount to start from.", 'Write Resources(memory="2Gi").growing(…).')
        grown = replace(self, memory_factor=float(memory), most_memory=most)
        if Resources(memory=most).memory_bytes < self.memory_bytes:
            raise BadOption(f"growing(most={most!r}) is less than the first attempt asks for.", "Give more.")
        return grown

    def of_later_attempts(self, attempts: int) -> tuple[Resources, ...]:
        """What attempts 2, 3, … ask for; empty when it is the same."""
        if self.memory_factor == 1.0:
            return ()
        most = Resources(memory=self.most_memory).memory_bytes
        found = []
        for attempt in range(1, attempts):
            size = min(most, int(self.memory_bytes * self.memory_factor**attempt))
            found.append(replace(self, memory=size, memory_factor=1.0, most_memory=0))
            if size == most:
                break
        return tuple(found)

    def __post_init__(self) -> None:
        if isinstance(self.cpu, bool) or not 0.001 <= self.cpu <= 4_000_000:
            raise BadOption(f"Resources(cpu={self.cpu!r}) is not a number of cores.", "Give 0.001 or more: cpu=0.5.")
        if isinstance(self.gpu, bool) or not isinstance(self.gpu, int) or not 0 <= self.gpu <= 1_000_000:
            raise BadOption(f"Resources(gpu={self.gpu!r}) is not a number of GPUs.", "Give a whole number: gpu=1.")
        if self.gpu_type and not self.gpu:
            raise BadOption(f"Resources(gpu_type={self.gpu_type!r}) asks for no GPU.", "Add gpu=1.")
        _ = self.memory_bytes
        object.__setattr__(self, "custom", _custom(self.custom))
        object.__setattr__(self, "labels", _labels(self.labels))

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
            cpu_millis=round(self.cpu * 1000),
            memory_bytes=self.memory_bytes,
            gpus=self.gpu,
            gpu_type=self.gpu_type,
            custom=resource_names.custom_rows(self.custom),
            labels=resource_names.label_rows(self.labels),
        )


def _custom(given: object) -> dict[str, int]:
    if not isinstance(given, Mapping):
        raise BadOption(f"Resources(custom={given!r}) are not amounts by name.", 'Write custom={"licenses": 1}.')
    for name, amount in given.items():
        if not resource_names.is_name(name):
            raise BadOption(
                f"Resources(custom={{{name!r}: {amount!r}}}): a custom resource cannot be called {name!r}.",
                f"A name is {resource_names.NAME_RULE}, which are options of their own: Resources(cpu=2, gpu=1).",
            )
        if isinstance(amount, bool) or not isinstance(amount, int) or not 0 <= amount <= resource_names.MAX_AMOUNT:
            raise BadOption(
                f"Resources(custom={{{name!r}: {amount!r}}}) is not an amount of {name}.",
                f'Give a whole number up to {resource_names.MAX_AMOUNT:,}: custom={{"{name}": 1}}.',
            )
    if len(given) > resource_names.MAX_CUSTOM:
        raise BadOption(
            f"Resources(custom=…) names {len(given)} resources.", f"Give at most {resource_names.MAX_CUSTOM}."
        )
    return {name: amount for name, amount in sorted(given.items()) if amount}


def _labels(given: object) -> dict[str, tuple[str, ...]]:
    if not isinstance(given, Mapping):
        raise BadOption(f"Resources(labels={given!r}) are not labels.", 'Write labels={"zone": "a"}.')
    found = {}
    for key, wanted in given.items():
        values = list(wanted) if isinstance(wanted, Iterable) and not isinstance(wanted, (str, bytes)) else [wanted]
        if not 1 <= len(values) <= resource_names.MAX_VALUES:
            raise BadOption(
                f"Resources(labels={{{key!r}: …}}) has {len(values)} values.",
                f'Give 1 to {resource_names.MAX_VALUES} of which any will do: labels={{"zone": ["a", "b"]}}.',
            )
        for text in (key, *values):
            if not resource_names.is_label(text):
                raise BadOption(
                    f"Resources(labels={{{key!r}: {wanted!r}}}): {text!r} cannot be the key or a value of a label.",
                    f'Each is text of {resource_names.LABEL_RULE}: labels={{"zone": "a"}}.',
                )
        found[key] = tuple(sorted(set(values)))
    if len(found) > resource_names.MAX_LABELS:
        raise BadOption(f"Resources(labels=…) has {len(found)} labels.", f"Give at most {resource_names.MAX_LABELS}.")
    return dict(sorted(found.items()))


#: Failures of these kinds can be named where exception classes can.
FailureClass = Literal["raised", "exited", "timed_out"]
_FAILURE_CLASSES = get_args(FailureClass)
Retried = type[BaseException] | FailureClass


@dataclass(frozen=True, slots=True)
class Retry:
    """When a failed attempt is tried again. Lost hosts and preemptions never count.

    attempts: in all, the first one included. backoff: seconds before the second attempt; each further wait is `factor`
    times longer, up to `max_backoff`; up to the share `jitter` of it is left out. except_errors: errors that are never tried again
    (their subclasses too), or "exited" for processes that ended and "timed_out". only_errors: nothing else is tried again.
    """

    attempts: int = 3
    backoff: float | timedelta = 1.0
    factor: float = 2.0
    max_backoff: float | timedelta = 300.0
    except_errors: tuple[Retried, ...] = ()
    only_errors: tuple[Retried, ...] = ()
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int) or not 1 <= self.attempts <= 1000:
            raise BadOption(f"Retry(attempts={self.attempts!r}) is not a number of attempts.", "Give 1 to 1000.")
        for name, given in (("backoff", self.backoff), ("max_backoff", self.max_backoff)):
            if not 0 <= seconds_of(given) <= 30 * 86_400:
                raise BadOption(f"Retry({name}={given!r}) is not a waiting time.", "Give seconds, at most 30 days.")
        if not 1 <= self.factor <= 1000:
            raise BadOption(f"Retry(factor={self.factor!r}) would not wait longer each time.", "Give 1 to 1000.")
        if isinstance(self.jitter, bool) or not 0 <= self.jitter <= 1:
            raise BadOption(f"Retry(jitter={self.jitter!r}) is not a share of a wait.", "Give 0 to 1: jitter=0.2.")
        for name, errors in (("except_errors", self.except_errors), ("only_errors", self.only_errors)):
            if not isinstance(errors, tuple) or not all(map(_is_error, errors)):
                raise BadOption(
                    f"Retry({name}={errors!r}) are not errors.",
                    f'Give a tuple of exception classes, "exited" or "timed_out": {name}=(ConnectionError, "timed_out").',
                )

    def to_proto(self) -> dag_pb2.RetryPolicy:
        return dag_pb2.RetryPolicy(
            attempts=self.attempts,
            backoff_seconds=seconds_of(self.backoff),
            backoff_factor=self.factor,
            max_backoff_seconds=seconds_of(self.max_backoff),
            except_errors=map(_error_name, self.except_errors),
            only_errors=map(_error_name, self.only_errors),
            jitter=self.jitter,
        )


def _is_error(error: object) -> bool:
    return error in _FAILURE_CLASSES or (isinstance(error, type) and issubclass(error, BaseException))


def _error_name(error: Retried) -> str:
    return error if isinstance(error, str) else f"{error.__module__}.{error.__qualname__}"


def seconds_of(duration: float | timedelta) -> float:
    """Seconds of a duration that users give as seconds or as a timedelta."""
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
