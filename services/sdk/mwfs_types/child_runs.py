"""What a child run is: the Dag that its control node submits, how deep such runs may be, and the failures of the node above. (pure)"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.growth import failure_of

Failure = events_pb2.Failure

#: Runs that are above a child run.
MAX_DEPTH: Final = 16
#: The one output of a child run: what its workflow returns.
OUTPUT: Final = "result"


def child_dag(
    dag: dag_pb2.Dag, operator: int, arguments: Sequence[types_pb2.Value], patch: dag_pb2.DagPatch
) -> dag_pb2.Dag:
    """The Dag of a run of its own, from the patch that `next_step` gave for the CHILD operator of this row and its arguments."""
    row = dag.operators[operator]
    made = dag_pb2.Dag()
    made.CopyFrom(patch.dag)
    made.workflow = row.control.name
    made.options.CopyFrom(row.control.options)
    made.outputs[0].name = OUTPUT
    kinds = dag.bodies[row.control.body - 1].parameters
    # The patch has equal arguments once, in the order in which they come first.
    rows: dict[tuple[bytes, int], int] = {}
    for parameter, value, kind in zip(row.parameters, arguments, kinds, strict=True):
        key = value.SerializeToString(deterministic=True), kind
        if key not in rows:
            rows[key] = len(rows)
            made.inputs[rows[key]].name = parameter.name
        else:
            made.inputs.append(patch.dag.inputs[rows[key]])
            made.inputs[-1].name = parameter.name
    return made


def too_deep() -> Failure:
    """A child run may start none."""
    return failure_of(
        "GrowthLimit",
        f"more than {MAX_DEPTH} child runs below each other",
        "A workflow that starts itself for ever? Decide its end by `mwfs.when`.",
    )


def failed_child(run_id: str, failure: Failure) -> Failure:
    """What the node above fails with: what the child run has failed with."""
    found = Failure()
    found.CopyFrom(failure)
    found.message = f"child run {run_id}: {failure.message}"
    found.next_step = failure.next_step or f"See it with `mwfs runs show {run_id}`."
    found.node = -1
    return found


def cancelled_child(run_id: str) -> Failure:
    """Somebody has cancelled the child run, and the one above goes on."""
    return Failure(
        kind=events_pb2.FAILURE_KIND_CANCELLED,
        error_type="mwfs.ChildCancelled",
        message=f"child run {run_id}: it was cancelled",
        next_step="`mwfs runs retry` of the run above starts another.",
        node=-1,
    )


def refused_child(run_id: str, why: str) -> Failure:
    """The platform would not take the child run."""
    return Failure(
        kind=events_pb2.FAILURE_KIND_LIMIT,
        error_type="mwfs.ChildRefused",
        message=f"child run {run_id}: {why}",
        node=-1,
    )
