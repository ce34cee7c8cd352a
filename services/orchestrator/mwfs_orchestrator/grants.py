"""What the scheduler says: room that is granted, and room that is wanted back."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mwfs_api.scheduler.v1 import scheduler_pb2
from mwfs_chassis.clock import Clock

from .active_run import ActiveRun
from .host_links import HostLinks
from .model import Grant, Group
from .scheduler_link import SchedulerLink
from .time_limits import left_until

if TYPE_CHECKING:
    from .engine import Engine


class Grants:
    """Passes room on to the runs of an engine that have asked for it."""

    def __init__(self, engine: "Engine", *, clock: Clock, scheduler: SchedulerLink, hosts: HostLinks) -> None:
        self._engine = engine
        self._clock = clock
        self._scheduler = scheduler
        self._hosts = hosts
        #: Ready nodes that room was asked for.
        self.groups: dict[str, Group] = {}

    def held_grants(self) -> list[scheduler_pb2.HeldGrant]:
        """What runs on which grant, for a scheduler that knows nothing."""
        return held_grants(self._engine.runs.values(), self._clock.now_us())

    def waiting_groups(self) -> list[Group]:
        """What waits for room, likewise."""
        groups = []
        for run in self._engine.runs.values():
            for group in run.ready.groups():
                group.asked = 0  # nothing asked for before counts
                if run.ready.more_of(group):
                    groups.append(group)
        self.groups.update((group.group_id, group) for group in groups)
        return groups

    def granted(self, grants: list[Grant]) -> None:
        """Room that is not used is given back."""
        now = self._clock.now_us()
        for grant in grants:
            group = self.groups.get(grant.group_id)
            used = 0
            if group is not None and grant.epoch == self._scheduler.epoch:
                committer = self._engine.committer_of(group.run)
                used = group.run.attempts.start(group, grant, committer.pending, now)
                committer.flush()
            if used < grant.count:
                committer = self._engine.shards.any_committer()
                committer.pending.releases[grant.grant_id] += grant.count - used
                committer.flush()

    def revoked(self, revocations: Iterable[scheduler_pb2.Revocation]) -> None:
        """Work that must make room: some attempts of these grants are told so, and have their time. Grants that are not in use change nothing."""
        wanted = {revocation.grant_id: revocation for revocation in revocations}
        users = {
            way.grant_id: run
            for run in self._engine.runs.values()
            for way in run.in_flight.values()
            if way.grant_id in wanted
        }
        for grant_id, run in users.items():
            self._revoke(run, wanted[grant_id])

    def _revoke(self, run: ActiveRun, revocation: scheduler_pb2.Revocation) -> None:
        now = self._clock.now_us()
        committer = self._engine.committer_of(run)
        run.attempts.revoked.add(revocation.grant_id)  # a chain of nodes does not go on in the room
        ways = [(node, way) for node, way in run.in_flight.items() if way.grant_id == revocation.grant_id]
        unsent = {
            node for node, way in ways if self._hosts[way.host].has_unsent((run.header.run_id, node, way.attempt))
        }
        for node in run.preemptions.choose(revocation.grant_id, revocation.count, unsent):
            way = run.in_flight[node]
            if node in unsent:
                self._hosts[way.host].take_back((run.header.run_id, node, way.attempt))
                run.preemptions.end_unsent(node, revocation.reason, committer.pending, now)
            else:
                run.preemptions.tell(node, revocation.grace_ms, revocation.reason, committer.pending, now)
        committer.flush()

    def hosts_changed(self, hosts: Iterable[scheduler_pb2.Host]) -> None:
        for host in hosts:
            self._hosts[host.host].reach(host.address)


def held_grants(runs: Iterable[ActiveRun], now: int) -> list[scheduler_pb2.HeldGrant]:
    """The grants under which attempts of these runs go on."""
    held: dict[str, scheduler_pb2.HeldGrant] = {}
    for run in runs:
        for node, way in run.in_flight.items():
            grant = held.get(way.grant_id)
            if grant is None:
                priority, preemptible = run.ready.terms_of(node)
                grant = held[way.grant_id] = scheduler_pb2.HeldGrant(
                    grant_id=way.grant_id,
                    host=way.host,
                    resources=way.resources,
                    team=run.header.team,
                    priority=priority,
                    age_s=max(0, now - way.held_us) // 1_000_000,
                    not_preemptible=not preemptible,
                )
            grant.count += 1
            grant.preemptions = max(grant.preemptions, run.interruptions.preemptions(node))
            told = run.preemptions.told.get(node)
            if told is not None:
                grant.leaving_ms = max(grant.leaving_ms, int(left_until(told.deadline_us, now) * 1000))
            grant.age_s = min(grant.age_s, max(0, now - way.held_us) // 1_000_000)
            grant.expected_s = max(grant.expected_s, run.ready.expected_of(node))
    return list(held.values())
