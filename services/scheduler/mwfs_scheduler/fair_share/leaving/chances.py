"""On which host asking those there alone may make room, those first whose last comes first in the order of C7."""

# To look at all hosts for each request takes too long. Who comes before whom on a host changes with each that leaves or starts
# anywhere, but of one team it never does. So it is kept, for a host, where each team there has work that those before it do not do
# without: whatever set of those there does has one of these in it, or one of the same team that comes later. A team then moves in one
# step, with all its hosts, and a host is worked out anew only when it comes first. Where asking was in vain it stays so until there is
# more room there or somebody else may be asked, or a team there uses more.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from typing import TYPE_CHECKING

from mwfs_scheduler.fair_share.model import Grant, Host
from mwfs_scheduler.fair_share.state.rooms import Needs
from mwfs_scheduler.fair_share.state.teams import LeavingPlace, Team

if TYPE_CHECKING:
    from mwfs_scheduler.fair_share.leaving.borrowers import Borrowers

#: The shares of the branches above some work, negative, and these, from the top down.
Shares = tuple[tuple[int, str], ...]
#: Borrowers first; the shares of the branches above; its place in its team.
Order = tuple[int, Shares, LeavingPlace]
_Entry = tuple[LeavingPlace, str, Host]


@dataclass(slots=True, kw_only=True, eq=False)
class Chance:
    """Those on one host who may be asked, in the order of C7 as long as nobody has left."""

    host: Host
    there: Sequence[tuple[Grant, LeavingPlace]]
    order: Sequence[Order]
    #: What one member lacks on the host, and what each of them holds of that.
    lacks: Sequence[int]
    gives: Sequence[Sequence[int]]

    def earliest(self) -> Order:
        """The first who, with all before it, holds enough: whatever set of them does ends there or later."""
        left = list(self.lacks)
        for order, given in zip(self.order, self.gives, strict=True):
            left = [lack - amount for lack, amount in zip(left, given, strict=True)]
            if all(lack <= 0 for lack in left):
                return order
        return self.order[-1]

    def holds_enough(self, chosen: Sequence[int]) -> bool:
        """Whether these of them do."""
        gives = self.gives
        return chosen[-1] < len(gives) and all(
            sum(gives[each][at] for each in chosen) >= lack for at, lack in enumerate(self.lacks)
        )


