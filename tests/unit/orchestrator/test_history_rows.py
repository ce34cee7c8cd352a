"""Commits of one stream become rows of their runs."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from mwfs_api.events.v1 import events_pb2 as ev
from mwfs_orchestrator.history import fold_commits

RUNS = [str(UUID(int=number)) for number in range(3)]


@given(st.lists(st.dictionaries(st.sampled_from(RUNS), st.integers(1, 5), min_size=1), max_size=20))
def test_each_run_has_one_row_with_all_its_batches_and_their_positions(story: list[dict[str, int]]) -> None:
    commits, numbers = [], dict.fromkeys(RUNS, 0)
    for position, runs in enumerate(story, 1):
        commit = ev.Commit(stream="0/1", position=position)
        for run_id, count in runs.items():
            commit.runs.add(run_id=run_id, first_number=numbers[run_id] + 1, kind=[20] * count)
            numbers[run_id] += count
        commits.append(commit)
    rows = {str(row[0]): row for row in fold_commits(commits, sum(commit.ByteSize() for commit in commits))}
    assert {run_id: row[2] for run_id, row in rows.items()} == {run: last for run, last in numbers.items() if last}
    rebuilt: dict[int, set[str]] = {}
    for run_id, first, last, payload in rows.values():
        history = ev.RunHistory.FromString(payload)
        told = [batch.first_number + i for batch in history.batches for i in range(len(batch.kind))]
        assert told == list(range(first, last + 1))
        for position in history.positions:
            rebuilt.setdefault(position, set()).add(str(run_id))
    assert rebuilt == {commit.position: {batch.run_id for batch in commit.runs} for commit in commits}


def test_a_row_does_not_grow_without_bound() -> None:
    commits = [
        ev.Commit(
            position=position,
            runs=[ev.RunEvents(run_id=RUNS[0], first_number=position, kind=[20], places=["x" * 400_000])],
        )
        for position in range(1, 9)
    ]
    rows = fold_commits(commits, sum(commit.ByteSize() for commit in commits))
    assert [row[1:3] for row in rows] == [(1, 3), (4, 6), (7, 8)]
