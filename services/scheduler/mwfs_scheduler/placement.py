"""Which host a node goes to: best fit, so that large holes and whole GPUs stay free."""

from __future__ import annotations

from collections.abc import Iterable

from mwfs_scheduler.model import HostLedger, Inventory, Shape

_WITHOUT_BOUND = 1 << 62


def could_ever_fit(inventory: Inventory, shape: Shape) -> bool:
    """True when an empty host of this kind could run one node of the shape."""
    has = inventory.capacity
    return (
        shape.cpu_millis <= has.cpu_millis
        and shape.memory_bytes <= has.memory_bytes
        and shape.gpus <= has.gpus
        and has_type(inventory, shape)
    )


def has_type(inventory: Inventory, shape: Shape) -> bool:
    """True when the host has GPUs of the type that the shape asks for, or it asks for none."""
    return not shape.gpu_type or (inventory.capacity.gpus > 0 and shape.gpu_type == inventory.capacity.gpu_type)


def fitting(host: HostLedger, shape: Shape) -> int:
    """How many nodes of the shape the host can take now."""
    inventory = host.inventory
    if inventory is None or inventory.draining or not has_type(inventory, shape):
        return 0
    has = inventory.capacity
    fits = _WITHOUT_BOUND
    if shape.cpu_millis:
        fits = (has.cpu_millis - host.used_cpu) // shape.cpu_millis
    if shape.memory_bytes:
        fits = min(fits, (has.memory_bytes - host.used_memory) // shape.memory_bytes)
    if shape.gpus:
        fits = min(fits, (has.gpus - host.used_gpus) // shape.gpus)
    return max(fits, 0)


def best_host(hosts: Iterable[HostLedger], shape: Shape) -> tuple[HostLedger, int] | None:
    """The host that the next node of the shape goes to, and how many it can take; None when there is none.

    A node with GPUs goes where the fewest are free, so that whole hosts stay free for large requests. A node without
    goes to hosts that have no GPUs first. Then the tightest host, then the name.
    """
    best: HostLedger | None = None
    best_fits = 0
    best_key: tuple[bool, int, int, int, str] | None = None
    for host in hosts:
        fits = fitting(host, shape)
        if not fits:
            continue
        assert host.inventory is not None
        has = host.inventory.capacity
        key = (
            has.gpus > 0 and not shape.gpus,
            has.gpus - host.used_gpus,
            has.cpu_millis - host.used_cpu,
            has.memory_bytes - host.used_memory,
            host.host,
        )
        if best_key is None or key < best_key:
            best, best_fits, best_key = host, fits, key
    return None if best is None else (best, best_fits)
