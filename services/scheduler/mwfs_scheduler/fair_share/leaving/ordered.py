"""The search for a request with no burst limit in its way, by an order that is kept (C6 to C9)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from operator import itemgetter

from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.keeping.reservations import Limits
from mwfs_scheduler.fair_share.leaving.asking import Asker, Asking, may_leave
from mwfs_scheduler.fair_share.leaving.borrowers import ENDS_UNDER, KEEPS
from mwfs_scheduler.fair_share.leaving.openings import OWN, Openings, Rooms, Step, Turn, leaving_until
from mwfs_scheduler.fair_share.leaving.orders import Leaver, Order, have_own_work
from mwfs_scheduler.fair_share.leaving.search import FEW_HOSTS, Search
from mwfs_scheduler.fair_share.leaving.trial import Care
from mwfs_scheduler.fair_share.model import Grant, Host, Request
from mwfs_scheduler.fair_share.state.rooms import fitting
from mwfs_scheduler.fair_share.state.teams import LeavingPlace


class OrderedSearch(Search):
    """For a request with no burst limit in its way: whoever is like it asks the same others in the same order.

    So that order is kept, and with it where there would be room first. Hosts on which room is kept for somebody are looked at anew.
    """

    def __init__(self, cluster: Cluster, request: Request, asker: Asker, limits: Limits) -> None:
        super().__init__(cluster, request, asker, limits)
        self._openings: Openings | None = None
        #: On the path, below which it asks others in the order that is kept.
        self._level = 0 if self._borrowers is None else self._borrowers.level
        if self._borrowers is not None and asker.may_reclaim[self._level]:
            self._openings = self._borrowers.openings(request.shape.needs)
        #: Hosts are so few that it may look at all of them.
        self._looks_at_all = len(asker.usable) <= FEW_HOSTS

    def run(self) -> list[Grant] | None:
        """Who must leave."""
        shape, room = self._request.shape, self._room_now()
        if room >= shape.members:
            return []
        own = self._steps_of_own()
        # Of the own team's lower priorities all may leave, in any case: if that does not help, nothing does.
        only_lower = self._borrowers is None
        for careful in (True,) if only_lower else (True, False):
            found = leaving_until(
                shape.needs,
                self._asker.usable,
                members=shape.members - room,
                own=own,
                openings=self._openings,
                careful=careful,
                limits=self._limits,
            )
            if found is not None:
                left, where = found
                needed = self._needed(left, where, room)
                sooner = None
                passed_over = self._looks_at_all or len(needed) < len(left)
                if passed_over and shape.members == 1 and self._borrowers is not None:
                    sooner = self._sooner(needed, left, where, careful=careful)
                return sooner or needed
            if not only_lower:
                alone = (
                    self._alone_somewhere(own, careful)
                    if shape.members == 1
                    else self._few_alone(self._asker.usable, careful=careful)
                )
                alone = alone or self._any_of_few(careful=careful)
                if alone is not None:
                    return alone
        return None

    def _room_now(self) -> int:
        """How many members fit before anybody leaves; of one member, whether it does."""
        shape, hosts, limits = self._request.shape, self._cluster.hosts, self._limits
        if shape.members == 1:
            full = self._cluster.waiting.witnesses.is_full(shape)
            return 0 if full else int(hosts.place(shape, limits) is not None)
        kept = [host for host in limits if host in self._asker.usable]
        free = {host: list(host.free) for host in kept}
        return (
            hosts.rooms(shape).total()
            - sum(fitting(amounts, shape.needs) for amounts in free.values())
            + sum(Rooms(free, limits).fits(host, shape.needs) for host in kept)
        )

    def _steps_of_own(self) -> dict[Host, Sequence[Step]]:
        """The hosts with work that this request may ask and others may not, or the other way round; and who would leave there."""
        level = self._level
        top = self._request.team.path[level]
        turns: dict[Grant, Turn] = {}
        if not top.children:
            turns = {
                grant: (OWN, 0, "", place)
                for there in self._lower.values()
                for place, grant in there
                if may_leave(grant, self._asker, self._cluster.knobs, self._cluster.now)
            }
        elif not have_own_work(top.subtree()):
            turns = self._turns_in_tree()
        else:
            asking = Asking(self._cluster.knobs, self._cluster.now, self._asker, [])
            _ask(asking, asking.borrower, KEEPS, turns)
            _ask(asking, asking.of_own_team, OWN, turns)
            asking.begin(careful=False)
            _ask(asking, asking.borrower, ENDS_UNDER, turns)
        strangers = self._borrowers.of(top) if self._openings is not None and self._borrowers is not None else ()
        own: dict[Host, Sequence[Step]] = {}
        with_own = (host for grant in (*turns, *strangers) for host in grant.hosts)
        for host in dict.fromkeys(chain(with_own, self._limits)):
            steps = [(turn, grant) for grant in host.grants if (turn := turns.get(grant)) is not None]
            if self._openings is not None:
                steps += [step for step in self._openings.steps(host) if step[1].request.team.path[level] is not top]
            own[host] = sorted(steps, key=itemgetter(0))
        return own

    def _turns_in_tree(self) -> dict[Grant, Turn]:
        """When they leave who share its branch with the request, if no team has both work and teams below it."""
        asker, path, knobs = self._asker, self._request.team.path, self._cluster.knobs
        beside: tuple[Sequence[Grant], Sequence[Grant]] = (), ()
        if self._borrowers is not None:
            for level in range(len(path) - 1, self._level, -1):
                beside = self._beside(level, beside)
        turns: dict[Grant, Turn] = {}
        top, left = path[self._level], list(path[self._level].settled)
        lower = (grant for place, grant in self._request.team.leaving if place[0] < self._request.priority)
        may_leave_too = [grant for grant in lower if may_leave(grant, asker, knobs, self._cluster.now)]
        for group, grants in ((KEEPS, beside[0]), (OWN, may_leave_too), (ENDS_UNDER, beside[1])):
            for grant in grants:
                share, name = (0, "") if group == OWN else (-top.borrowed_share(left), top.id)
                turns[grant] = (group, share, name, (len(turns), 0, ""))
                for resource, amount in grant.total:
                    left[resource] -= amount
        return turns

    def _beside(
        self, level: int, below: tuple[Sequence[Grant], Sequence[Grant]]
    ) -> tuple[Sequence[Grant], Sequence[Grant]]:
        """Who leaves beside the request's path from this level on down, given who does further down."""
        assert self._borrowers is not None
        path = self._request.team.path
        own, above = path[level], path[level - 1]
        others: Order = (), ()
        if self._asker.may_reclaim[level]:
            others = self._borrowers.orders.below(team for team in above.children if team is not own)
        left, found = list(own.settled), list[Sequence[Grant]]()
        for leavers, grants in zip(others, below, strict=True):
            mine: list[Leaver] = []
            for grant in grants:
                mine.append((-own.borrowed_share(left), own.id, len(mine), grant))
                for resource, amount in grant.total:
                    left[resource] -= amount
            found.append([grant for _, _, _, grant in sorted((*leavers, *mine), key=itemgetter(0, 1, 2))])
        return found[0], found[1]

    def _needed(self, left: list[Grant], hosts: list[Host], room: int) -> list[Grant]:
        """Of those who have left, who must: the others are put back, the last first."""
        needs, members = self._request.shape.needs, self._request.shape.members
        rooms = Rooms({host: list(host.free) for host in hosts}, self._limits)
        room -= sum(rooms.fits(host, needs) for host in hosts)
        for grant in left:
            rooms.give(grant, 1)
        fits = {host: rooms.fits(host, needs) for host in hosts}
        room += sum(fits.values())
        needed = []
        for grant in reversed(left):
            rooms.give(grant, -1)
            then = {host: rooms.fits(host, needs) for host in grant.hosts if host in fits}
            less = sum(fits[host] - now for host, now in then.items())
            if room - less >= members:
                room -= less
                fits.update(then)
            else:
                rooms.give(grant, 1)
                needed.append(grant)
        needed.reverse()
        return needed

    def _sooner(
        self, needed: Sequence[Grant], left: Sequence[Grant], where: Sequence[Host], *, careful: bool
    ) -> list[Grant] | None:
        """One who comes before who is needed, would do alone, and was passed over because of some that stay after all.

        Where hosts are few it may be on any of them; else only on these.
        """
        assert self._borrowers is not None
        last = max(self._order(grant) for grant in needed)
        gone, usable = set(left), self._asker.usable
        before: dict[Grant, LeavingPlace] = {}
        for host in usable if self._looks_at_all else where:
            passed_over = {grant for _, grant in self._borrowers.on_hosts.there(host, careful=careful)} - gone
            chance = self._chance(host, careful=careful) if passed_over else None
            if chance is not None:
                for at, (grant, place) in enumerate(chance.there):
                    if chance.order[at] >= last:
                        break
                    if grant in passed_over and chance.holds_enough((at,)):
                        before[grant] = place
        for grant in sorted(before, key=self._order):
            alone = self._only([(grant, before[grant])], Care.ALWAYS if careful else Care.NEVER)
            if alone is not None:
                return alone
        return None

    def _alone_somewhere(self, own: Mapping[Host, object], careful: bool) -> list[Grant] | None:
        usable = self._asker.usable
        hosts = {host for host in own if host in usable}
        if self._openings is None or self._borrowers is None:
            if self._borrowers is not None and len(usable) <= FEW_HOSTS:
                # Below the top somebody may have no turn because those before it bring their branch down to its guarantee.
                hosts.update(usable)
            return self._alone(hosts, careful=careful)
        others = self._borrowers.chances(self._request.shape.needs, careful=careful)
        return self._alone(hosts, careful=careful, others=others, learns=not self._limits)


def _ask(asking: Asking, choose: Callable[[], Grant | None], group: int, turns: dict[Grant, Turn]) -> None:
    """All whom that chooses, with their turns."""
    while (grant := choose()) is not None:
        top = grant.request.team.path[0]
        share, name = (0, "") if group == OWN else (-top.borrowed_share(asking.left_of(top)), top.id)
        turns[grant] = (group, share, name, (len(turns), 0, ""))
        asking.leave(grant)
