"""Why a group waits: the reason of the decision engine, with its numbers in one plain sentence. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from mwfs_scheduler.fair_share.keeping.reservations import reserve
from mwfs_scheduler.fair_share.model import PERMANENT, Place, Reason, Selector, Time
from mwfs_scheduler.fair_share.reasons import Reasons, Why
from mwfs_scheduler.fair_share.state.rooms import fitting
from mwfs_scheduler.fair_share.state.teams import Team
from mwfs_scheduler.ledger import Ledger
from mwfs_scheduler.model import Group, Inventory, Need
from mwfs_scheduler.resources import describe, labelled, listed, quantity

#: Of those that are ahead, so many are named.
_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why one group waits."""

    group: Group
    reason: Reason
    #: One plain sentence.
    message: str
    #: It can never start with the hosts and the quotas as they are.
    permanent: bool
    #: Seconds after which there will be room for one of its nodes, where that is known.
    starts_in_s: int | None = None
    #: It starts then at the latest; otherwise that is likely.
    at_the_latest: bool = False
    #: What that is known from, or why it is not.
    estimate: str = ""


def explain_run(ledger: Ledger, run_id: str, *, decides: bool = True) -> list[Explanation]:
    """One explanation for each waiting group of the run, in the order in which they will be served.

    decides: whether the scheduler may grant anything now.
    """
    groups = [
        group
        for of_replica in ledger.groups.values()
        for group in of_replica.values()
        if group.about.run_id == run_id and group.waiting
    ]
    if not groups:
        return []
    explainer = _Explainer(ledger, decides)
    return [explainer.of(group) for group in sorted(groups, key=lambda group: group.request.place)]


