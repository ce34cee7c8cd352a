"""How far a run may grow, and the failures that are the engine's own: the same for `run_local` and the platform."""

from __future__ import annotations

from dataclasses import dataclass

from mwfs_api.events.v1 import events_pb2

Failure = events_pb2.Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthLimits:
    """How far a run may grow."""

    #: Control nodes inside each other.
    depth: int = 64
    #: Nodes, and instances, of one patch.
    patch: int = 100_000
    #: Arguments of these nodes, and parts that they and the results are put together from.
    rows: int = 2_000_000
    #: Nodes of the run.
    total: int = 1_000_000

    def refusal(self, *, added: int, nodes: int, depth: int) -> Failure | None:
        """Why a run of `nodes` nodes may not grow by `added` more below a control node that has `depth` others around it."""
        if added > self.patch:
            return failure_of(
                "GrowthLimit",
                f"it would grow the run by {added:,} nodes at once; the limit is {self.patch:,}",
                "Do it in parts: a dynamic operator may call dynamic operators.",
            )
        if nodes + added > self.total:
            return failure_of(
                "GrowthLimit",
                f"the run would have more than {self.total:,} nodes",
                "Give each node more to do, or submit several runs.",
            )
        if added and depth + 1 > self.depth:
            return failure_of(
                "GrowthLimit",
                f"control nodes are more than {self.depth} deep inside each other",
                "A recursion that never ends? Decide its end by `mwfs.when`.",
            )
        return None


#: What the errors of the engine itself are called, with the classes by which they are caught and retried.
_CLASSES = {
    "GrowthLimit": ("mwfs.GrowthLimit", "builtins.RuntimeError"),
    "LoopLimit": ("mwfs.LoopLimit", "mwfs.structure.loops.LoopLimit", "builtins.RuntimeError"),
    "NoWinner": ("mwfs.NoWinner", "mwfs.structure.races.NoWinner", "builtins.RuntimeError"),
    "TimeoutError": ("builtins.TimeoutError", "builtins.OSError"),
    "ValueError": ("builtins.ValueError",),
}
_KINDS = {
    "GrowthLimit": events_pb2.FAILURE_KIND_LIMIT,
    "TimeoutError": events_pb2.FAILURE_KIND_TIMED_OUT,
}


def failure_of(name: str, message: str, next_step: str = "") -> Failure:
    """A failure of the engine's own, as if it had been raised."""
    return Failure(
        kind=_KINDS.get(name, events_pb2.FAILURE_KIND_RAISED),
        error_type=name if name in ("ValueError", "TimeoutError") else f"mwfs.{name}",
        message=message,
        next_step=next_step,
        node=-1,
        error_classes=[*_CLASSES[name], "builtins.Exception", "builtins.BaseException"],
    )


def signal_timed_out(name: str, seconds: float) -> Failure:
    """Nobody has sent a signal in time."""
    return failure_of(
        "TimeoutError",
        f"the signal `{name}` did not come within {seconds:g} s",
        f"Send it in time: `mwfs signal RUN {name} JSON`; or catch TimeoutError by `mwfs.catch`.",
    )
