"""What the control nodes of a run wait for besides other nodes: signals from outside, and time. (pure)"""

from dataclasses import dataclass


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


class Waits:
    """The signals that were sent into a run, and the nodes that wait. A node that was cancelled meanwhile may still be here: look at its state."""

    def __init__(self) -> None:
        self.sent: dict[str, SentSignal] = {}
        self.nodes: dict[int, NodeWait] = {}
        #: Nodes by the signal that they wait for.
        self.by_signal: dict[str, list[int]] = {}

    def add(self, node: int, wait: NodeWait) -> None:
        self.nodes[node] = wait
        if wait.signal:
            self.by_signal.setdefault(wait.signal, []).append(node)

    def send(self, signal: SentSignal) -> list[int]:
        """Keeps a signal; gives the nodes that waited for it."""
        self.sent[signal.name] = signal
        nodes = self.by_signal.pop(signal.name, [])
        for node in nodes:
            self.nodes.pop(node, None)
        return nodes

    def reset(self) -> None:
        """A new round: nodes begin anew, and signals stay."""
        self.nodes.clear()
        self.by_signal.clear()
