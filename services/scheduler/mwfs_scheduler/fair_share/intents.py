"""Room that is being made for somebody, on hosts where others were told to leave."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter

from mwfs_scheduler.fair_share.hosts import Hosts
from mwfs_scheduler.fair_share.model import Amounts, Grant, Host, Request, Shape, Time
from mwfs_scheduler.fair_share.rooms import fitting


@dataclass(slots=True, kw_only=True, eq=False)
class Intent:
    """Who leaves for a request, until when, and where it will run."""

    request: Request
    #: One per member.
    hosts: list[Host]
    leaving: list[Grant]
    until: Time
    #: They leave for somebody else, and leave enough for this one too.
    joined: bool = False
    #: What is kept of free room: amounts per resource that nobody else may take, per host.
    kept: dict[Host, Amounts] = field(default_factory=dict)


class Intents:
    """All intents, and what each keeps. Those that share a host are served there in the order in which they were made."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self.by_id: dict[str, Intent] = {}
        self._on: dict[Host, dict[Intent, int]] = {}
        self._for: dict[Grant, dict[Intent, None]] = {}
        #: Who was told to leave each host.
        self._leaving: dict[Host, dict[Grant, None]] = {}
        self._changed: dict[Intent, None] = {}
        #: Goes up with each change of who leaves and of who will start then.
        self._state = 0
        #: At which state of that and of the hosts: what will be free where, and what was asked about that.
        self._known_at = (-1, -1)
        self._then: list[tuple[Host, list[int]]] = []
        self._rooms_then: dict[Shape, tuple[Host, int] | None] = {}

    def add(self, intent: Intent) -> None:
        self._state += 1
        self.by_id[intent.request.id] = intent
        for grant in intent.leaving:
            self._for.setdefault(grant, {})[intent] = None
        for host, members in counted(intent.hosts):
            self._on.setdefault(host, {})[intent] = members
            self._keep_on(host)

    def remove(self, intent: Intent) -> list[Host]:
        """The intent keeps nothing any more; the hosts on which it did."""
        self._state += 1
        del self.by_id[intent.request.id]
        self._changed.pop(intent, None)
        for grant in intent.leaving:
            del self._for[grant][intent]
            if not self._for[grant]:
                del self._for[grant]
        given = list(intent.kept)
        for host in dict.fromkeys(intent.hosts):
            self._let_go(intent, host)
            of_host = self._on[host]
            del of_host[intent]
            if of_host:
                self._keep_on(host)
            else:
                del self._on[host]
        return given

    def told(self, grant: Grant) -> None:
        """The grant has been told to leave."""
        self._state += 1
        for host in grant.placed:
            self._leaving.setdefault(host, {})[grant] = None

    def ended(self, grant: Grant) -> None:
        """The grant has left, or need not."""
        self._state += 1
        for host in dict.fromkeys(grant.hosts):
            there = self._leaving.get(host)
            if there is not None:
                there.pop(grant, None)
                if not there:
                    del self._leaving[host]
        for intent in self._for.pop(grant, ()):
            intent.leaving.remove(grant)
            self._changed[intent] = None

    def less_left(self, host: Host) -> None:
        """Of those who leave the host there is less: more of its free room is kept."""
        if host in self._on:
            self._keep_on(host)

    def room_on(self, host: Host) -> None:
        """There is more room on the host."""
        for intent in self.by_id.values():
            shape = intent.request.shape
            if host in intent.hosts or shape.members > 1 or fitting(host.free, shape.needs):
                self._changed[intent] = None

    def look_at_all(self) -> None:
        self._changed.update(dict.fromkeys(self.by_id.values()))

    @property
    def are_changed(self) -> bool:
        return bool(self._changed)

    def changed(self) -> list[Intent]:
        """Those for which something has changed since this was asked last."""
        changed = [intent for intent in self.by_id.values() if intent in self._changed] if self._changed else []
        self._changed.clear()
        return changed

    def leaving_room(self, request: Request) -> tuple[Host, int] | None:
        """The first host where there will be room for one member, and for how many."""
        if not self._leaving:
            return None
        now = self._state, self._hosts.changes.end
        if self._known_at != now:
            self._known_at = now
            self._then = [(host, self._free_later(host)) for host in sorted(self._leaving, key=attrgetter("id"))]
            self._rooms_then.clear()
        shape = request.shape
        if shape not in self._rooms_then:
            usable = self._hosts.usable(shape)
            rooms = ((host, fitting(free, shape.needs)) for host, free in self._then if host in usable)
            self._rooms_then[shape] = next((room for room in rooms if room[1]), None)
        return self._rooms_then[shape]

    def members_later(self, request: Request) -> int:
        """How many members will fit once all have left who were told to, beside those for whom they leave."""
        usable = self._hosts.usable(request.shape)
        fits = self._hosts.rooms(request.shape).total()
        for host in usable & self._leaving.keys():
            fits += fitting(self._free_later(host), request.shape.needs) - fitting(host.free, request.shape.needs)
        return fits

    def _free_later(self, host: Host) -> list[int]:
        """What will be free on the host once all have left who were told to, and those have started for whom they leave."""
        free = list(host.free)
        for resource, amount in _held(self._leaving[host], host):
            free[resource] += amount
        for intent, members in self._on.get(host, {}).items():
            kept = dict(intent.kept.get(host, ()))
            for resource, amount in intent.request.shape.needs:
                free[resource] -= amount * members - kept.get(resource, 0)
        return free

    def on(self, host: Host) -> list[Grant]:
        """Who was told to leave the host."""
        return list(self._leaving.get(host, ()))

    def _let_go(self, intent: Intent, host: Host) -> None:
        kept = intent.kept.pop(host, None)
        if kept:
            self._hosts.change(host, kept, -1)

    def _keep_on(self, host: Host) -> None:
        """Each keeps of the host what it needs beside what those who leave for it still hold there, which counts once."""
        left: dict[Grant, dict[int, int]] = {}
        for intent, members in self._on[host].items():
            self._let_go(intent, host)
            needs = {resource: amount * members for resource, amount in intent.request.shape.needs}
            for grant in intent.leaving:
                if host in grant.hosts:
                    there = left.get(grant)
                    if there is None:
                        there = left[grant] = dict(_held((grant,), host))
                    for resource in needs.keys() & there.keys():
                        less = min(needs[resource], there[resource])
                        needs[resource] -= less
                        there[resource] -= less
            kept = tuple((resource, amount) for resource, amount in needs.items() if amount)
            if kept:
                self._hosts.change(host, kept, 1)
                intent.kept[host] = kept


def counted(hosts: Iterable[Host]) -> Iterable[tuple[Host, int]]:
    counted: dict[Host, int] = {}
    for host in hosts:
        counted[host] = counted.get(host, 0) + 1
    return counted.items()


def _held(grants: Iterable[Grant], host: Host) -> Iterable[tuple[int, int]]:
    """(resource, amount) that these grants hold on the host, grant by grant."""
    for grant in grants:
        members = host.grants.get(grant, 0)
        for resource, amount in grant.request.shape.needs:
            yield resource, amount * members
