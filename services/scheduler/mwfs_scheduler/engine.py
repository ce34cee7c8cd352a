"""Turns messages into changes of the ledger and decisions into messages; owns the sessions and the timers."""

# Everything happens on one event loop, so the ledger needs no lock. Messages that arrive in the same turn of the loop
# are answered by one decision pass and one message per stream; nothing waits for a timer.

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import perf_counter

from mwfs_api.scheduler.v1 import scheduler_pb2
from mwfs_chassis.clock import Clock, SystemClock
from mwfs_chassis.errors import Aborted, Unavailable
from mwfs_scheduler.explain import Explanation, explain_run
from mwfs_scheduler.fair_share.model import Knobs
from mwfs_scheduler.ledger import Ledger
from mwfs_scheduler.metrics import Metrics
from mwfs_scheduler.model import Inventory
from mwfs_scheduler.quotas import Quotas
from mwfs_scheduler.session import Session
from mwfs_scheduler.settings import RUNNING
from mwfs_scheduler.store import Store
from mwfs_scheduler.team_figures import TeamFigures
from mwfs_scheduler.wire import (
    expected_from,
    grant_to,
    held_from,
    host_list_to,
    inventory_from,
    new_group_from,
    notice_to,
)

log = logging.getLogger(__name__)

#: While something waits or runs, a pass is made this often even when no message comes: time alone can give somebody a right.
TICK_S = 1.0

#: So many searches for somebody who could make room are made in a pass: in a large tree of teams one may take long.
SEARCHES_AT_ONCE = 4

#: The figures of teams are as old as this at most.
SHOWN_S = 10

#: How long the grants of a broken stream are kept for the replica's next hello, and how long a new scheduler waits for
#: the hellos of those that its predecessor knew.
GRACE_S = 10.0


