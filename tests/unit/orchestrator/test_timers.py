"""What is to happen to a run in a week does not keep it in memory for a week."""

import gc
import weakref

from builders.lives import Life
from integration.orchestrator.dags import chain

from mwfs_orchestrator.changes import Changes
from mwfs_orchestrator.states import RunState


def test_a_timer_keeps_no_run_that_has_ended() -> None:
    dag = chain(2)
    dag.operators[0].queue_timeout_seconds = 7 * 24 * 3600.0
    life = Life(dag)
    life.run.stopping.cancel(cancelled := Changes(), 2)
    timers = [happens for _delay, _run, happens in (*life.accepted.timers, *cancelled.timers)]
    assert len(timers) > 1
    assert life.run.state is RunState.CANCELLING
    gone = weakref.ref(life.run)
    del life, cancelled
    gc.collect()
    assert gone() is None
