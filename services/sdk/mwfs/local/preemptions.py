"""Preemptions that a test asks for: attempts of `run_local` that have to make room, as they would on the platform."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from mwfs.attempt_context import CurrentAttempt

#: What an attempt is told that it has left.
GRACE_SECONDS = 30.0


@dataclass(slots=True, kw_only=True)
class Preemption:
    """Attempts of one operator are asked to make room, each once it has kept `after` checkpoints, until `times` of them have."""

    #: `module:qualname`.
    operator: str
    after: int
    times: int
    #: Run, node and number of those that have made room.
    preempted: list[tuple[str, int, int]] = field(default_factory=list)
    _asked: dict[int, float] = field(default_factory=dict)

    def deadline(self, attempt: CurrentAttempt) -> float | None:
        """Until when the attempt has to have ended; None: nobody asks it to."""
        if len(self.preempted) >= self.times or attempt.count < self.after:
            return None
        return self._asked.setdefault(id(attempt), time.monotonic() + GRACE_SECONDS)

    def happened(self, attempt: CurrentAttempt) -> None:
        """The attempt has made room."""
        self._asked.pop(id(attempt), None)
        self.preempted.append((attempt.run_id, attempt.node, attempt.number))


_planned: ContextVar[tuple[Preemption, ...]] = ContextVar("mwfs_preemptions", default=())


def planned_for(operator: str) -> Preemption | None:
    """The preemption that is planned for attempts of this operator; the innermost one."""
    return next((one for one in reversed(_planned.get()) if one.operator == operator), None)


@contextmanager
def planned(preemption: Preemption) -> Iterator[Preemption]:
    """Inside, local runs have it."""
    token = _planned.set((*_planned.get(), preemption))
    try:
        yield preemption
    finally:
        _planned.reset(token)