class Engine:
    """The scheduler of one epoch."""

    def __init__(
        self,
        store: Store,
        metrics: Metrics,
        *,
        knobs: Knobs = RUNNING,
        grace_s: float = GRACE_S,
        clock: Clock | None = None,
        may_decide: Callable[[], bool] = lambda: True,
    ) -> None:
        """While `may_decide` says no, nothing is granted; call `wake` when it says yes again."""
        self._store = store
        self._metrics = metrics
        self._knobs = knobs
        self._grace_s = grace_s
        self._may_decide = may_decide
        self._clock = clock or SystemClock()
        self._began = self._clock.monotonic()
        self._ledger = Ledger(epoch=0, knobs=knobs)
        self._quotas = Quotas()
        self._ticking: asyncio.TimerHandle | None = None
        #: When those who found nobody to ask have looked again last.
        self._asked_again = -1
        self._shown = -SHOWN_S
        self._sessions: dict[str, Session] = {}
        self._offers: dict[str, object] = {}
        self._noted: set[str] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._pass_due = False
        #: Once for all hosts that change in a turn of the loop: after a start they all come back.
        self._hosts_changed = False
        self._counted_unknown = 0
        self._stopped = False

    @property
    def epoch(self) -> int:
        return self._ledger.epoch

    @property
    def ledger(self) -> Ledger:
        """To be read; another one after the next start."""
        return self._ledger

    async def lead(self, epoch: int) -> None:
        """Begin an epoch. Nothing is granted until those who held grants have said hello, or the grace is over."""
        self._ledger = Ledger(epoch, self._knobs, self._quotas)
        self._ledger.awaited = set(await self._store.known_replicas())
        self._noted = set(self._ledger.awaited)
        for replica in self._ledger.awaited:
            self._start_grace(replica)
        self._metrics.epoch.set(self.epoch)
        log.info("epoch begins", extra={"epoch": self.epoch, "awaited": len(self._ledger.awaited)})

    async def start(self) -> None:
        """Nothing yet: it begins with `lead`."""

    async def stop(self) -> None:
        self._stopped = True
        if self._ticking is not None:
            self._ticking.cancel()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for session in list(self._sessions.values()):
            session.end()
        if self._background:
            await asyncio.gather(*self._background, return_exceptions=True)
        await self._store.close()

    # --- orchestrator replicas ----------------------------------------------------------------------------------------

    async def connect(self, hello: scheduler_pb2.Hello) -> Session:
        """A replica said hello: what is known of it is replaced.

        Raises InvalidArgument when a held grant is malformed, Unavailable when the catalogue cannot be told.
        """
        replica, held = hello.replica, held_from(hello.held)
        if replica not in self._noted:
            await self._note(replica)
            if replica not in self._noted:
                # A successor would not know that it must wait for this replica before it grants the same room again.
                raise Unavailable("The catalogue is away, and must know of a replica.", "Say hello again in a moment.")
        timer = self._timers.pop(replica, None)
        if timer is not None:
            timer.cancel()
        before = self._sessions.get(replica)
        if before is not None:
            before.end(Aborted(f"Another stream of {replica} has said hello.", "Keep only the newer stream."))
        session = self._sessions[replica] = Session(replica)
        self._ledger.hello(replica, held)
        greeting = session.outgoing()
        greeting.epoch = self.epoch
        greeting.hosts.CopyFrom(host_list_to(self._ledger))
        self._metrics.replicas.set(len(self._sessions))
        log.info("replica connected", extra={"replica": replica, "held_grants": len(held)})
        return session

    def receive(self, session: Session, message: scheduler_pb2.RequestRequest) -> None:
        """Apply one message of the replica's stream. Raises InvalidArgument when a group is malformed."""
        replica, ledger = session.replica, self._ledger
        if self._sessions.get(replica) is not session:
            return
        for release in message.releases:
            if release.lost_ms and (holding := ledger.holdings[replica].get(release.grant_id)) is not None:
                self._metrics.teams.lost(holding, release.lost_ms / 1000, ledger)
            ledger.release(replica, release.grant_id, release.count)
        for one in held_from(message.adopted):
            ledger.adopt(replica, one)
        for demand in message.demands:
            if not ledger.knows(replica, demand.group_id):
                ledger.describe(replica, new_group_from(demand))
            else:
                ledger.expect(replica, demand.group_id, expected_from(demand.expected_s, demand.group_id))
            ledger.demand(replica, demand.group_id, demand.add)
        # Last, so that a demand and its withdrawal may share a message.
        for group_id in message.withdrawn_groups:
            ledger.withdraw(replica, group_id)
        self._ask_for_pass()

    def disconnect(self, session: Session) -> None:
        """The stream is over: its waiting groups are forgotten, its grants are kept for a while. Twice is fine."""
        replica = session.replica
        if self._stopped or self._sessions.get(replica) is not session:
            return
        del self._sessions[replica]
        self._ledger.forget_groups(replica)
        self._start_grace(replica)
        self._metrics.replicas.set(len(self._sessions))
        self._ask_for_pass()
        log.info("replica disconnected", extra={"replica": replica, "grace_s": self._grace_s})

    def _start_grace(self, replica: str) -> None:
        self._timers[replica] = asyncio.get_running_loop().call_later(self._grace_s, self._grace_over, replica)

    def _grace_over(self, replica: str) -> None:
        self._timers.pop(replica, None)
        self._ledger.forget_grants(replica)
        self._ledger.awaited.discard(replica)
        self._ask_for_pass()
        forgetting = asyncio.get_running_loop().create_task(self._forget(replica))
        self._background.add(forgetting)
        forgetting.add_done_callback(self._background.discard)
        log.warning("replica did not come back: its grants are freed", extra={"replica": replica})

    async def _note(self, replica: str) -> None:
        try:
            await self._store.note_replica(replica)
            self._noted.add(replica)
        except Exception as error:
            log.warning("replica could not be noted", extra={"replica": replica, "error": repr(error)})

    async def _forget(self, replica: str) -> None:
        if replica in self._sessions:
            return
        self._noted.discard(replica)
        try:
            await self._store.forget_replica(replica)
        except Exception as error:  # costs the next start one grace period
            log.warning("replica could not be forgotten", extra={"replica": replica, "error": repr(error)})
        if replica in self._sessions:
            await self._note(replica)

    # --- hosts --------------------------------------------------------------------------------------------------------

    def offer(self, offer: scheduler_pb2.OfferRequest, stream: object) -> Inventory:
        """A host says what it offers; the newest stream of a host counts."""
        inventory = inventory_from(offer)
        self._ledger.offer(inventory)  # first: who is refused speaks for nobody
        self._offers[inventory.host] = stream
        self._ask_to_tell_hosts()
        log.info(
            "host offers",
            extra={"host": inventory.host, "address": inventory.address, "draining": inventory.draining},
        )
        return inventory

    def withdraw_offer(self, host: str, stream: object) -> None:
        """The stream is over: the host offers nothing, unless a newer stream speaks for it."""
        if self._stopped or self._offers.get(host) is not stream:
            return
        del self._offers[host]
        self._ledger.withdraw_host(host)
        self._ask_to_tell_hosts()
        log.info("host gone", extra={"host": host})

    def _ask_to_tell_hosts(self) -> None:
        self._hosts_changed = True
        self._ask_for_pass()

    def _tell_hosts(self) -> None:
        self._hosts_changed = False
        hosts = host_list_to(self._ledger)
        for session in self._sessions.values():
            session.outgoing().hosts.CopyFrom(hosts)
        self._metrics.hosts.set(len(hosts.hosts))

    # --- teams --------------------------------------------------------------------------------------------------------

    def apply(self, quotas: Quotas) -> None:
        """These quotas hold from now on, also for what waits and runs. They must make a tree: `quotas.check`."""
        self._quotas = quotas
        self._ledger.apply(quotas)
        self._ask_for_pass()
        log.info("quotas apply", extra={"version": quotas.version, "teams": len(quotas.teams)})

    # --- questions ----------------------------------------------------------------------------------------------------

    def explain(self, run_id: str) -> list[Explanation]:
        return explain_run(self._ledger, run_id, decides=self._may_decide())

    def team_figures(self) -> list[TeamFigures]:
        """How each team stands now."""
        return self._metrics.teams.figures(self._ledger)

    def hosts(self) -> scheduler_pb2.HostList:
        return host_list_to(self._ledger)

    # --- the decision pass --------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """What waits may start now."""
        self._ask_for_pass()

    def _ask_for_pass(self) -> None:
        if not self._pass_due:
            self._pass_due = True
            asyncio.get_running_loop().call_soon(self._decide)

    def _tick(self) -> None:
        self._ticking = None
        self._ask_for_pass()

    def _decide(self) -> None:
        self._pass_due = False
        if not self._may_decide():
            return
        begun = perf_counter()
        if self._hosts_changed:
            self._tell_hosts()
        now = int(self._clock.monotonic() - self._began)
        self._ledger.pass_time(now)
        outcome = self._ledger.decide(reclaim=now > self._asked_again, searches=SEARCHES_AT_ONCE)
        self._asked_again = max(now, self._asked_again)
        for holding in outcome.granted:
            self._sessions[holding.replica].outgoing().grants.append(grant_to(holding, self.epoch))
        for notice in outcome.notices:
            # Who is away hears of it again after its hello, if its work must still leave then.
            if (session := self._sessions.get(notice.holding.replica)) is not None:
                session.outgoing().revocations.append(notice_to(notice))
        metrics = self._metrics
        if outcome.granted:
            metrics.grants.inc(len(outcome.granted))
            metrics.granted_nodes.inc(sum(holding.count for holding in outcome.granted))
        if outcome.notices:
            metrics.revoked_nodes.inc(sum(notice.count for notice in outcome.notices))
            metrics.teams.told(outcome.notices)
        if now - self._shown >= SHOWN_S:
            self._shown = now
            metrics.teams.look(self._ledger)
        if self._ledger.unfinished:
            self._ask_for_pass()
        if self._ticking is None and (self._ledger.nodes_waiting or self._ledger.nodes_granted or now > self._shown):
            self._ticking = asyncio.get_running_loop().call_later(TICK_S, self._tick)
        unknown = self._ledger.unknown_releases - self._counted_unknown
        if unknown:
            self._counted_unknown += unknown
            metrics.unknown_releases.inc(unknown)
        metrics.nodes_waiting.set(self._ledger.nodes_waiting)
        metrics.nodes_granted.set(self._ledger.nodes_granted)
        metrics.pass_seconds.observe(perf_counter() - begun)
