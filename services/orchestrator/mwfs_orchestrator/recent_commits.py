"""The last commits that were made here: what is handed on or moved to history a moment later need not be read and understood again."""

from collections import deque
from typing import Final, NamedTuple

from mwfs_api.events.v1 import events_pb2

#: Of each stream.
_MOST: Final = 256


class RecentCommit(NamedTuple):
    commit: events_pb2.Commit
    #: In bytes, serialised.
    size: int


class RecentCommits:
    """Of all streams that this process writes."""

    def __init__(self) -> None:
        self._streams: dict[str, deque[RecentCommit]] = {}

    def add(self, commit: events_pb2.Commit, size: int) -> None:
        """It was committed, and follows the one before it in its stream."""
        recent = self._streams.get(commit.stream)
        if recent is None:
            recent = self._streams[commit.stream] = deque(maxlen=_MOST)
        recent.append(RecentCommit(commit, size))

    def streams(self) -> list[str]:
        return list(self._streams)

    def forget(self, stream: str) -> None:
        self._streams.pop(stream, None)

    def after(self, stream: str, position: int) -> list[RecentCommit] | None:
        """What the stream has after a position; None when that is not known here, or not any more."""
        recent = self._streams.get(stream)
        if not recent or recent[0].commit.position > position + 1:
            return None
        return [one for one in recent if one.commit.position > position]
