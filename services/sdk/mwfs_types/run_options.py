"""Options of a run: those of its workflow, and those that came with its submission."""

from mwfs_api.dags.v1 import dag_pb2
from mwfs_types.errors import BadDag
from mwfs_types.limits import MAX_PARALLEL

_POLICIES = frozenset(dag_pb2.FailurePolicy.values())


def check_options(options: dag_pb2.RunOptions) -> None:
    """Raises BadDag."""
    if options.failure_policy not in _POLICIES:
        raise BadDag(f"there is no failure policy number {options.failure_policy}")
    if options.max_parallel > MAX_PARALLEL:
        raise BadDag(f"max_parallel must be at most {MAX_PARALLEL:,}, found {options.max_parallel:,}")
    if options.child_depth:
        raise BadDag(f"only the platform says how deep a child run is, found child_depth {options.child_depth}")


def merge_options(of_workflow: dag_pb2.RunOptions, of_submission: dag_pb2.RunOptions) -> dag_pb2.RunOptions:
    """What the submission says counts; what it leaves open is the workflow's."""
    merged = dag_pb2.RunOptions()
    merged.CopyFrom(of_workflow)
    merged.MergeFrom(of_submission)
    return merged


def policy_of(operator: dag_pb2.Operator, options: dag_pb2.RunOptions) -> int:
    """What becomes of the rest of the run when a node of the operator has failed for good."""
    return operator.failure_policy or options.failure_policy or dag_pb2.FAILURE_POLICY_BLOCK_DEPENDENTS
