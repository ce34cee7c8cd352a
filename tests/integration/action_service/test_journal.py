"""Outcomes are kept until acknowledged, and logs are found again."""

from pathlib import Path

import pytest

from mwfs_action_service.journal import Entry, Journal, LogRange
from mwfs_action_service.model import AttemptKey, key_proto
from mwfs_api.action.v1 import action_pb2
from mwfs_api.events.v1 import events_pb2

RUN = "11111111-1111-1111-1111-111111111111"
PLACE = LogRange(worker="worker-1", number=0, start=10, stop=30)


def entry(key: AttemptKey, replica: str = "r1", ended_us: int = 100, place: LogRange | None = PLACE) -> Entry:
    outcome = action_pb2.Outcome(key=key_proto(key), state=events_pb2.ATTEMPT_STATE_SUCCEEDED, outputs=[b"x"])
    return key, replica, outcome.SerializeToString(), place, ended_us


def reopen(journal: Journal, path: Path) -> Journal:
    journal.close()
    return Journal(path)


def test_an_outcome_is_kept_across_a_restart_until_it_is_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    journal = Journal(path)
    keys = [(RUN, node, 1) for node in (-1, 0, 1)]
    journal.write([entry(key) for key in keys], [])
    journal = reopen(journal, path)
    assert journal.unacknowledged() == dict.fromkeys(keys, "r1")
    journal.write([], keys[:2])
    journal = reopen(journal, path)
    assert [outcome.key.node for outcome in journal.outcomes_for("r1")] == [1]
    assert journal.outcomes_for("r2") == []
    journal.close()


def test_the_first_outcome_of_an_attempt_stands(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    journal.write([entry((RUN, 0, 1), "first")], [])
    journal.write([entry((RUN, 0, 1), "second")], [])
    assert journal.unacknowledged() == {(RUN, 0, 1): "first"}
    journal.close()


def test_the_log_of_an_acknowledged_attempt_is_still_found(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    journal.write([entry((RUN, 0, 1)), entry((RUN, 1, 1), place=None)], [(RUN, 0, 1), (RUN, 1, 1)])
    assert journal.find_log((RUN, 0, 1)) == PLACE
    assert journal.find_log((RUN, 1, 1)) is None
    journal.close()


def test_pruning_forgets_old_logs_and_says_which_files_are_still_needed(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    young = LogRange(worker="worker-2", number=3, start=0, stop=0)
    journal.write([entry((RUN, 0, 1), ended_us=100), entry((RUN, 1, 1), ended_us=200, place=young)], [])
    assert journal.prune(150) == {("worker-2", 3)}
    assert journal.find_log((RUN, 0, 1)) is None
    assert len(journal.unacknowledged()) == 2
    journal.close()


def test_numbers_are_remembered(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    journal = Journal(path)
    assert journal.fact("epoch") == 0
    journal.remember("epoch", 7)
    journal = reopen(journal, path)
    assert journal.fact("epoch") == 7
    journal.close()


@pytest.mark.parametrize("damage", [b"this is not a database" * 100, b""])
def test_a_damaged_journal_is_set_aside(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(damage)
    journal = Journal(path)
    journal.write([entry((RUN, 0, 1))], [])
    assert len(journal.unacknowledged()) == 1
    assert path.with_suffix(".damaged").exists() is bool(damage)
    journal.close()
