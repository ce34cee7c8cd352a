"""Submissions come in at the pace at which this process does what it has begun: what goes on comes first, and what is new waits or is told when to come again.

Behind is who is late at a look, because there is more to do than it can or because its neighbours leave it too little of the machine, and who takes long to
commit what has happened. See adr/0015-overload.md.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from prometheus_client import Gauge

from mwfs_chassis.clock import Clock
from mwfs_chassis.errors import Overloaded

from .admission import SHED

WAITING = Gauge("mwfs_orchestrator_submissions_waiting", "Submissions that wait for their turn.")
_MANY, _LONG = SHED.labels("many"), SHED.labels("long")
#: So many begin between two looks.
BATCH: Final = 16
LOOK_EVERY_S: Final = 0.005
#: Who is no later than this is not behind.
LATE_S: Final = 0.05
#: What so many wait for already, a second's worth or two, nobody else needs to wait for.
MAX_WAITING: Final = 1_024
MAX_WAIT_S: Final = 5.0
#: Refusing takes time too: for each submission that was refused, others that may have to be wait so long to be read.
_REFUSE_EVERY_S: Final = 0.001


class Gate:
    """Every submission of a caller comes through here."""

    def __init__(self, clock: Clock, *, delay_s: Callable[[], float]) -> None:
        """delay_s: how long what happens takes to be committed now."""
        self._clock = clock
        self._delay_s = delay_s
        self._waiting: deque[tuple[asyncio.Future[Overloaded | None], float]] = deque()
        WAITING.set_function(self._waiting.__len__)
        #: How many may begin before the next look.
        self._room = BATCH
        self._watching: asyncio.Task[None] | None = None
        self._refusing = asyncio.Lock()

    async def enter(self) -> Overloaded | None:
        """Done when the submission may begin, or is refused. Not raised: what is raised out of a future that its frame knows is a cycle, and holds all that
        the submission was."""
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch(), name="gate")
        if self._room and not self._waiting:
            self._room -= 1
            return None
        turn: asyncio.Future[Overloaded | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, self._clock.monotonic()))
        return await turn

    def refusal(self) -> Overloaded | None:
        """Why one more would be refused; None when it would not be."""
        if len(self._waiting) < MAX_WAITING:
            return None
        _MANY.inc()
        return _overloaded(1.0)

    async def after_refusals(self, count: int) -> None:
        """Before more is read from a stream of which so many were refused."""
        async with self._refusing:
            await asyncio.sleep(count * _REFUSE_EVERY_S)

    async def _watch(self) -> None:
        """Until nobody waits, and the next to come need not."""
        try:
            while self._waiting or self._room < BATCH:
                asked = self._clock.monotonic()
                await asyncio.sleep(LOOK_EVERY_S)
                now = self._clock.monotonic()
                self.look(now, late_s=now - asked - LOOK_EVERY_S)
        finally:
            self._watching = None

    def look(self, now: float, *, late_s: float) -> None:
        """Lets in who may begin now, and turns away who has waited too long."""
        if max(late_s, self._delay_s()) <= LATE_S:
            self._room = BATCH
        while self._waiting:
            turn, since = self._waiting[0]
            too_long = now - since > MAX_WAIT_S
            if not self._room and not too_long:
                break
            self._waiting.popleft()
            if turn.done():  # the caller has gone
                continue
            if too_long:
                _LONG.inc()
                turn.set_result(_overloaded(2.0))
            else:
                self._room -= 1
                turn.set_result(None)


def _overloaded(retry_after_s: float) -> Overloaded:
    return Overloaded(
        "The orchestrator has more submissions than it can begin.",
        "Try again in a moment.",
        retry_after_s=retry_after_s,
    )
