"""Why a group waits, with the numbers. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from mwfs_scheduler.ledger import Ledger
from mwfs_scheduler.model import Group, Inventory, Shape
from mwfs_scheduler.placement import could_ever_fit, has_type


class Reason(Enum):
    """The reasons that this version knows. Names are those of the proto's `WaitingReason`."""

    NO_NODE_LARGE_ENOUGH = "no_node_large_enough"
    NO_SUCH_TYPE = "no_such_type"
    WAITING_FOR_CAPACITY = "waiting_for_capacity"
    FRAGMENTED = "fragmented"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why one group waits."""

    group: Group
    reason: Reason
    #: One plain sentence.
    message: str
    #: It can never start with the hosts as they are.
    permanent: bool


def explain_run(ledger: Ledger, run_id: str) -> list[Explanation]:
    """One explanation for each waiting group of the run, in the order in which they will be served."""
    groups = [
        group
        for of_replica in ledger.groups.values()
        for group in of_replica.values()
        if group.run_id == run_id and group.waiting
    ]
    return [_explain(ledger, group) for group in sorted(groups, key=lambda group: group.key)]


def _explain(ledger: Ledger, group: Group) -> Explanation:
    reason, message, permanent = _why(ledger, group)
    return Explanation(group=group, reason=reason, message=message, permanent=permanent)


def _why(ledger: Ledger, group: Group) -> tuple[Reason, str, bool]:
    shape, inventories = group.shape, ledger.inventories()
    if ledger.awaited:
        who = ", ".join(sorted(ledger.awaited))
        return (
            Reason.WAITING_FOR_CAPACITY,
            f"The scheduler has just started and waits for {who} to say what is already running.",
            False,
        )
    if not inventories:
        return (
            Reason.WAITING_FOR_CAPACITY,
            f"A node needs {describe(shape)}, and no host is connected at present.",
            False,
        )
    if shape.gpu_type and not any(has_type(one, shape) for one in inventories):
        types = sorted({one.capacity.gpu_type for one in inventories if one.capacity.gpus and one.capacity.gpu_type})
        offered = f"the hosts have {', '.join(types)}" if types else "no host has GPUs of a named type"
        return Reason.NO_SUCH_TYPE, f"A node needs GPUs of type {shape.gpu_type}, and {offered}.", True
    able = [one for one in inventories if could_ever_fit(one, shape)]
    if not able:
        return Reason.NO_NODE_LARGE_ENOUGH, _too_large(shape, inventories), True
    return _no_room(ledger, group, able)


def _too_large(shape: Shape, inventories: list[Inventory]) -> str:
    most = max(inventories, key=lambda one: (one.capacity.gpus, one.capacity.cpu_millis, one.capacity.memory_bytes))
    hosts = "the only host" if len(inventories) == 1 else f"the largest of {len(inventories)} hosts"
    return f"A node needs {describe(shape)} on one host, and {hosts}, {most.host}, has {describe(most.capacity)}."


def _no_room(ledger: Ledger, group: Group, able: list[Inventory]) -> tuple[Reason, str, bool]:
    shape = group.shape
    free = []
    for inventory in able:
        if not inventory.draining:
            host, has = ledger.hosts[inventory.host], inventory.capacity
            free.append(
                Shape(
                    max(0, has.cpu_millis - host.used_cpu),
                    max(0, has.memory_bytes - host.used_memory),
                    max(0, has.gpus - host.used_gpus),
                    shape.gpu_type,
                )
            )
    total = Shape(
        sum(one.cpu_millis for one in free),
        sum(one.memory_bytes for one in free),
        sum(one.gpus for one in free),
        shape.gpu_type,
    )
    enough = total.cpu_millis >= shape.cpu_millis and total.memory_bytes >= shape.memory_bytes
    hosts = f"{len(able)} host{'' if len(able) == 1 else 's'} could run it"
    ahead = f"{group.waiting} of this group wait, {ledger.nodes_granted} nodes hold places."
    if len(free) > 1 and enough and total.gpus >= shape.gpus:
        return (
            Reason.FRAGMENTED,
            f"A node needs {describe(shape)} on one host; {hosts} and together have {describe(total)} free, "
            f"but no single one has enough; {ahead}",
            False,
        )
    verb = "has" if len(able) == 1 else "have"
    return (
        Reason.WAITING_FOR_CAPACITY,
        f"A node needs {describe(shape)}; {hosts} and {verb} {describe(total)} free; {ahead}",
        False,
    )


def describe(shape: Shape) -> str:
    """`2 cores, 4 GiB and 1 GPU of type h100`; of nothing at all "nothing"."""
    parts = []
    if shape.cpu_millis:
        cores = shape.cpu_millis / 1000
        parts.append(f"{cores:g} core{'' if cores == 1 else 's'}")
    if shape.memory_bytes:
        parts.append(_bytes(shape.memory_bytes))
    if shape.gpus:
        kind = f" of type {shape.gpu_type}" if shape.gpu_type else ""
        parts.append(f"{shape.gpus} GPU{'' if shape.gpus == 1 else 's'}{kind}")
    if len(parts) < 2:
        return "".join(parts) or "nothing"
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _bytes(count: int) -> str:
    for unit, size in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return f"{count} bytes"
