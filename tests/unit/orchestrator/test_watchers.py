"""What callers hear of a run: its end only once that is committed."""

import asyncio
import itertools
from uuid import UUID

import pytest
from builders.dags import fanout
from builders.run_headers import run_header

from mwfs_api.events.v1 import events_pb2
from mwfs_orchestrator.active_run import ActiveRun
from mwfs_orchestrator.changes import Changes
from mwfs_orchestrator.graph import Graph
from mwfs_orchestrator.model import NotOwner
from mwfs_orchestrator.watchers import Watch, Watchers
from mwfs_orchestrator.wire import run_of_active

RUN_ID = UUID(int=1)


def cancelled_run() -> ActiveRun:
    """A run whose end is in memory, and in no commit yet."""
    header = run_header(run_id=RUN_ID, team="red", workflow="sample:workflow")
    run = ActiveRun(header, (f"g{number}" for number in itertools.count()))
    run.accept([b""], Graph(fanout(3)), Changes(), 2)
    run.stopping.cancel(Changes(), 3)
    assert run.ended
    return run


def test_an_end_is_not_shown_before_it_is_committed() -> None:
    run = cancelled_run()
    shown = run_of_active(run)
    assert (shown.state, shown.end_time_us) == (events_pb2.RUN_STATE_CANCELLING, 0)
    run.end_committed = True
    shown = run_of_active(run)
    assert (shown.state, shown.end_time_us) == (events_pb2.RUN_STATE_CANCELLED, 3)


def test_watchers_do_not_hear_of_an_end_by_the_commit_before_it() -> None:
    run, watchers, watch = cancelled_run(), Watchers(), Watch([RUN_ID])
    watchers.add(watch)
    watchers.touch([run])
    assert (watch.changed, watch.ended) == ({RUN_ID}, {})
    run.end_committed = True
    watchers.touch([run])
    assert (watch.changed, list(watch.ended)) == (set(), [RUN_ID])


async def test_a_watcher_hears_that_a_run_has_gone_also_while_it_collects_changes() -> None:
    run, watchers, watch = cancelled_run(), Watchers(), Watch([RUN_ID])
    watchers.add(watch)
    watchers.touch([run])
    looking = asyncio.create_task(watch.look())
    await asyncio.sleep(0)  # it has seen a change, and waits for more
    watchers.move([RUN_ID])
    with pytest.raises(NotOwner):
        await looking
