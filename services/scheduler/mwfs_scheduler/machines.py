"""Hosts as their action services offer them, and as the decision engine has them."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy

from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.model import Host
from mwfs_scheduler.model import Inventory, KnownHost
from mwfs_scheduler.resources import Resources


class Machines:
    """Hosts that come, change and go. What runs on one that is gone is remembered, and counts when it comes back."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._cluster: Cluster | None = None
        self.by_name: dict[str, KnownHost] = {}

    def move(self, cluster: Cluster) -> None:
        """The hosts stand in this cluster from now on, with nothing running on them yet."""
        self._cluster = cluster
        for name, known in self.by_name.items():
            known.host = self._closed(name)
            if known.inventory is not None:
                self._open(known)

    def imagined(self, resources: Resources, added: Iterable[Inventory]) -> Machines:
        """The same hosts and further ones, to be moved to another cluster."""
        other = Machines(resources)
        other.by_name = {name: copy(known) for name, known in self.by_name.items()}
        for inventory in added:
            other.by_name[inventory.host] = KnownHost(inventory=inventory, host=self._closed(inventory.host))
        return other

    def offer(self, inventory: Inventory) -> None:
        """A host offers this from now on. The cluster must be settled before it decides."""
        self.host(inventory.host)
        known = self.by_name[inventory.host]
        self._close(known)
        known.inventory = inventory
        self._open(known)

    def withdraw(self, name: str) -> None:
        """A host offers nothing any more. The cluster must be settled before it decides."""
        known = self.by_name.get(name)
        if known is not None:
            self._close(known)
            known.inventory = None
            self.forget(name)

    def forget(self, name: str) -> None:
        """Nothing need be known of a host that offers nothing and on which nothing runs."""
        known = self.by_name.get(name)
        if known is not None and known.inventory is None and not known.host.grants:
            del self.by_name[name]

    def host(self, name: str) -> Host:
        """The host of that name, noted if it is new."""
        known = self.by_name.get(name)
        if known is None:
            known = self.by_name[name] = KnownHost(inventory=None, host=self._closed(name))
        return known.host

    def _closed(self, name: str) -> Host:
        width = len(self._resources.names)
        return Host(id=name, capacity=[0] * width, free=[0] * width, open=False)

    def _open(self, known: KnownHost) -> None:
        """Let the engine have what the host offers, without what runs there."""
        assert known.inventory is not None
        assert self._cluster is not None
        host, has = known.host, known.inventory.capacity
        capacity = self._resources.capacity(has)
        host.free = [free + now - before for free, now, before in zip(host.free, capacity, host.capacity, strict=True)]
        host.capacity = capacity
        host.special = has.gpus > 0 or len(has.custom) > 0
        host.labels = {key: values[0] for key, values in has.labels}
        host.open = not known.inventory.draining
        self._cluster.add_host(host)

    def _close(self, known: KnownHost) -> None:
        if known.inventory is not None:
            assert self._cluster is not None
            self._cluster.hosts.remove(known.host)
            known.host.open = False
