"""`mwfs.heartbeat()`: an operator says that it is getting on."""

from __future__ import annotations

from collections.abc import Callable


def _nobody_listens() -> None:
    pass


#: Set once by a worker process. Not a context variable: threads that an operator starts are heard too.
_beat: Callable[[], None] = _nobody_listens


def heartbeat() -> None:
    """Says that the operator is getting on. One with `heartbeat_timeout` that does not say so for as long is stopped, and fails with TimeoutError.

    Costs a microsecond, so call it as often as you like, from any thread. Where nobody listens (`run_local`, plain calls) it does nothing.
    """
    _beat()


def listen(beat: Callable[[], None]) -> None:
    """From now on, heartbeats call this. For worker processes."""
    global _beat
    _beat = beat