class Chances:
    """For a member with these needs: the hosts where those who may be asked hold enough, and it is not known that asking is in vain."""

    def __init__(self, borrowers: Borrowers, needs: Needs, *, careful: bool) -> None:
        self._borrowers = borrowers
        self._needs = needs
        self._careful = careful
        #: Where it has read to, of hosts that have changed and of teams that use more.
        self._seen: tuple[int, int] = -1, -1
        #: By team: the place of its first work there that those before it do not do without.
        self._stands: dict[Host, Mapping[Team, LeavingPlace]] = {}
        self._in_vain: set[Host] = set()
        #: The hosts of a team by that place, and the teams by their shares; as heaps, in which what the rest does not say is void.
        self._hosts: dict[Team, list[_Entry]] = {}
        self._teams: list[tuple[Shares, int, Team]] = []
        #: A team that has gone may still be there beside one that came under its name.
        self._numbers = count()
        self._shares: dict[Team, Shares] = {}
        #: Entries in the heaps of hosts, and how many there may be until what is void is dropped.
        self._entries, self._most_entries = 0, 0
        self._aside: set[Host] = set()
        self._popped: list[tuple[Team, _Entry]] = []

    def first(self) -> tuple[Order, str, Host] | None:
        """The host that comes first, and where it stands."""
        self._read_on()
        on_hosts, teams, known = self._borrowers.on_hosts, self._teams, self._shares
        while teams:
            shares, number, team = teams[0]
            now = on_hosts.shares(team)
            if known.get(team) != shares:
                heappop(teams)
            elif now != shares:
                known[team] = now
                heapreplace(teams, (now, number, team))
            elif not self._hosts[team]:
                heappop(teams)
                del known[team]
            else:
                found = self._first_of(team)
                if found is not None:
                    return found
        return None

    def _first_of(self, team: Team) -> tuple[Order, str, Host] | None:
        """The host that stands first with this team, which comes first; None when it stands later than that, or there is none."""
        hosts, stands, aside = self._hosts[team], self._stands, self._aside
        while hosts:
            place, _, host = hosts[0]
            if host in aside:
                self._popped.append((team, heappop(hosts)))
            elif host not in stands or stands[host].get(team) != place:
                heappop(hosts)
                self._entries -= 1
            else:
                order = self._order_of(host)
                if order is None or order[1:] > (self._shares[team], place):
                    return None
                return order, host.id, host
        return None

    def set_aside(self, host: Host) -> None:
        """Leave the host out until `put_back`."""
        self._aside.add(host)

    def put_back(self) -> None:
        """Nothing is left out any more, but for where asking is in vain."""
        for team, entry in self._popped:
            self._push(team, entry)
        self._popped.clear()
        self._aside.clear()

    def ask_no_more(self, host: Host) -> None:
        """Asking those there is in vain."""
        del self._stands[host]
        self._in_vain.add(host)

    def _read_on(self) -> None:
        """Take in what has changed."""
        borrowers, seen = self._borrowers, self._seen
        hosts, grown = borrowers.better.since(seen[0]), borrowers.grown.since(seen[1])
        self._seen = borrowers.better.end, borrowers.grown.end
        if hosts is None or grown is None:
            self._in_vain.clear()
            placed = [(host, self._whoever_is_there(host)) for host in borrowers.hosts()]
            self._stands = {host: stands for host, stands in placed if stands}
            self._tidy()
            return
        to_look = set(hosts)
        for team in dict.fromkeys(grown):
            self._grow(team, to_look)
        self._in_vain -= to_look
        for host in to_look:
            self._place(host, self._whoever_is_there(host))
        if self._entries > self._most_entries:
            self._tidy()

    def _grow(self, team: Team, to_look: set[Host]) -> None:
        """The team, or one above it, uses more: its work comes earlier, and more of it can leave."""
        before = self._shares.get(team)
        if before is not None:
            shares = self._borrowers.on_hosts.shares(team)
            if shares < before:
                self._shares[team] = shares
                heappush(self._teams, (shares, next(self._numbers), team))
        if self._in_vain:
            for grant in self._borrowers.of_team(team):
                to_look.update(self._in_vain.intersection(grant.hosts))

    def _whoever_is_there(self, host: Host) -> dict[Team, LeavingPlace]:
        """Where the host stands at the earliest; empty when those there do not hold enough."""
        borrowers, stands = self._borrowers, dict[Team, LeavingPlace]()
        if host in borrowers.usable and borrowers.on_hosts.room(host, self._needs, careful=self._careful):
            for place, grant in borrowers.on_hosts.there(host, careful=self._careful):
                team = grant.request.team
                if team not in stands or place < stands[team]:
                    stands[team] = place
        return stands

    def _order_of(self, host: Host) -> Order | None:
        """Work out where the host stands; None when those there do not hold enough."""
        borrowers, stands = self._borrowers, dict[Team, LeavingPlace]()
        found = (
            borrowers.on_hosts.completing(host, self._needs, careful=self._careful) if host in borrowers.usable else []
        )
        for order, team in found:
            stands.setdefault(team, order[2])
        self._place(host, stands)
        return found[0][0] if found else None

    def _place(self, host: Host, stands: Mapping[Team, LeavingPlace]) -> None:
        if not stands:
            self._stands.pop(host, None)
            return
        before = self._stands.get(host, {})
        self._stands[host] = stands
        for team, place in stands.items():
            if before.get(team) != place:
                self._push(team, (place, host.id, host))
                self._entries += 1

    def _push(self, team: Team, entry: _Entry) -> None:
        heappush(self._hosts.setdefault(team, []), entry)
        if team not in self._shares:
            shares = self._shares[team] = self._borrowers.on_hosts.shares(team)
            heappush(self._teams, (shares, next(self._numbers), team))

    def _tidy(self) -> None:
        """Drop what is void."""
        self._hosts.clear()
        for host, stands in self._stands.items():
            for team, place in stands.items():
                self._hosts.setdefault(team, []).append((place, host.id, host))
        self._entries = sum(map(len, self._hosts.values()))
        self._most_entries = 64 + 4 * self._entries
        self._shares = {team: self._borrowers.on_hosts.shares(team) for team in self._hosts}
        self._teams = [(shares, next(self._numbers), team) for team, shares in self._shares.items()]
        heapify(self._teams)
        for entries in self._hosts.values():
            heapify(entries)


def gives(grant: Grant, host: Host, lacks: Sequence[tuple[int, int]]) -> list[int]:
    """What the grant holds of these resources on the host."""
    holds = dict(grant.request.shape.needs)
    return [holds.get(resource, 0) * host.grants[grant] for resource, _ in lacks]
