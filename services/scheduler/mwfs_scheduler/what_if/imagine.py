"""Decides on a copy of the ledger with changes made to it, and says what becomes of the groups that were asked about. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from mwfs_chassis.errors import InvalidArgument, NotFound, ResourceExhausted
from mwfs_scheduler.explain import Explanation, explain_run
from mwfs_scheduler.ledger import Ledger
from mwfs_scheduler.model import Group, Inventory, Need, NewGroup, Notice
from mwfs_scheduler.quotas import TeamQuota
from mwfs_scheduler.team_quotas.changes import changed

#: Groups and grants together: nothing is granted while they are copied, a tenth of a second for as many.
MAX_KNOWN: Final = 50_000
MAX_ADDED_HOSTS: Final = 1_000
#: Decisions until nothing more happens. The first does nearly all.
_MAX_ROUNDS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What would be different, and for whom that matters."""

    run_id: str
    #: "": all waiting groups of the run.
    group_id: str = ""
    set_quotas: tuple[TeamQuota, ...] = ()
    removed_quotas: tuple[str, ...] = ()
    priority: int | None = None
    need: Need | None = None
    #: (what each has, how many of them).
    hosts: tuple[tuple[Need, int], ...] = ()

    def about(self, group: Group) -> bool:
        """Whether the group is asked about."""
        return group.about.run_id == self.run_id and self.group_id in ("", group.group_id)


@dataclass(slots=True, kw_only=True)
class Imagined:
    """A group that was asked about."""

    now: Explanation
    #: As many nodes waited.
    waiting: int
    starts: int = 0
    hosts: set[str] = field(default_factory=set)
    victims: list[Notice] = field(default_factory=list)
    #: For so many room is being made.
    starts_later: int = 0
    #: Why those wait that are left; None: none is left.
    then: Explanation | None = None


@dataclass(slots=True, kw_only=True)
class Answer:
    groups: list[Imagined]
    others_start: int = 0
    others_told_to_leave: int = 0


def prepare(ledger: Ledger, question: Question) -> tuple[list[Explanation], Callable[[], Ledger]]:
    """Why the groups wait now, and what makes a ledger as it would be, which shares nothing with the one that is.

    Raises InvalidArgument, NotFound, ResourceExhausted.
    """
    known = sum(len(each) for of_replica in (ledger.groups, ledger.holdings) for each in of_replica.values())
    if known > MAX_KNOWN:
        raise ResourceExhausted(
            f"The scheduler knows {known:,} groups and grants; a question may copy {MAX_KNOWN:,}.",
            "Ask again when less waits, or take a snapshot file and `mwfs scheduler plan`.",
        )
    added = sum(count for _, count in question.hosts)
    if added > MAX_ADDED_HOSTS or any(not host.amounts for host, _ in question.hosts):
        raise InvalidArgument(
            f"At most {MAX_ADDED_HOSTS:,} machines that have something can be added; found {added:,}.", "Add fewer."
        )
    for host, _ in question.hosts:
        if beyond := ledger.resources.beyond(host):
            raise InvalidArgument(
                f"So many custom resources cannot be told apart: {', '.join(beyond)[:200]}.",
                "Name those that are known.",
            )
    groups = [
        group
        for groups in ledger.groups.values()
        for group in groups.values()
        if group.waiting and question.about(group)
    ]
    if not groups:
        what = f"the group {question.group_id!r} of the run" if question.group_id else "the run"
        raise NotFound(f"Nothing of {what} {question.run_id} waits for room.", "`mwfs explain RUN` shows what waits.")
    asked = {id(group) for group in groups}

    def about(group: Group) -> NewGroup:
        if id(group) not in asked:
            return group.about
        given = group.about if question.priority is None else replace(group.about, priority=question.priority)
        return given if question.need is None else replace(given, need=question.need)

    quotas = ledger.tree.quotas
    if question.set_quotas or question.removed_quotas:
        quotas = changed(quotas, question.set_quotas, question.removed_quotas)
    now = [each for each in explain_run(ledger, question.run_id) if question.about(each.group)]
    # The groups of the copy change; those of the answer must not.
    now = [replace(each, group=replace(each.group)) for each in now]
    return now, ledger.imagined(quotas, about, _added(ledger, question))


def _added(ledger: Ledger, question: Question) -> Iterable[Inventory]:
    names = (f"added-{number}" for number in range(1, 1 << 31))
    for capacity, count in question.hosts:
        for _ in range(count):
            name = next(name for name in names if name not in ledger.hosts)
            yield Inventory(host=name, address="", capacity=capacity)


def answer(now: list[Explanation], make: Callable[[], Ledger], question: Question) -> Answer:
    """What becomes of them. Touches nothing but what `prepare` has copied: it may run in another thread."""
    imagined = make()
    by_key = {(each.group.replica, each.group.group_id): Imagined(now=each, waiting=each.group.waiting) for each in now}
    found = Answer(groups=list(by_key.values()))
    for _ in range(_MAX_ROUNDS):
        outcome = imagined.decide()
        for holding in outcome.granted:
            mine = by_key.get((holding.replica, holding.group_id))
            if mine is None:
                found.others_start += holding.count
            else:
                mine.starts += holding.count
                mine.hosts.add(holding.host)
        for notice in outcome.notices:
            mine = by_key.get((notice.beneficiary.replica, notice.beneficiary.group_id))
            if mine is None:
                found.others_told_to_leave += notice.count
            else:
                mine.victims.append(notice)
        if not outcome.granted and not outcome.notices:
            break
    for intent in imagined.cluster.intents.values():
        group = imagined.group_of(intent.request)
        mine = by_key.get((group.replica, group.group_id))
        if mine is not None:
            mine.starts_later += intent.request.part
    for explanation in explain_run(imagined, question.run_id):
        mine = by_key.get((explanation.group.replica, explanation.group.group_id))
        if mine is not None and explanation.group.waiting > mine.starts_later:
            mine.then = explanation
    return found
