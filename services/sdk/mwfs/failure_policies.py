"""What becomes of the rest of a run when a node has failed for good: `on_failure` of operators, workflows and submissions.

"block_dependents" (the default): what needs the node does not run, everything else does; the run fails.
"cancel_dependents": what needs it is cancelled, and with it the work that is only for that, running attempts included; the run fails.
"cancel_run": everything that has not finished is cancelled; the run fails.
"continue": as if the node were of no importance. What takes its result is skipped, what only follows it (`after`) runs, and the run
fails only if one of its outputs is missing.
"""

from __future__ import annotations

from typing import Literal, get_args

from mwfs.resources import BadOption
from mwfs_api.dags.v1 import dag_pb2
from mwfs_types.limits import MAX_PARALLEL

OnFailure = Literal["block_dependents", "cancel_dependents", "cancel_run", "continue"]
POLICIES: tuple[str, ...] = get_args(OnFailure)


def check_policy(policy: str | None) -> None:
    """Raises BadOption."""
    if policy is not None and policy not in POLICIES:
        raise BadOption(f"on_failure={policy!r} is unknown.", f"Give one of {', '.join(POLICIES)}.")


def policy_number(policy: str | None) -> dag_pb2.FailurePolicy.ValueType:
    """The policy in a Dag; None says nothing."""
    if policy is None:
        return dag_pb2.FAILURE_POLICY_UNSPECIFIED
    return dag_pb2.FailurePolicy.Value(f"FAILURE_POLICY_{policy.upper()}")


def policy_name(number: int) -> str:
    """As users write it; empty when it says nothing."""
    name = dag_pb2.FailurePolicy.Name(number).removeprefix("FAILURE_POLICY_").lower()  # type: ignore[arg-type]
    return name if number else ""


def run_options(on_failure: str | None, max_parallel: int | None) -> dag_pb2.RunOptions:
    """Options of a workflow or of a submission. Raises BadOption."""
    check_policy(on_failure)
    if max_parallel is not None and (
        isinstance(max_parallel, bool) or not isinstance(max_parallel, int) or not 1 <= max_parallel <= MAX_PARALLEL
    ):
        raise BadOption(
            f"max_parallel={max_parallel!r} is not a number of attempts.", f"Give 1 to {MAX_PARALLEL:,}, or nothing."
        )
    return dag_pb2.RunOptions(failure_policy=policy_number(on_failure), max_parallel=max_parallel or 0)
