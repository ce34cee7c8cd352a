"""What the nodes of a run wait for besides other nodes: signals from outside, and time. (pure)"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.checking import check
from mwfs_types.dag_answers import Await
from mwfs_types.errors import BadValue
from mwfs_types.growth import failure_of, signal_timed_out

from .changes import Changes
from .run_part import RunPart
from .states import WAITING

if TYPE_CHECKING:
    from .active_run import ActiveRun

_NULL: Final = types_pb2.Value(null=True).SerializeToString()


@dataclass(frozen=True, slots=True, kw_only=True)
class SentSignal:
    """A signal that was accepted, which happens once for a name in a run."""

    name: str
    request_id: str
    #: A serialised Value.
    payload: bytes
    principal: str
    sent_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeWait:
    """A control node that waits."""

    #: The signal; empty: only time.
    signal: str
    since_us: int
    #: 0: for ever.
    until_us: int


class Waits(RunPart):
    """The signals that were sent into a run, and the nodes that wait. A node that was cancelled meanwhile may still be here: look at its state."""

    def __init__(self, run: "ActiveRun") -> None:
        super().__init__(run)
        self.sent: dict[str, SentSignal] = {}
        self.nodes: dict[int, NodeWait] = {}
        #: Nodes by the signal that they wait for.
        self.by_signal: dict[str, list[int]] = {}

    def add(self, node: int, wait: NodeWait) -> None:
        self.nodes[node] = wait
        if wait.signal:
            self.by_signal.setdefault(wait.signal, []).append(node)

    def begin(self, node: int, step: Await, changes: Changes, now: int) -> None:
        """A control node waits for a signal, or for time, unless the signal is there."""
        run = self._run
        sent = self.sent.get(step.signal) if step.signal else None
        if sent is not None:
            self._take_payload(node, sent, changes, now)
            return
        run.set_state(node, WAITING)
        until_us = now + int(step.seconds * 1e6) if step.seconds else 0
        self.add(node, NodeWait(signal=step.signal, since_us=now, until_us=until_us))
        changes.waiting.append((run.header.run_id, node, now, until_us))
        facts = changes.detail(changes.event(run, events_pb2.EVENT_KIND_NODE_WAITING, now, node)).waiting
        facts.signal, facts.until_time_us = step.signal, until_us
        if until_us:
            changes.waits.append((step.seconds, run, node))

    def signal(self, signal: SentSignal, changes: Changes, now: int) -> None:
        """A signal of a name that was not sent before: for the nodes that wait for it, and those that will."""
        run = self._run
        changes.signals.append(
            (run.header.run_id, signal.name, signal.request_id, signal.payload, signal.principal, signal.sent_us)
        )
        facts = changes.detail(changes.event(run, events_pb2.EVENT_KIND_RUN_SIGNALLED, now)).signalled
        facts.name, facts.principal = signal.name, signal.principal
        self.sent[signal.name] = signal
        for node in self.by_signal.pop(signal.name, []):
            self.nodes.pop(node, None)
            if run.node_state[node] == WAITING:
                self._take_payload(node, signal, changes, now)
        run.go_on(changes, now)

    def _take_payload(self, node: int, signal: SentSignal, changes: Changes, now: int) -> None:
        run = self._run
        graph = run.graph
        assert graph is not None, "only a run with a graph has nodes"
        try:
            check(
                types_pb2.Value.FromString(signal.payload),
                graph.types_of(node)[graph.operator_of(node).outputs[0].type],
            )
        except BadValue as error:
            failure = failure_of("ValueError", f"the payload of the signal `{signal.name}`: {error}")
            run.controls.fail(node, failure, changes, now)
        else:
            run.controls.succeed(node, (signal.payload,), changes, now)

    def time_is_over(self, node: int, changes: Changes, now: int) -> None:
        """The wait before a node's next attempt is over, or that of a control node."""
        run = self._run
        if run.node_state[node] != WAITING or node in run.growth.scopes or run.ended:
            return
        wait = self.nodes.pop(node, None)
        if wait is None:
            run.make_ready(node, changes, now)
            return
        if wait.signal:
            self.by_signal[wait.signal].remove(node)
            seconds = (wait.until_us - wait.since_us) / 1e6
            run.controls.fail(node, signal_timed_out(wait.signal, seconds), changes, now)
        else:
            run.controls.succeed(node, (_NULL,), changes, now)
        run.go_on(changes, now)

    def reset(self) -> None:
        """A new round: nodes begin anew, and signals stay."""
        self.nodes.clear()
        self.by_signal.clear()
