"""On which host asking those there alone may make room, those first whose last comes first in the order of C7."""

# To look at all hosts for each request takes too long. So it is kept where a host stands: whatever set of those there does ends there
# or later. Work only comes later while its team uses less, so that is put right when the host comes first, and for hosts of teams that
# use more. Where asking was in vain it stays so until then.

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush, heapreplace
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
_Entry = tuple[Order, str, Host]


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

    def __init__(self, borrowers: Borrowers, needs: Needs, hosts: Iterable[Host], *, careful: bool) -> None:
        self._borrowers = borrowers
        self._needs = needs
        self._careful = careful
        #: Hosts that have changed since somebody asked.
        self._to_look: set[Host] = set(hosts)
        #: Where a host stands; as a heap, in which what this does not say is void.
        self._order: dict[Host, Order] = {}
        self._heap: list[_Entry] = []
        #: Whose place that was when it was worked out last, and where the next of another team came: none does earlier than the first of both.
        self._last: dict[Host, tuple[Team, LeavingPlace, Order | None]] = {}

    def look_at(self, hosts: Iterable[Host]) -> None:
        """On these hosts others may be asked than before, or some may come earlier."""
        self._to_look.update(hosts)

    def first(self) -> _Entry | None:
        """The host that comes first, and where it stands."""
        if self._to_look:
            self._look()
        heap, orders = self._heap, self._order
        while heap:
            order, _, host = heap[0]
            if orders.get(host) != order:
                heappop(heap)
                continue
            not_before = self._not_before(host)
            now = not_before if not_before > order else self._work_out(host)
            if now is None:
                del orders[host]
                heappop(heap)
            elif now <= order:
                # What is known of the host may be of before a branch above used less: it does not come back.
                return heap[0]
            else:
                orders[host] = now
                heapreplace(heap, (now, host.id, host))
        return None

    def take(self, host: Host) -> None:
        """Leave the host out until it is `put`: always, if asking those there is in vain."""
        del self._order[host]

    def put(self, host: Host, order: Order) -> None:
        """The host stands there."""
        self._order[host] = order
        heappush(self._heap, (order, host.id, host))

    def _look(self) -> None:
        usable = self._borrowers.usable
        for host in self._to_look:
            order = self._work_out(host) if host in usable else None
            if order is None:
                self._order.pop(host, None)
            elif self._order.get(host) != order:
                self.put(host, order)
        self._to_look.clear()
        if len(self._heap) > 64 + 4 * len(self._order):
            self._heap = sorted((order, host.id, host) for host, order in self._order.items())

    def _work_out(self, host: Host) -> Order | None:
        """Where the host stands; None when those there do not hold enough."""
        found = self._borrowers.on_hosts.earliest(host, self._needs, careful=self._careful)
        if found is None:
            return None
        order, grant, following = found
        self._last[host] = grant.request.team, order[2], following
        return order

    def _not_before(self, host: Host) -> Order:
        """It does not stand before this: when one comes later because its team uses less, another may do that came after it."""
        team, place, following = self._last[host]
        order = self._borrowers.on_hosts.order_of(team, place)
        return order if following is None or order < following else following


def gives(grant: Grant, host: Host, lacks: Sequence[tuple[int, int]]) -> list[int]:
    """What the grant holds of these resources on the host."""
    holds = dict(grant.request.shape.needs)
    return [holds.get(resource, 0) * host.grants[grant] for resource, _ in lacks]