class _Explainer:
    def __init__(self, ledger: Ledger, decides: bool) -> None:
        ledger.settle()
        self._ledger = ledger
        self._decides = decides
        self._lines: dict[Team, tuple[list[Place], list[int]]] = {}
        self._reasons = Reasons(ledger.cluster, ledger.last)
        self._offered = [known.inventory for _, known in sorted(ledger.hosts.items()) if known.inventory is not None]

    def of(self, group: Group) -> Explanation:
        reason, message, why = self._why(group)
        starts_in_s, estimate = self._estimate(group, reason, why)
        return Explanation(
            group=group,
            reason=reason,
            message=message,
            permanent=reason in PERMANENT,
            starts_in_s=starts_in_s,
            at_the_latest=reason is Reason.WAITING_FOR_PREEMPTED and starts_in_s is not None,
            estimate=estimate,
        )

    def _estimate(self, group: Group, reason: Reason, why: Why | None) -> tuple[int | None, str]:
        """When there will be room for it, and on what ground."""
        if reason in PERMANENT:
            return None, "Never, as hosts and quotas are."
        if not self._decides:
            return None, "No estimate: nobody knows when the catalogue will be back."
        if reason is Reason.WAITING_FOR_PREEMPTED and why is not None and why.until is not None:
            return self._left(why.until), "By then those who were told to leave must have left."
        if why is not None and reason is Reason.RESERVED_FOR:
            if why.until is None:
                return None, "No estimate: it is not known when those start for whom the room is kept."
            return self._left(why.until), "Then those start for whom the room is kept; what they leave over is free."
        if why is None or reason not in (Reason.WAITING_FOR_CAPACITY, Reason.FRAGMENTED):
            return None, "No estimate: when what runs will end is not all that it depends on."
        foreseen = reserve(self._ledger.cluster, group.request, (), aged=False)
        if foreseen is None or foreseen.at is None:
            return None, "No estimate: nobody knows when enough of what runs where it could run will end."
        hosts = listed(_some(sorted(host.id for host in foreseen.members)))
        by = "by how long such nodes took before, enough of what runs there will have ended"
        if any(each.request is group.request for each in self._ledger.last.reservations):
            return self._left(foreseen.at), f"Room is kept for it on {hosts}: {by}."
        return self._left(foreseen.at), f"Then there will be room on {hosts}: {by}. Who comes first may take it."

    def _left(self, until: Time) -> int:
        return max(0, int(until - self._ledger.cluster.now))

    def _why(self, group: Group) -> tuple[Reason, str, Why | None]:
        ledger, need = self._ledger, _wish(group.about.need)
        if not self._decides:
            text = "The scheduler cannot reach the catalogue, where it must renew its lead, and grants nothing until it can; what runs goes on."
            return Reason.PAUSED, text, None
        if ledger.awaited:
            who = listed(sorted(ledger.awaited))
            text = f"The scheduler has just started and waits for {who} to say what is already running."
            return Reason.WAITING_FOR_CAPACITY, text, None
        if not self._offered:
            return Reason.WAITING_FOR_CAPACITY, f"A node needs {need}, and no host is connected at present.", None
        why = self._reason(group)
        if why.reason in (Reason.NO_SUCH_TYPE, Reason.NO_NODE_LARGE_ENOUGH) and self._when_drained(group):
            text = f"A node needs {need}, and the only hosts that could run it take nothing new at present."
            return Reason.WAITING_FOR_CAPACITY, text, None
        return why.reason, self._sentence(group, why), why

    def _reason(self, group: Group) -> Why:
        request = group.request
        if not request.copies:  # for all that wait room is being made
            request = next(
                each.request for each in self._ledger.cluster.intents.values() if each.request.whole is request
            )
        return self._reasons.of(request)

    def _when_drained(self, group: Group) -> bool:
        """Whether a host that takes nothing new could run it."""
        resources, needs = self._ledger.resources, group.request.shape.needs
        return any(
            each.draining and fitting(resources.capacity(each.capacity), needs)
            for each in _with_labels(group.about.need.labels, self._offered)
        )

    # --- sentences ----------------------------------------------------------------------------------------------------

    def _sentence(self, group: Group, why: Why) -> str:
        need = group.about.need
        match why.reason:
            case Reason.EXCEEDS_BURST:
                return f"A node needs {self._amount(why, 'requested')}, more than the burst limit of {why.team}, {self._amount(why, 'burst')}."
            case Reason.NO_NODE_LARGE_ENOUGH:
                return _too_large(need, _with_labels(need.labels, self._offered))
            case Reason.NO_SUCH_TYPE:
                return f"A node needs {_wish(need)}, and {self._lacking(need)}."
            case Reason.BURST_IN_USE:
                return (
                    f"A node needs {self._amount(why, 'requested')}; {why.team} has {self._amount(why, 'in_use')} in use "
                    f"of its burst limit, {self._amount(why, 'burst')}; {self._ahead(group)}."
                )
            case Reason.WAITING_FOR_CAPACITY:
                return f"A node needs {_wish(need)}; {self._able(group)} {self._amount(why, 'free')} free; {self._ahead(group)}."
            case Reason.FRAGMENTED:
                return (
                    f"A node needs {_wish(need, 'one host')}; {self._able(group)} {self._amount(why, 'free')} free in all, "
                    f"but at most {self._amount(why, 'largest_free')} on one; {self._ahead(group)}."
                )
            case Reason.WAITING_FOR_PREEMPTED:
                return f"Room is being made: {self._leaving(why)}."
            case Reason.RESERVED_FOR:
                return f"The room that a node would fit into is kept for {self._owners(why)}{self._kept_until(why)}."
            case Reason.OVER_QUOTA_BEHIND:
                return f"Others come first: {self._owners(why)}; {self._standing(group)}."
            case Reason.PAUSED:
                return "The group is paused."

    def _amount(self, why: Why, name: str) -> str:
        assert why.resource is not None
        return quantity(self._ledger.resources.names[why.resource], why.amounts[name])

    def _able(self, group: Group) -> str:
        """`2 hosts could run it and have`."""
        able = len(self._ledger.cluster.hosts.usable(group.request.shape))
        return "1 host could run it and has" if able == 1 else f"{able} hosts could run it and have"

    def _ahead(self, group: Group) -> str:
        """What of its team comes first, and how its team stands."""
        request = group.request
        places, nodes_before = self._line_of(request.team)
        nodes = nodes_before[bisect_left(places, request.place)]
        ahead = f"{_nodes(nodes)} of {request.team.id} {_verb(nodes, 'come')} first, " if nodes else ""
        waiting, granted = group.waiting, self._ledger.nodes_granted
        waits = f"{waiting} of this group {_verb(waiting, 'wait')}, {_nodes(granted)} {_verb(granted, 'hold')} places"
        return f"{ahead}{waits}; {self._standing(group)}"

    def _line_of(self, team: Team) -> tuple[list[Place], list[int]]:
        """The places of all that waits in the team, in order, and how many nodes come before each."""
        if team not in self._lines:
            waiting = sorted(each for line in team.lines.values() for each in line.requests)
            before = accumulate((request.copies for _, request in waiting), initial=0)
            self._lines[team] = [place for place, _ in waiting], list(before)
        return self._lines[team]

    def _standing(self, group: Group) -> str:
        """What its team uses of what it was promised, on what the group asks for."""
        team = group.request.team
        names = self._ledger.resources.names
        if not self._ledger.tree.governs(team.id):
            return f"{team.id} has no quota"
        parts = [
            f"{quantity(names[at], team.usage[at])} of its guarantee of {quantity(names[at], team.guaranteed[at])}"
            for at, _ in group.request.total
        ]
        return f"{team.id} uses {listed(parts)}"

    def _lacking(self, need: Need) -> str:
        """What the hosts do not have: a label, one of several labels together, a custom resource, GPUs, a type of GPU."""
        for label in need.labels:
            if not _with_labels((label,), self._offered):
                key, _ = label
                there = sorted(
                    {values[0] for each in self._offered for name, values in each.capacity.labels if name == key}
                )
                has = f"the hosts have {key}={listed(_some(there))}" if there else f"none has a label {key}"
                return f"no host has {labelled((label,))}: {has}"
        able = _with_labels(need.labels, self._offered)
        if not able:
            return f"no host has {labelled(need.labels)} together"
        nobody = f"no host with {labelled(need.labels)}" if need.labels else "no host"
        for name, _ in need.custom:
            if not any(each.capacity.amounts.get(name) for each in able):
                return f"{nobody} has {name}"
        types = sorted({each.capacity.gpu_type for each in able if each.capacity.gpus and each.capacity.gpu_type})
        if not need.gpu_type:
            return f"{nobody} has any"
        hosts = f"hosts with {labelled(need.labels)}" if need.labels else "hosts"
        return f"the {hosts} have {listed(types)}" if types else f"{nobody} has GPUs of a named type"

    def _leaving(self, why: Why) -> str:
        grants = [grant for name in why.who if (grant := self._ledger.cluster.grants.get(name)) is not None]
        teams = listed(sorted({grant.request.team.id for grant in grants}))
        nodes = sum(grant.count for grant in grants)
        have = "has" if nodes == 1 else "have"
        return f"{_nodes(nodes)} of {teams} {have} been told to leave{self._until(why, ', and may run on')}"

    def _until(self, why: Why, words: str = "") -> str:
        if why.until is None:
            return ""
        left = int(why.until - self._ledger.cluster.now)
        return f"{words} for {left} s more at most" if left > 0 else f"{words} for a moment more"

    def _kept_until(self, why: Why) -> str:
        """Until others have left, or until there will be room by what is known of ends."""
        cluster = self._ledger.cluster
        owners = [request for name in why.who if (request := cluster.waiting.requests.get(name)) is not None]
        if not owners:
            return self._until(why)
        needs = _wish(self._ledger.group_of(owners[0]).about.need)
        when = "it is not known when" if why.until is None else f"probably in {self._left(why.until)} s"
        return f", which needs {needs} and comes first ({when})"

    def _owners(self, why: Why) -> str:
        return listed(_some(sorted({self._team(each) for each in why.who}))) or "others"

    def _team(self, id: str) -> str:
        """Whose request or grant it is."""
        cluster = self._ledger.cluster
        grant, intent = cluster.grants.get(id), cluster.intents.get(id)
        request = grant.request if grant else intent.request if intent else cluster.waiting.requests.get(id)
        return "others" if request is None else request.team.id


