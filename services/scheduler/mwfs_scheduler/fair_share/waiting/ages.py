"""What waits, by since when."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from itertools import takewhile

from mwfs_scheduler.fair_share.model import Request, Time


class Ages:
    """The requests that wait."""

    def __init__(self) -> None:
        self._order: list[tuple[Time, str, Request]] = []

    def add(self, request: Request) -> None:
        insort(self._order, (_since(request), request.id, request))

    def remove(self, request: Request) -> None:
        del self._order[bisect_left(self._order, (_since(request), request.id))]

    def until(self, time: Time) -> Iterator[Request]:
        """Those that have waited since then or for longer, who has waited for longest first."""
        return (request for _, _, request in takewhile(lambda each: each[0] <= time, self._order))


def _since(request: Request) -> Time:
    return request.submit if request.since is None else request.since
