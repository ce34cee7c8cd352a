"""What is wrong with a decision, by properties that hold whatever choices a planner makes where the contract leaves one.

The lists of a decision are taken in the order in which it was made: the victims of a request leave just before it starts. Work whose
`ends` is reached when the clock moves is gone; with a grace period victims leave when their beneficiary starts at the end of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from unit.scheduler.contract import check_reasons, check_victims
from unit.scheduler.contract.check_order import out_of_order
from unit.scheduler.contract.cluster import Cluster, Job, Number, parse
from unit.scheduler.contract.shares import remembered, share


def violations(snapshot: Mapping[str, Any], decisions: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> list[str]:
    """Everything wrong, as sentences that begin with the rule; a single decision or a list of rounds."""
    rounds = [decisions] if isinstance(decisions, Mapping) else list(decisions)
    found: list[str] = []
    replay = Replay(parse(snapshot))
    rested = False
    for number, decision in enumerate(rounds):
        if number:
            replay.tick()
        if replay.lost:
            break
        replay.round(decision)
        changed = bool(decision["admitted"] or decision["preempted"])
        if changed and rested and not replay.cluster.round_s:
            replay.wrong("rest: a round at rest was followed by one that was not")
        rested = not changed
        found += [f"round {number + 1}: {one}" for one in replay.found]
    return found


class Replay:
    """The state that follows from the decisions, and what was wrong in the last round."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        #: beneficiary → (victims, until)
        self.notices: dict[str, tuple[frozenset[str], Number]] = {}
        self.found: list[str] = []
        #: A decision that does not say whether a notice was withdrawn: nothing can be checked after it.
        self.lost = False
        #: Everybody evicted in any round.
        self.restarted: set[str] = set()

    def wrong(self, sentence: str) -> None:
        if not self.lost:
            self.found.append(sentence)

    def tick(self) -> None:
        cluster = self.cluster
        if cluster.round_s:
            cluster.now += cluster.round_s
            ended = {job.id for job in cluster.running.values() if job.ends is not None and job.ends <= cluster.now}
            for name in ended:
                del cluster.running[name]
            # The text does not say how long a victim runs when it starts again.
            self.lost |= bool(ended & self.restarted)

    def round(self, decision: Mapping[str, Any]) -> None:
        self.found = []
        cluster = self.cluster
        before = replace(cluster, running=dict(cluster.running), pending=dict(cluster.pending))
        self.started: set[str] = set()
        self.evicted: set[str] = set()
        if not self.ids(decision):
            return
        self.victims_of(decision)
        steps = [(one["id"], tuple(one["on"])) for one in decision["admitted"]]
        self.found += out_of_order(before, decision)
        for name, on in steps:
            self.admit(name, on)
        if self.lost:
            return
        waiting = {one["id"]: one for one in decision["waiting"]}
        for name, one in waiting.items():
            if name in self.evicted:
                continue
            promised = self.notices.get(name)
            self.found += check_reasons.untruthful(cluster, cluster.pending[name], one, promised, set(waiting))
        self.shares(decision)

    # Who is in which list -------------------------------------------------------------------------------------------

    def ids(self, decision: Mapping[str, Any]) -> bool:
        cluster = self.cluster
        admitted = [one["id"] for one in decision["admitted"]]
        waiting = [one["id"] for one in decision["waiting"]]
        preempted = [one["id"] for one in decision["preempted"]]
        for name, count in Counter(admitted + waiting).items():
            if count > 1:
                self.wrong(f"ids: {name} is {count} times in admitted and waiting")
        for name, count in Counter(preempted).items():
            if count > 1:
                self.wrong(f"ids: {name} is preempted {count} times")
        missing = set(cluster.pending) - set(admitted) - set(waiting)
        strange = set(admitted) - set(cluster.pending) | set(waiting) - set(cluster.pending) - set(preempted)
        if missing:
            self.wrong(f"ids: {sorted(missing)} in neither admitted nor waiting")
        if strange:
            self.wrong(f"ids: {sorted(strange)} did not wait")
        if set(admitted) & set(preempted):
            self.wrong(f"C12: {sorted(set(admitted) & set(preempted))} both evicted and started")
        if set(preempted) - set(cluster.running):
            self.wrong(f"ids: {sorted(set(preempted) - set(cluster.running))} evicted and not running")
        if preempted and not cluster.pending:
            self.wrong("C10: nobody waits and somebody is evicted")
        twice = len({*admitted, *waiting}) < len(admitted) + len(waiting) or len(set(preempted)) < len(preempted)
        return not (strange or twice or set(preempted) - set(cluster.running))

    def victims_of(self, decision: Mapping[str, Any]) -> None:
        """Notes who leaves for whom."""
        grace = self.cluster.knobs["grace_s"]
        admitted = {one["id"] for one in decision["admitted"]}
        self.leaving: dict[str, list[str]] = {}
        several = len({one["for"] for one in decision["preempted"]}) + len(self.notices) > 1
        for one in decision["preempted"]:
            self.leaving.setdefault(one["for"], []).append(one["id"])
        reasons = {one["id"]: one["reason"] for one in decision["waiting"]}
        for name, victims in list(self.leaving.items()):
            if name not in self.cluster.pending:
                self.wrong(f"C9: {victims} evicted for {name}, which did not wait")
                del self.leaving[name]
            elif not grace and name not in admitted:
                self.wrong(f"C9: {victims} evicted for {name}, which did not start")
            elif grace:
                if name in admitted:
                    self.wrong(f"C9: {victims} have notice until {self.cluster.now + grace}, and {name} starts before")
                elif reasons.get(name) != "waiting_for_preempted":
                    self.wrong(f"C9: {victims} have notice for {name}, which waits with {reasons.get(name)}")
                if not several and not decision["admitted"]:
                    self.check_victims(self.cluster.pending[name], victims)
                self.notices[name] = (frozenset(victims), self.cluster.now + grace)
                del self.leaving[name]

    # One start -------------------------------------------------------------------------------------------------------

    def admit(self, name: str, on: tuple[str, ...]) -> None:
        cluster = self.cluster
        job = cluster.pending[name]
        if name in self.leaving:
            self.check_victims(job, self.leaving[name])
            self.remove(self.leaving[name])
        if name in self.notices:
            victims, until = self.notices.pop(name)
            if not fits(cluster, job):
                self.remove([one for one in victims if one in cluster.running])
            elif until <= cluster.now and victims & set(cluster.running):
                self.lost = True
        if job.paused:
            self.wrong(f"paused: {name} starts")
        if len(on) != job.members:
            self.wrong(f"gang: {name} has {job.members} members and is put on {len(on)} nodes")
        matching = {node.id for node in cluster.matching(job)}
        if not set(on) <= matching:
            self.wrong(f"labels: {name} is put on {sorted(set(on) - matching)}")
            on = tuple(one for one in on if one in cluster.nodes)
        limit = cluster.burst_in_the_way(job, cluster.running.values())
        if limit is not None:
            self.wrong(f"C2: {name} passes the burst limit {limit}")
        ends = None if job.duration is None else cluster.now + job.duration
        del cluster.pending[name]
        cluster.running[name] = replace(job, on=on, start=cluster.now, ends=ends)
        self.started.add(name)
        free = cluster.free(cluster.running.values())
        for node in sorted(set(on)):
            for resource in job.requested:
                if free[node].get(resource, 0) < 0:
                    self.wrong(f"C1: {name} leaves {free[node][resource]} {resource} on {node}")

    def remove(self, victims: Sequence[str]) -> None:
        for name in victims:
            job = self.cluster.running.pop(name)
            self.cluster.pending[name] = replace(job, on=(), ends=None, preemptions=job.preemptions + 1)
            self.evicted.add(name)
            self.restarted.add(name)

    def check_victims(self, job: Job, victims: Sequence[str]) -> None:
        known = [self.cluster.running[one] for one in victims if one in self.cluster.running]
        for one in set(victims) & self.started:
            self.wrong(f"C12: {one} started and was evicted in one round")
        holds = self.cluster.knobs["backfill"] != "none" or self.cluster.knobs["aging_bound_s"] is not None
        alone = not holds and not self.notices
        self.found += check_victims.unlawful(self.cluster, job, known, self.started, minimal=alone)

    # After the round -------------------------------------------------------------------------------------------------

    def shares(self, decision: Mapping[str, Any]) -> None:
        cluster = self.cluster
        used = cluster.usage(cluster.running.values())
        basis = cluster.knobs["share_basis"]
        if set(decision["shares"]) != set(cluster.teams):
            self.wrong(f"shares: of {sorted(decision['shares'])}, not of all teams")
        for team, given in decision["shares"].items():
            right = [share(cluster, team, held[team], basis) for held in (used, remembered(cluster, used))]
            if not any(abs(float(value) - given["dominant"]) < 1e-9 for value, _ in right):
                self.wrong(f"shares: {team} has {float(right[0][0])}, not {given['dominant']}")
            elif given["dominant"] > 0 and cluster.knobs["half_life_s"] is None:
                only = {given["resource"]: used[team].get(given["resource"], 0)}
                if abs(float(share(cluster, team, only, basis)[0]) - given["dominant"]) > 1e-9:
                    self.wrong(f"shares: {given['resource']} is not the dominant resource of {team}")


def fits(cluster: Cluster, job: Job) -> bool:
    jobs = list(cluster.running.values())
    room = sum(cluster.places(job, cluster.free(jobs)).values())
    return room >= job.members and cluster.burst_in_the_way(job, jobs) is None
