"""Occasions that are due are submitted, again and again until the submission is accepted or refused for good.

The request id of an occasion is always the same, so a submission whose answer was lost finds the run that it made.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol
from uuid import UUID

import grpc
from prometheus_client import Counter

from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_chassis.caller import Caller
from mwfs_chassis.clock import Clock
from mwfs_chassis.errors import wire_error

from .model import Occasion
from .store import AutomationStore, Command

log = logging.getLogger(__name__)

COMMANDS = Counter("mwfs_orchestrator_occasions", "Occasions whose run was started, refused or put off.", ("result",))

#: Submitted and not yet answered.
_MAX_OPEN: Final = 64
_RETRY_US: Final = 5_000_000
_DEFECT_US: Final = 60_000_000
#: Whoever says so will always say so. All else may be otherwise in a moment: no occasion is given up for a fault of ours.
_FOR_GOOD: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.OUT_OF_RANGE,
    }
)


class Refused(Exception):
    """What the platform said to a submission."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message


class Runs(Protocol):
    """The runs of the platform, whichever replica has them."""

    async def submit(self, header: orchestrator_pb2.SubmitHeader, caller: Caller) -> None:
        """Done once the run is committed, now or earlier. Raises Refused, Unavailable."""
        ...

    async def cancel(self, run_id: UUID, caller: Caller) -> None:
        """Cancelling an ended run changes nothing. Raises NotFound, Unavailable."""
        ...

    async def outputs(self, run_id: UUID, caller: Caller) -> orchestrator_pb2.GetOutputsResponse:
        """Of a run that has succeeded. Raises NotFound, FailedPrecondition, Unavailable."""
        ...


class Commands:
    """Carries out commands beside each other, so that a shard that is away holds up only its own."""

    def __init__(self, *, store: AutomationStore, runs: Runs, clock: Clock) -> None:
        self._store = store
        self._runs = runs
        self._clock = clock
        self._open: dict[tuple[UUID, str], asyncio.Task[None]] = {}
        #: Called when there is room for commands that were left.
        self.room: Callable[[], None] = lambda: None
        self._left = False

    async def begin(self) -> None:
        """Begins those that are there, as far as there is room."""
        commands = await self._store.commands(self._clock.now_us(), 2 * _MAX_OPEN)
        self._left = len(commands) > _MAX_OPEN
        for command in commands:
            key = (command.occasion.automation_id, command.occasion.occasion)
            if key not in self._open and len(self._open) < _MAX_OPEN:
                work = asyncio.create_task(self._carry_out(command))
                self._open[key] = work
                work.add_done_callback(partial(self._answered, key))

    def _answered(self, key: tuple[UUID, str], work: "asyncio.Task[None]") -> None:
        del self._open[key]
        if self._left and len(self._open) < _MAX_OPEN // 2:
            self._left = False
            self.room()

    async def settle(self) -> None:
        """Those that were begun have been answered."""
        while self._open:
            await asyncio.gather(*self._open.values())

    async def stop(self) -> None:
        """What is not answered stays due."""
        for work in list(self._open.values()):
            work.cancel()
        await asyncio.gather(*self._open.values(), return_exceptions=True)

    async def _carry_out(self, command: Command) -> None:
        occasion = command.occasion
        try:
            await self._submit(command, occasion)
        except Exception as error:
            # The catalogue is away: the command is still there, and the next look finds it.
            log.warning("an occasion waits", extra={"occasion": occasion.occasion, "error": repr(error)})

    async def _submit(self, command: Command, occasion: Occasion) -> None:
        assert occasion.header is not None, "a command that is due has its submission"
        header = orchestrator_pb2.SubmitHeader.FromString(occasion.header)
        try:
            await self._runs.submit(header, Caller(principal=command.principal, team=command.team))
        except Exception as error:
            known = error if isinstance(error, Refused) else wire_error(error)
            now = self._clock.now_us()
            if known is None:
                log.exception("the run of an occasion could not be started", extra={"run": str(occasion.run_id)})
                await self._store.delayed(occasion, now + _DEFECT_US, "The platform met a defect of its own.")
            elif known.code in _FOR_GOOD:
                await self._store.refused(occasion, known.message)
            else:
                await self._store.delayed(occasion, now + _RETRY_US, known.message)
            COMMANDS.labels("refused" if known is not None and known.code in _FOR_GOOD else "later").inc()
            return
        await self._store.started(occasion)
        COMMANDS.labels("started").inc()
