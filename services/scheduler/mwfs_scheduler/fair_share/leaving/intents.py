"""Room that is being made for somebody, on hosts where others were told to leave."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mwfs_scheduler.fair_share.model import Amounts, Grant, Host, Request, Shape, Time
from mwfs_scheduler.fair_share.state.hosts import Hosts
from mwfs_scheduler.fair_share.state.rooms import fitting

if TYPE_CHECKING:
    from mwfs_scheduler.fair_share.state.teams import Team


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
        #: For whom nothing is kept for a moment, to see whether it could start.
        self._back: Intent | None = None
        #: By host that somebody leaves: what will be free there. Hosts of which that may be something else, and up to where their changes are read.
        self._later: dict[Host, list[int]] = {}
        self._stale: set[Host] = set()
        self._seen = hosts.changes.end
        #: What was asked about that.
        self._rooms_later: dict[Shape, tuple[Host, int] | None] = {}

    def add(self, intent: Intent) -> None:
        self.by_id[intent.request.id] = intent
        for grant in intent.leaving:
            self._for.setdefault(grant, {})[intent] = None
        for host, members in counted(intent.hosts):
            self._on.setdefault(host, {})[intent] = members
            self._keep_on(host)

    def remove(self, intent: Intent) -> None:
        """The intent is there no longer. It must stand back."""
        assert self._back is intent, "what it kept has been given back"
        self._back = None
        del self.by_id[intent.request.id]
        self._changed.pop(intent, None)
        for grant in intent.leaving:
            del self._for[grant][intent]
            if not self._for[grant]:
                del self._for[grant]
        for host in dict.fromkeys(intent.hosts):
            del self._on[host][intent]
            if not self._on[host]:
                del self._on[host]

    def stand_back(self, intent: Intent) -> list[Host]:
        """The intent keeps nothing until it stands by again, in its old place; the hosts on which it did."""
        given = list(intent.kept)
        self._back = intent
        for host in dict.fromkeys(intent.hosts):
            self._keep_on(host)
        return given

    def stand_by(self, intent: Intent) -> None:
        """The intent that stood back keeps what it needs."""
        self._back = None
        for host in dict.fromkeys(intent.hosts):
            self._keep_on(host)

    def might_start(self, intent: Intent) -> bool:
        """Whether there could be room for it, if those who have what is kept on its hosts did not need it."""
        shape = intent.request.shape
        if shape.members > 1 or self._hosts.roomiest(shape) is not None:
            return True
        host = intent.hosts[0]
        free = list(host.free)
        for each in self._on[host]:
            for resource, amount in each.kept.get(host, ()):
                free[resource] += amount
        return fitting(free, shape.needs) > 0

    def told(self, grant: Grant) -> None:
        """The grant has been told to leave."""
        for host in grant.placed:
            self._leaving.setdefault(host, {})[grant] = None
            self._stale.add(host)

    def ended(self, grant: Grant) -> None:
        """The grant has left, or need not."""
        for host in dict.fromkeys(grant.hosts):
            self._stale.add(host)
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

    def eased(self, branch: Team) -> None:
        """Less is used below the burst limit of the branch."""
        for intent in self.by_id.values():
            if branch in intent.request.team.path:
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
        self._look_ahead()
        shape = request.shape
        if shape not in self._rooms_later:
            usable = self._hosts.usable(shape)
            rooms = [
                (host.id, host, fits)
                for host, free in self._later.items()
                if host in usable and (fits := fitting(free, shape.needs))
            ]
            self._rooms_later[shape] = min(rooms)[1:] if rooms else None
        return self._rooms_later[shape]

    def _look_ahead(self) -> None:
        """Work out anew what will be free on the hosts that have changed."""
        changes = self._hosts.changes
        if self._seen == changes.end and not self._stale:
            return
        changed = changes.since(self._seen)
        if changed is None:
            self._later.clear()
        for host in self._leaving if changed is None else self._stale.union(changed):
            if host in self._leaving:
                self._later[host] = self._free_later(host)
            else:
                self._later.pop(host, None)
        self._seen = changes.end
        self._stale.clear()
        self._rooms_later.clear()

    def members_later(self, request: Request) -> int:
        """How many members will fit once all have left who were told to, beside those for whom they leave."""
        usable = self._hosts.usable(request.shape)
        fits = self._hosts.rooms(request.shape).total()
        self._look_ahead()
        for host in usable & self._leaving.keys():
            fits += fitting(self._later[host], request.shape.needs) - fitting(host.free, request.shape.needs)
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
        self._stale.add(host)
        left: dict[Grant, dict[int, int]] = {}
        for intent, members in self._on[host].items():
            self._let_go(intent, host)
            if intent is self._back:
                continue
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
