"""`mwfs.ctx`: what an operator knows of its attempt, and how it keeps what it has done so far for the next one.

    state = ctx.resume_from.value if ctx.resume_from else start()
    for epoch in range(state.epoch, epochs):
        state = train(state)
        ctx.checkpoint(state, step=epoch + 1)

The next attempt, after a preemption, a lost host or a failure that is retried, begins with what was kept last.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from mwfs.errors import BadCheckpoint, OutsideOperator

if TYPE_CHECKING:
    from mwfs.checkpoints import CheckpointShelf
    from mwfs_api.events.v1 import events_pb2

T = TypeVar("T")


class Preempted(BaseException):
    """Ends an attempt that has to make room. Raised by `ctx.checkpoint` once the checkpoint is kept; operators may raise it themselves.

    No Exception, so that `except Exception` lets it through. The node is tried again when there is room, at no cost of its retries.
    """


class Resumed:
    """What an earlier attempt of the node has kept last."""

    def __init__(self, kept: events_pb2.Checkpoint, shelf: CheckpointShelf) -> None:
        self._kept, self._shelf = kept, shelf

    @property
    def step(self) -> int:
        """How far that attempt was."""
        return self._kept.step

    @property
    def attempt(self) -> int:
        """Which attempt kept it."""
        return self._kept.attempt

    @cached_property
    def value(self) -> Any:
        """What was given to `ctx.checkpoint`, as it was; for a Path, the Path of a copy. Fetched when first asked for. Raises BadCheckpoint."""
        return self._shelf.read(self._kept)

    def value_as(self, kind: type[T]) -> T:
        """The value, if it is of this class. Raises BadCheckpoint."""
        value = self.value
        if not isinstance(value, kind):
            raise BadCheckpoint(
                f"The checkpoint of attempt {self.attempt} is {type(value).__qualname__}, not {kind.__qualname__}.",
                "Keep one class of value, or ask for what was kept.",
            )
        return value

    def __repr__(self) -> str:
        return f"<what attempt {self.attempt} kept at step {self.step}>"


@dataclass(slots=True, kw_only=True)
class CurrentAttempt:
    """The attempt whose body runs, for `ctx`. Workers and `run_local` make one for each."""

    run_id: str
    node: int
    number: int
    #: Keeps checkpoints.
    shelf: CheckpointShelf
    resume_from: events_pb2.Checkpoint | None
    #: Until when it has to have ended, by the monotonic clock; None while nobody asks it to.
    deadline: Callable[[], float | None]
    #: Is told of each checkpoint once it is stored.
    kept: Callable[[events_pb2.Checkpoint], None]
    resumed: Resumed | None = None
    count: int = 0
    #: A child that the operator forks has no attempt: it does not know what the others keep.
    pid: int = field(default_factory=os.getpid)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        if self.resume_from is not None:
            self.resumed = Resumed(self.resume_from, self.shelf)

    def keep(self, value: Any, step: int) -> None:
        if os.getpid() != self.pid:
            raise OutsideOperator(
                "`ctx.checkpoint` was asked for in a process that the operator has started.",
                "Keep checkpoints in the operator's own process; hand over to it what is to be kept.",
            )
        with self.lock:  # threads of the operator may keep, too: one after the other
            self.count += 1
            key = f"checkpoints/{self.run_id}/{self.node}/{self.number}-{self.count}"
            checkpoint = self.shelf.keep(value, key)
            checkpoint.step, checkpoint.attempt, checkpoint.number = step, self.number, self.count
            checkpoint.time_us = time.time_ns() // 1000
            self.kept(checkpoint)


#: Of a worker process, which runs one attempt at a time: threads that an operator starts see it as well. Until somebody asks: what makes it.
_of_process: CurrentAttempt | Callable[[], CurrentAttempt] | None = None
_making = threading.Lock()
#: Of `run_local`, of which several may go on in threads.
_of_thread: ContextVar[CurrentAttempt | None] = ContextVar("mwfs_attempt", default=None)


def enter_process(attempt: CurrentAttempt | Callable[[], CurrentAttempt] | None) -> None:
    """From now on this attempt runs here; None: none does. For worker processes. Most operators never ask, so it need not be made yet."""
    global _of_process
    _of_process = attempt


@contextmanager
def entered(attempt: CurrentAttempt) -> Iterator[None]:
    """Inside, this attempt runs. For `run_local`; threads that the operator starts meanwhile see it unless another run goes on elsewhere."""
    before, token = _of_process, _of_thread.set(attempt)
    enter_process(attempt)
    try:
        yield
    finally:
        _of_thread.reset(token)
        enter_process(before)


def plain_attempt() -> CurrentAttempt:
    """Of an operator that is called as a function: nothing was kept before, and nobody asks for room."""
    from mwfs.checkpoints import CheckpointShelf

    return CurrentAttempt(
        run_id="plain-call",
        node=0,
        number=1,
        shelf=CheckpointShelf(),
        resume_from=None,
        deadline=lambda: None,
        kept=lambda checkpoint: None,
    )


def current_attempt() -> CurrentAttempt | None:
    """What runs here."""
    global _of_process
    found = _of_thread.get() or _of_process
    if found is None or isinstance(found, CurrentAttempt):
        return found
    with _making:
        if not isinstance(_of_process, CurrentAttempt) and _of_process is not None:
            _of_process = _of_process()
        return _of_process


class Context:
    """The attempt that runs. Outside of an operator all but `preempted` raises OutsideOperator.

    In an operator that is called as a function, such as by a test of it, `resume_from` is None, and what is kept is of no consequence.
    """

    @property
    def run_id(self) -> str:
        return self._attempt("run_id").run_id

    @property
    def attempt(self) -> int:
        """The number of the attempt of its node, from 1."""
        return self._attempt("attempt").number

    @property
    def resume_from(self) -> Resumed | None:
        """What an earlier attempt of this node has kept last; None: begin at the beginning."""
        return self._attempt("resume_from").resumed

    @property
    def preempted(self) -> bool:
        """Whether the attempt has been asked to make room. Costs a microsecond: ask as often as you like, from any thread."""
        attempt = current_attempt()
        return attempt is not None and attempt.deadline() is not None

    @property
    def seconds_left(self) -> float | None:
        """Until the attempt is killed, when it has been asked to make room; else None."""
        until = self._attempt("seconds_left").deadline()
        return None if until is None else max(0.0, until - time.monotonic())

    def checkpoint(self, value: Any, *, step: int = 0) -> None:
        """Keeps a value, or the file or folder at a Path, for the next attempt of this node; it replaces what was kept before.

        When it returns, all of it is kept. step: how far the operator is, as it counts. Raises BadCheckpoint and CheckpointTooLarge, and nothing
        is changed; Preempted when the attempt has been asked to make room: the checkpoint is kept, and the attempt ends.
        """
        attempt = self._attempt("checkpoint")
        if isinstance(step, bool) or not isinstance(step, int) or not 0 <= step < 1 << 63:
            raise BadCheckpoint(f"step={step!r} is not a step.", "Give a whole number, such as that of the epoch.")
        attempt.keep(value, step)
        if attempt.deadline() is not None:
            raise Preempted

    def _attempt(self, what: str) -> CurrentAttempt:
        attempt = current_attempt()
        if attempt is None:
            raise OutsideOperator(
                f"`ctx.{what}` was asked for where no operator runs.",
                "Ask in the body of an operator, or in what it calls.",
            )
        return attempt

    def __repr__(self) -> str:
        attempt = current_attempt()
        return "<ctx: no attempt runs>" if attempt is None else f"<ctx of attempt {attempt.number}>"


ctx = Context()
