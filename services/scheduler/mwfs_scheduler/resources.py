"""The resources that are shared, as the decision engine counts them: cpu, memory, gpu, each type of GPU, and custom ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from mwfs_scheduler.fair_share.model import Selector, Shape
from mwfs_scheduler.model import Need

#: Thousandths of a core, bytes, GPUs.
CPU, MEMORY, GPU = range(3)
#: What is counted nowhere: no host ever has it.
_UNHEARD_OF: Final = 3
BASE: Final = ("cpu", "memory", "gpu", "gpu:")
#: Further types count as one that no host has: whoever can ask for types must not make the engine slow.
MAX_GPU_TYPES: Final = 64
#: Custom names of all hosts and quotas. What nodes ask for is counted only when a host or a quota names it.
MAX_CUSTOM_NAMES: Final = 64
#: Most groups ask for what others have asked for.
MAX_SHAPES_KEPT: Final = 4_096
#: One grant carries nodes without GPUs that need no more than this in all; what needs more is granted by itself. So who must
#: make room is never more than this, or one node.
_TOGETHER: Final = (1000, 4 << 30, 0, 0)


class Resources:
    """The names in the order in which the engine has their amounts. It only grows."""

    def __init__(self) -> None:
        self.names = list(BASE)
        #: Which of them are types of GPU.
        self.types: list[int] = []
        self._index = {name: at for at, name in enumerate(BASE)}
        self._shapes: dict[tuple[Need, int | None], Shape] = {}

    def learn(self, name: str) -> bool:
        """Whether it is new, and the engine must begin to count it."""
        if name in self._index or not self._room(name):
            return False
        if _is_type(name):
            self.types.append(len(self.names))
        self._index[name] = len(self.names)
        self.names.append(name)
        self._shapes.clear()
        return True

    def learn_type(self, need: Need) -> bool:
        return bool(need.gpu_type) and self.learn(f"gpu:{need.gpu_type}")

    def beyond(self, has: Need) -> list[str]:
        """The names among those of a host that cannot be counted any more."""
        new = [name for name, _ in has.custom if name not in self._index]
        room = MAX_CUSTOM_NAMES - self._custom()
        return new[max(0, room) :]

    def _room(self, name: str) -> bool:
        return len(self.types) < MAX_GPU_TYPES if _is_type(name) else self._custom() < MAX_CUSTOM_NAMES

    def _custom(self) -> int:
        return len(self.names) - len(BASE) - len(self.types)

    def shape(self, need: Need, duration: int | None = None) -> Shape:
        """What a node needs, and for how long; of a GPU with a type, both a GPU and one of the type."""
        shape = self._shapes.get((need, duration))
        if shape is None:
            if len(self._shapes) >= MAX_SHAPES_KEPT:
                self._shapes.clear()
            shape = self._shapes[need, duration] = self._shape(need, duration)
        return shape

    def _shape(self, need: Need, duration: int | None) -> Shape:
        found = {CPU: need.cpu_millis, MEMORY: need.memory_bytes, GPU: need.gpus}
        if need.gpu_type and need.gpus:
            found[self._index.get(f"gpu:{need.gpu_type}", _UNHEARD_OF)] = need.gpus
        for name, amount in need.custom:
            found[self._index.get(name, _UNHEARD_OF)] = amount
        needs = tuple((at, amount) for at, amount in sorted(found.items()) if amount)
        return Shape(needs, selector=need.labels, duration=duration)

    def capacity(self, has: Need) -> list[int]:
        """What a host has, per resource."""
        amounts = [0] * len(self.names)
        amounts[CPU], amounts[MEMORY], amounts[GPU] = has.cpu_millis, has.memory_bytes, has.gpus
        of_type = self._index.get(f"gpu:{has.gpu_type}") if has.gpu_type else None
        if of_type is not None:
            amounts[of_type] = has.gpus
        for name, amount in has.custom:
            amounts[self._index[name]] = amount
        return amounts

    def amounts(self, named: Mapping[str, int]) -> list[int | None]:
        """The amounts by resource; None where there is none."""
        return [named.get(name) for name in self.names]

    def together(self) -> list[int]:
        return [*_TOGETHER, *([0] * (len(self.names) - len(_TOGETHER)))]


def _is_type(name: str) -> bool:
    return name.startswith("gpu:")


def describe(need: Need) -> str:
    """`2 cores, 4 GiB, 1 GPU of type h100 and 2 × licenses`; of nothing at all "nothing"."""
    amounts = need.amounts
    if need.gpu_type:
        amounts.pop("gpu", None)
    return listed([quantity(name, amount) for name, amount in amounts.items()]) or "nothing"


def labelled(selector: Selector) -> str:
    """`zone=a or b and disk=ssd`."""
    return listed([f"{key}={listed(values, 'or')}" for key, values in selector])


def listed(parts: Sequence[str], word: str = "and") -> str:
    """`a, b and c`."""
    return f"{', '.join(parts[:-1])} {word} {parts[-1]}" if len(parts) > 1 else "".join(parts)


def quantity(resource: str, amount: int) -> str:
    """`1.5 cores`, `4 GiB`, `2 GPUs of type h100`, `2 × licenses`."""
    if resource == "cpu":
        cores = amount / 1000
        return f"{cores:g} core{'' if cores == 1 else 's'}"
    if resource == "memory":
        return _bytes(amount)
    if resource != "gpu" and not _is_type(resource):
        return f"{amount} × {resource}"
    _, _, gpu_type = resource.partition(":")
    return f"{amount} GPU{'' if amount == 1 else 's'}{f' of type {gpu_type}' if gpu_type else ''}"


def _bytes(count: int) -> str:
    for unit, size in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return f"{count} byte{'' if count == 1 else 's'}"
