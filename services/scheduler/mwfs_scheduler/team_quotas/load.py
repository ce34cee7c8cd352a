"""What the ledger knows, in the resources of quotas."""

from __future__ import annotations

from mwfs_scheduler.ledger import Ledger
from mwfs_scheduler.model import Need
from mwfs_scheduler.team_quotas.figures import Load


def load_of(ledger: Ledger) -> Load:
    """Held and waiting of each team, and what the connected hosts have."""
    held: dict[str, dict[str, int]] = {}
    for holdings in ledger.holdings.values():
        for holding in holdings.values():
            _add(held.setdefault(holding.team, {}), holding.need, holding.count)
    waiting: dict[str, int] = {}
    for groups in ledger.groups.values():
        for group in groups.values():
            if group.waiting:
                waiting[group.about.team] = waiting.get(group.about.team, 0) + group.waiting
    capacity: dict[str, int] = {}
    for host in ledger.hosts.values():
        if host.inventory is not None:
            _add(capacity, host.inventory.capacity, 1)
    return Load(capacity=capacity, held=held, waiting=waiting)


def _add(total: dict[str, int], need: Need, count: int) -> None:
    for resource, amount in need.amounts.items():
        total[resource] = total.get(resource, 0) + amount * count