def _nodes(count: int) -> str:
    return f"{count} node" if count == 1 else f"{count} nodes"


def _verb(count: int, verb: str) -> str:
    """Of so many."""
    return f"{verb}s" if count == 1 else verb


def _some(names: Sequence[str]) -> list[str]:
    more = len(names) - _NAMED
    return list(names) if more <= 0 else [*names[:_NAMED], f"{more} more"]


def _wish(need: Need, host: str = "a host") -> str:
    """`1 core and 2 GPUs`, ` on a host with zone=a` when it asks for labels, ` on one host` when that is said."""
    if need.labels:
        return f"{describe(need)} on {host} with {labelled(need.labels)}"
    return describe(need) if host == "a host" else f"{describe(need)} on {host}"


def _with_labels(selector: Selector, offered: Iterable[Inventory]) -> list[Inventory]:
    """The hosts that have the labels."""
    return [
        each
        for each in offered
        if all(any(key == name and has in values for name, (has,) in each.capacity.labels) for key, values in selector)
    ]


def _too_large(need: Need, offered: Sequence[Inventory]) -> str:
    asked = dict(need.custom)
    most = max(
        offered,
        key=lambda each: (
            *(each.capacity.amounts.get(name, 0) for name in asked),
            each.capacity.gpus,
            each.capacity.cpu_millis,
            each.capacity.memory_bytes,
        ),
    )
    hosts = "the only host" if len(offered) == 1 else f"the largest of {len(offered)} hosts"
    where = f" with {labelled(need.labels)}" if need.labels else ""
    return f"A node needs {describe(need)} on one host{where}, and {hosts}, {most.host}, has {describe(most.capacity)}."
