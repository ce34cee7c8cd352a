"""Why a request waits, with the numbers. Nothing is changed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mwfs_scheduler.fair_share.booking import Decision
from mwfs_scheduler.fair_share.cluster import Cluster, Intent
from mwfs_scheduler.fair_share.keeping.reservations import binding, limits_for
from mwfs_scheduler.fair_share.model import Amounts, Host, Reason, Request, Selector, Shape, Time
from mwfs_scheduler.fair_share.state.rooms import fitting


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """One structured reason. Amounts are in the smallest unit of the resource."""

    reason: Reason
    team: str | None = None
    resource: int | None = None
    amounts: Mapping[str, int] = field(default_factory=dict)
    #: Requests that are ahead, that will start here, or that leave.
    who: tuple[str, ...] = ()
    until: Time | None = None
    facts: Mapping[str, object] = field(default_factory=dict)


class Reasons:
    """The reasons of all that waits after a round."""

    def __init__(self, cluster: Cluster, decision: Decision) -> None:
        self._cluster = cluster
        self._decision = decision
        self._known: dict[object, Why] = {}
        #: For whom room is kept.
        self._owners = {reservation.request for reservation in decision.reservations}
        #: Of the hosts with these labels: how much is free of a resource, in all and on one host; and how many members fit.
        self._frees: dict[tuple[Selector, int], tuple[int, int]] = {}
        self._fits: dict[tuple[Selector, Amounts], int] = {}
        self._kept: dict[Host, list[tuple[Intent, tuple[tuple[int, int], ...]]]] = {}
        for intent in cluster.intents.values():
            for host, kept in intent.kept.items():
                self._kept.setdefault(host, []).append((intent, kept))

    def of(self, request: Request) -> Why:
        """The first reason that applies."""
        intent = self._cluster.intents.get(request.id)
        if intent is not None and (
            self._cluster.told or not intent.joined
        ):  # in a file nobody was told to leave for it
            leaving = tuple(sorted(grant.id for grant in intent.leaving))
            return Why(reason=Reason.WAITING_FOR_PREEMPTED, who=leaving, until=intent.until)
        key = request.team, request.shape, request.paused, intent, request in self._owners
        why = self._known.get(key)
        if why is None:
            why = self._known[key] = self._find(request)
        return why

    def _find(self, request: Request) -> Why:
        return (
            self._permanent(request)
            or self._burst(request)
            or self._capacity(request)
            or self._fragments(request)
            or self._behind(request)
        )

    def _permanent(self, request: Request) -> Why | None:
        passed = request.team.never(request.total)
        if passed is not None:
            team, resource = passed
            return Why(
                reason=Reason.EXCEEDS_BURST,
                team=team.id,
                resource=resource,
                amounts={"burst": team.burst[resource] or 0, "requested": dict(request.total)[resource]},
            )
        hosts, shape = self._cluster.hosts, request.shape
        reason = hosts.never(shape)
        if reason is None:
            return None
        selected = hosts.selected(shape.selector)
        if reason is Reason.NO_SUCH_TYPE:
            wanted: dict[str, object] = {key: list(values) for key, values in shape.selector}
            lacking = [at for at, _ in shape.needs if not any(host.capacity[at] for host in selected)]
            missing = lacking[0] if lacking and (selected or not wanted) else None
            return Why(reason=reason, resource=missing, facts={"labels": wanted} if wanted else {})
        for resource, amount in shape.needs:
            largest = max((host.capacity[resource] for host in selected), default=0)
            if largest < amount:
                return Why(reason=reason, resource=resource, amounts={"requested": amount, "largest": largest})
        fits = sum(fitting(host.capacity, shape.needs) for host in selected)
        return Why(reason=reason, facts={"members": shape.members, "members_that_fit": fits})

    def _burst(self, request: Request) -> Why | None:
        for team in reversed(request.team.path):
            resource = team.past_burst_now(request.total)
            if resource is not None:
                return Why(
                    reason=Reason.BURST_IN_USE,
                    team=team.id,
                    resource=resource,
                    amounts={
                        "burst": team.burst[resource] or 0,
                        "in_use": team.usage[resource],
                        "requested": dict(request.total)[resource],
                    },
                )
        return None

    def _free(self, host: Host) -> list[int]:
        """What is free on the host, what is kept for somebody included."""
        free = list(host.free)
        for _, kept in self._kept.get(host, ()):
            for resource, amount in kept:
                free[resource] += amount
        return free

    def _free_of(self, selector: Selector, resource: int) -> tuple[int, int]:
        """How much of the resource is free on hosts with these labels: in all, and on one host at most."""
        key = selector, resource
        if key not in self._frees:
            frees = [max(self._free(host)[resource], 0) for host in self._cluster.hosts.selected(selector)]
            self._frees[key] = sum(frees), max(frees, default=0)
        return self._frees[key]

    def _that_fit(self, shape: Shape) -> int:
        """How many members fit into what is free."""
        key = shape.selector, shape.needs
        if key not in self._fits:
            selected = self._cluster.hosts.selected(shape.selector)
            self._fits[key] = sum(fitting(self._free(host), shape.needs) for host in selected)
        return self._fits[key]

    def _capacity(self, request: Request) -> Why | None:
        for resource, amount in request.total:
            free, _ = self._free_of(request.shape.selector, resource)
            if free < amount:
                amounts = {"requested": amount, "free": free}
                return Why(reason=Reason.WAITING_FOR_CAPACITY, resource=resource, amounts=amounts)
        return None

    def _fragments(self, request: Request) -> Why | None:
        shape = request.shape
        fits = self._that_fit(shape)
        if fits >= shape.members:
            return None
        resource, amount = max(
            shape.needs, key=lambda need: (need[1] * (1 << 62) // (self._cluster.hosts.largest[need[0]] or 1), need[0])
        )
        free, largest = self._free_of(shape.selector, resource)
        return Why(
            reason=Reason.FRAGMENTED,
            resource=resource,
            amounts={"requested": amount, "free": free, "largest_free": largest},
            facts={"members": shape.members, "members_that_fit": fits},
        )

    def _behind(self, request: Request) -> Why:
        return (
            self._promised_below_limits(request)
            or self._kept_by_notices(request)
            or self._kept_by_reservations(request)
            or (Why(reason=Reason.PAUSED) if request.paused else None)
            # A round ends only when nothing that waits fits, so somebody ahead has just taken what it would have had.
            or Why(reason=Reason.OVER_QUOTA_BEHIND, who=tuple(grant.id for grant in self._decision.started)[:10])
        )

    # What is kept is kept in an order; it is kept for the first without whom the request would still fit.

    def _promised_below_limits(self, request: Request) -> Why | None:
        for team in reversed(request.team.path):
            if team.past_burst(team.usage, request.total) is not None:
                intents = self._cluster.intents.values()
                near = [each for each in intents if team in each.request.team.path and each.request is not request]
                if near:
                    return _reserved(near)
        return None

    def _kept_by_notices(self, request: Request) -> Why | None:
        hosts, needs = self._cluster.hosts, request.shape.needs
        if hosts.place(request.shape, {}) is not None:
            return None
        free = {host: self._free(host) for host in hosts.selected(request.shape.selector)}
        fits = sum(fitting(there, needs) for there in free.values())
        last: Intent | None = None
        for intent in self._cluster.intents.values():
            for host, kept in intent.kept.items() if intent.request is not request else ():
                if host in free:
                    last = intent
                    fits -= fitting(free[host], needs)
                    for resource, amount in kept:
                        free[host][resource] -= amount
                    fits += fitting(free[host], needs)
            if fits < request.shape.members:
                break
        return None if last is None else _reserved([last])

    def _kept_by_reservations(self, request: Request) -> Why | None:
        cluster, kept = self._cluster, self._decision.reservations
        for reservation in binding(kept, request, cluster.now):
            limits = limits_for(kept[: kept.index(reservation) + 1], request, cluster.now)
            if cluster.hosts.place(request.shape, limits) is None:
                return Why(reason=Reason.RESERVED_FOR, who=(reservation.request.id,), until=reservation.at)
        return None


def _reserved(intents: Sequence[Intent]) -> Why:
    return Why(
        reason=Reason.RESERVED_FOR,
        who=tuple(sorted(intent.request.id for intent in intents)),
        until=max((intent.until for intent in intents), default=None),
    )
