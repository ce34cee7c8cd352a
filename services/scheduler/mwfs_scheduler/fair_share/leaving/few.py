"""Where few may be asked at all, every set of them: so that a guarantee is not lost, or work left waiting, by the order of C7."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Final

from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.leaving.asking import Asker, may_leave
from mwfs_scheduler.fair_share.model import Grant, Host, Request
from mwfs_scheduler.fair_share.state.rooms import fitting

#: Among no more grants it is looked who may be asked, and of no more who may be every set is tried: these are 1,023.
MOST_RUNNING: Final = 64
MOST_ASKED: Final = 10


def who_may_be_asked(cluster: Cluster, request: Request, asker: Asker, *, careful: bool) -> list[Grant]:
    """Those who may leave for the request if nobody else does; none where they are too many. `careful`: and keep their guarantee."""
    if len(cluster.grants) > MOST_RUNNING:
        return []
    found = [
        grant
        for grant in cluster.grants.values()
        if grant.askable
        and may_leave(grant, asker, cluster.knobs, cluster.now)
        and not (careful and _ends_under(grant, request, asker))
    ]
    return found if len(found) <= MOST_ASKED else []


def _ends_under(grant: Grant, request: Request, asker: Asker) -> bool:
    team = grant.request.team
    return team is not request.team and team.ends_under(team.settled, grant.total, asker.resources)


class Sets:
    """All sets of these, in their order, that would make enough room; burst limits are not looked at."""

    def __init__(self, cluster: Cluster, request: Request, grants: Sequence[Grant]) -> None:
        self._grants = grants
        self._shape = request.shape
        self._usable = cluster.hosts.usable(request.shape)
        self._room = cluster.hosts.rooms(request.shape).total()

    def __iter__(self) -> Iterator[tuple[Grant, ...]]:
        """Those whose last comes first before the others, and of these the smallest."""
        grants = self._grants
        if not self._make_room(grants):
            return
        for at, last in enumerate(grants):
            for size in range(at + 1):
                for others in combinations(grants[:at], size):
                    chosen = (*others, last)
                    if self._make_room(chosen):
                        yield chosen

    def _make_room(self, chosen: Sequence[Grant]) -> bool:
        needs = self._shape.needs
        free: dict[Host, list[int]] = {}
        for grant in chosen:
            for host, members in grant.placed.items():
                if host in self._usable:
                    there = free.setdefault(host, list(host.free))
                    for resource, amount in grant.request.shape.needs:
                        there[resource] += amount * members
        more = sum(fitting(there, needs) - fitting(host.free, needs) for host, there in free.items())
        return self._room + more >= self._shape.members
