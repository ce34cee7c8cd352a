"""Answers to what an operator of the platform asks: how many attempts end how, how long they wait, how many workers there are."""

from collections.abc import Callable

from prometheus_client import Counter, Gauge, Histogram

from mwfs_api.action.v1 import action_pb2
from mwfs_api.events.v1 import events_pb2


class ActionMetrics:
    """One per process: Prometheus keeps one registry per process."""

    def __init__(self) -> None:
        attempts = Counter("mwfs_attempts", "Attempts that ended, by state.", ("state",))
        self._by_state = {
            number: attempts.labels(name.removeprefix("ATTEMPT_STATE_").lower())
            for name, number in events_pb2.AttemptState.items()
            if number >= events_pb2.ATTEMPT_STATE_SUCCEEDED
        }
        self._latency = Histogram(
            "mwfs_attempt_launch_seconds",
            "From receipt of a launch to the start of the body, of attempts that began.",
            buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
        )
        self._live = Gauge("mwfs_attempts_live", "Attempts that are queued or running.")
        self._waiting = Gauge("mwfs_attempts_waiting", "Attempts that no worker holds yet.")
        self._workers = Gauge("mwfs_workers", "Worker processes.")
        self._unacknowledged = Gauge("mwfs_outcomes_unacknowledged", "Outcomes that no replica has acknowledged.")

    def watch(
        self,
        *,
        live: Callable[[], float],
        waiting: Callable[[], float],
        workers: Callable[[], float],
        unacknowledged: Callable[[], float],
    ) -> None:
        """Where the gauges are read when they are asked for."""
        self._live.set_function(live)
        self._waiting.set_function(waiting)
        self._workers.set_function(workers)
        self._unacknowledged.set_function(unacknowledged)

    def finished(self, outcome: action_pb2.Outcome, seconds: float) -> None:
        """An attempt ended, so long after its launch was received."""
        self._by_state[outcome.state].inc()
        if outcome.body_started_us:
            body = (outcome.body_ended_us - outcome.body_started_us) / 1e6
            self._latency.observe(max(0.0, seconds - body))


METRICS = ActionMetrics()
