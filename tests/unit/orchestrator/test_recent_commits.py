"""What is remembered of a stream has no gaps, and says so when it does not reach back far enough."""

from mwfs_api.events.v1 import events_pb2
from mwfs_orchestrator.recent_commits import RecentCommits


def positions(recent: RecentCommits, stream: str, after: int) -> list[int] | None:
    found = recent.after(stream, after)
    return None if found is None else [one.commit.position for one in found]


def test_the_last_commits_of_each_stream_are_there() -> None:
    recent = RecentCommits()
    for position in range(1, 301):
        recent.add(events_pb2.Commit(stream="0/1", position=position), 10)
    recent.add(events_pb2.Commit(stream="1/2", position=7), 10)
    assert positions(recent, "0/1", 298) == [299, 300]
    assert positions(recent, "0/1", 300) == []
    assert positions(recent, "0/1", 44) == list(range(45, 301))
    assert positions(recent, "0/1", 43) is None
    assert positions(recent, "1/2", 6) == [7]
    assert positions(recent, "1/2", 5) is None
    assert positions(recent, "1/3", 0) is None
    assert recent.streams() == ["0/1", "1/2"]
    recent.forget("1/2")
    assert positions(recent, "1/2", 6) is None
