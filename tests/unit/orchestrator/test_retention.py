"""When runs go to the archive, and who is told that events are gone."""

from datetime import UTC, datetime

import pytest

from mwfs_chassis.errors import FailedPrecondition, InvalidArgument
from mwfs_orchestrator.relay import Cursors
from mwfs_orchestrator.retention.model import Terms, check_days, check_team, month_of
from mwfs_orchestrator.settings import OrchestratorSettings


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1e6)


def test_a_run_stays_for_whole_days_after_the_day_of_its_end() -> None:
    terms = Terms(default=90, of_team={"red": 1, "blue": 0})
    now = at("2026-11-26T09:35")
    assert terms.cutoff_us("red", now) == at("2026-11-25T00:00")
    assert terms.cutoff_us("green", now) == at("2026-08-28T00:00")
    assert terms.cutoff_us("blue", now) == 0, "for ever"
    assert terms.cutoff_us("red", now) == terms.cutoff_us("red", at("2026-11-26T23:59")), "one batch a day"
    assert month_of(at("2026-11-30T23:59")) == "2026-11"
    assert month_of(at("2026-12-01T00:00")) == "2026-12"


@pytest.mark.parametrize("days", [-1, 36_501, 1 << 40])
def test_absurd_days_are_refused(days: int) -> None:
    with pytest.raises(InvalidArgument, match="Give 0 to keep them for ever"):
        check_days(days)


@pytest.mark.parametrize("team", ["", "x" * 129, "a\0b"])
def test_what_names_no_team_is_refused(team: str) -> None:
    with pytest.raises(InvalidArgument, match="is not the name of a team"):
        check_team(team)


@pytest.mark.parametrize(
    ("text", "days"), [("", 90), ("0", 0), ("30", 30), ("-1", None), ("soon", None), ("36501", None)]
)
def test_the_days_for_all_teams_are_a_setting(monkeypatch: pytest.MonkeyPatch, text: str, days: int | None) -> None:
    for name in ("HOME", "LISTEN", "METRICS_LISTEN", "TOKEN", "CATALOGUE_DSN", "SHARD_DSNS", "SCHEDULER_ADDRESS"):
        monkeypatch.setenv(f"MWFS_{name}", "x")
    monkeypatch.setenv("MWFS_RETENTION_DAYS", text)
    if days is None:
        with pytest.raises(FailedPrecondition, match="MWFS_RETENTION_DAYS"):
            OrchestratorSettings.from_env()
    else:
        assert OrchestratorSettings.from_env().retention_days == days


def test_who_follows_is_told_of_events_that_are_gone_unless_none_of_theirs_are() -> None:
    known = Cursors({"0/1": 5})
    assert known.misses("0/1", 9)
    assert not known.misses("0/1", 5)
    begins = Cursors({})
    assert not begins.misses("0/1", 9), "who begins knows that runs were removed before"
    begins["0/1"] = 3
    assert not begins.misses("0/1", 9)
    assert begins.misses("0/1", 12), "and some of what it has was of runs that are gone now"
    begins["0/1"] = 20
    assert not begins.misses("0/1", 12)
