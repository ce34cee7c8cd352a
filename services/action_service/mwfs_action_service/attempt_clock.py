"""The page of memory in which a worker writes what it runs, so that the service knows without being told.

Writing it costs a worker a fraction of a microsecond per attempt, and it survives a kill -9 of the worker: it says which attempt
had begun, since when, and where its output starts. Single fields are written whole; `ticket` is cleared first and set last. The other way, the service
writes which attempt has to make room, and by when, so that an operator can ask at no cost.
"""

import mmap
import os
import time
from dataclasses import dataclass

_FIELDS = 6
#: Where the service writes: the ticket of the attempt that has to make room, and by when.
_ASKED, _DEADLINE = 6, 7
SIZE = mmap.PAGESIZE


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What a worker is doing."""

    #: 0: nothing.
    ticket: int
    #: Microseconds of the monotonic clock, which all processes of a host share.
    since_us: int
    #: Microseconds since 1970: when the body began; 0 while its code is being loaded.
    body_started_us: int
    log_number: int
    log_start: int
    #: Microseconds of the monotonic clock: when the body last said that it is getting on, or began.
    beat_us: int = 0


class AttemptClock:
    """Both ends of the page."""

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, SIZE)
        self._fields = memoryview(self._map).cast("q")

    def begin(self, ticket: int, since_us: int, log_number: int, log_start: int) -> None:
        fields = self._fields
        fields[0] = 0
        fields[1] = since_us
        fields[2] = 0
        fields[3] = log_number
        fields[4] = log_start
        fields[5] = 0
        fields[0] = ticket

    def body_began(self, time_us: int) -> None:
        self.beat()
        self._fields[2] = time_us

    def beat(self) -> None:
        """The body is getting on."""
        self._fields[5] = time.monotonic_ns() // 1000

    def end(self) -> None:
        self._fields[0] = 0

    def ask(self, ticket: int, deadline_us: int) -> None:
        """The attempt has to end by then, by the monotonic clock."""
        self._fields[_DEADLINE] = deadline_us
        self._fields[_ASKED] = ticket

    def deadline_us(self, ticket: int) -> int:
        """By when the attempt has to end; 0 when nobody asks it to."""
        fields = self._fields
        return fields[_DEADLINE] if fields[_ASKED] == ticket else 0

    def read(self) -> Running:
        ticket, since, body, number, start, beat = self._fields[:_FIELDS].tolist()
        return Running(
            ticket=ticket, since_us=since, body_started_us=body, log_number=number, log_start=start, beat_us=beat
        )

    @property
    def ticket(self) -> int:
        return self._fields[0]

    def close(self) -> None:
        self._fields.release()
        self._map.close()


def create_page() -> int:
    """A file descriptor of a fresh page, to be handed to a worker."""
    fd = os.memfd_create("mwfs-attempt-clock")
    os.ftruncate(fd, SIZE)
    return fd
