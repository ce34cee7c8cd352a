"""Whether enough would leave below the burst limits that are in the way of a request (C2, C6)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.model import Grant, Request
from mwfs_scheduler.fair_share.state.teams import Team


def might_be_freed(cluster: Cluster, request: Request, tight: Sequence[Team]) -> bool:
    """False: not even if all had left whom the request may ask below each of these limits, on its own path."""
    if cluster.knobs.fair_preemption:
        return True
    team, path = request.team, request.team.path
    may_leave: list[Sequence[int]] = [cluster.lowers.below(request).holds]
    for level in range(len(path) - 1, 0, -1):
        above = path[level - 1]
        if path[level].within(path[level].settled, request.total):
            may_leave += [
                branch.usage
                for branch in above.children
                if branch is not path[level] and branch.over(branch.settled, request.total)
            ]
            may_leave.append(above.own)
        if above in tight and not _fits(above, request, may_leave):
            return False
    return team not in tight or _fits(team, request, may_leave[:1])


def _fits(team: Team, request: Request, may_leave: Sequence[Sequence[int] | Counter[int]]) -> bool:
    usage = list(team.usage)
    for at, _ in request.total:
        usage[at] -= sum(left[at] for left in may_leave)
    return team.past_burst(usage, request.total) is None


def are_freed(request: Request, tight: Sequence[Team], leaving: Iterable[Grant]) -> bool:
    """Whether the request stays within these limits once those have left."""
    grants = list(leaving)
    for branch in tight:
        if not _fits(branch, request, [_sum(grant for grant in grants if branch in grant.request.team.path)]):
            return False
    return True


def is_freed(request: Request, limited: Team, may_leave: Mapping[Team, Sequence[Grant]]) -> bool:
    """False: this limit stays in the way however many leave of those of teams below it that may be asked."""
    path = request.team.path  # what is asked there, of the own team or of those above it, goes by no guarantee
    given = [_sum(grants) if team in path else _most_given(team, grants, request) for team, grants in may_leave.items()]
    return _fits(limited, request, given)


def _most_given(team: Team, grants: Sequence[Grant], request: Request) -> Counter[int]:
    """As much as can leave of them: none more once their team is not above its guarantee."""
    given = _sum(grants)
    above = [at for at, _ in request.total if team.settled[at] > team.guaranteed[at]]
    if len(above) == 1:
        [at] = above
        last = max(dict(grant.total).get(at, 0) for grant in grants)
        given[at] = min(given[at], team.settled[at] - team.guaranteed[at] - 1 + last)
    return given


def _sum(grants: Iterable[Grant]) -> Counter[int]:
    """What they hold, per resource."""
    found = Counter[int]()
    for grant in grants:
        for resource, amount in grant.total:
            found[resource] += amount
    return found
