"""What becomes of the rest of a run when a node has failed for good, in `run_local`."""

import pytest
from unit.sdk.structure import policies

import mwfs
from mwfs.failure_policies import POLICIES
from mwfs.resources import BadOption
from mwfs_api.dags.v1 import dag_pb2


@mwfs.operator
def value(x: int) -> int:
    return x


@mwfs.operator
def add(a: int, b: int) -> int:
    return a + b


@mwfs.operator
def broken(x: int) -> int:
    raise ValueError("no")


def states_after(policy: str | None, *, of_workflow: str | None = None) -> dict[str, str]:
    """Of a workflow whose second node fails: names of values, and what became of them."""

    @mwfs.workflow(on_failure=of_workflow)  # type: ignore[call-overload]
    def flow(x: int) -> int:
        feeder = value(1)
        failed = broken.with_options(on_failure=policy)(x)  # type: ignore[arg-type]
        add(feeder, failed)
        follows = value.after(failed)(3)
        return follows  # noqa: RET504  (the name is what the tests speak of)

    local = mwfs.LocalRun()
    try:
        local.run(flow, x=1)
        result = "SUCCEEDED"
    except mwfs.RunFailed:
        result = "FAILED"
    names = ["feeder", "failed", "needs", "follows"]
    return {**dict(zip(names, (node.state for node in local.nodes), strict=True)), "run": result}


def test_by_default_what_needs_the_node_or_follows_it_does_not_run() -> None:
    expected = {
        "feeder": "SUCCEEDED",
        "failed": "FAILED",
        "needs": "UPSTREAM_FAILED",
        "follows": "UPSTREAM_FAILED",
        "run": "FAILED",
    }
    assert states_after(None) == states_after("block_dependents") == expected


def test_a_run_that_continues_skips_what_takes_the_result_and_starts_what_follows() -> None:
    expected = {
        "feeder": "SUCCEEDED",
        "failed": "FAILED",
        "needs": "SKIPPED",
        "follows": "SUCCEEDED",
        "run": "SUCCEEDED",
    }
    assert states_after("continue") == states_after(None, of_workflow="continue") == expected


def test_an_operators_own_policy_counts_before_the_workflows() -> None:
    assert states_after("block_dependents", of_workflow="continue")["run"] == "FAILED"


def test_cancelling_dependents_and_the_run() -> None:
    assert states_after("cancel_dependents")["needs"] == "CANCELLED"
    assert states_after("cancel_run")["run"] == "FAILED"


def test_work_that_is_only_for_cancelled_nodes_is_cancelled_too() -> None:
    local = mwfs.LocalRun()
    with pytest.raises(mwfs.RunFailed):
        local.run(policies.cancelled_with_what_failed, n=1)
    assert [node.state for node in local.nodes] == ["FAILED", "CANCELLED", "CANCELLED", "CANCELLED"]


def test_a_run_that_continues_fails_when_one_of_its_outputs_is_missing() -> None:
    with pytest.raises(mwfs.RunFailed, match="odd"):
        policies.needs_what_was_given_up.run_local(n=1)
    with pytest.raises(mwfs.RunFailed, match="odd"):
        policies.given_up_in_a_map.run_local(n=3)
    assert policies.given_up_beside_the_result.run_local(n=3) == [0, 2, 4]


def test_options_of_a_workflow_are_in_its_dag() -> None:
    @mwfs.workflow(on_failure="cancel_run", max_parallel=3)
    def flow(x: int) -> int:
        return value(x)

    options = flow.compile(x=1).proto.options
    assert (options.failure_policy, options.max_parallel) == (dag_pb2.FAILURE_POLICY_CANCEL_RUN, 3)


@pytest.mark.parametrize("most", [0, -1, 1_000_001, True, 2.5])
def test_a_limit_that_makes_no_sense_is_refused(most: object) -> None:
    with pytest.raises(BadOption, match="max_parallel"):
        mwfs.workflow(max_parallel=most)  # type: ignore[call-overload]


def test_an_unknown_policy_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(BadOption, match="cancel_dependents"):
        mwfs.workflow(on_failure="explode")  # type: ignore[call-overload]
    assert len(POLICIES) == len(dag_pb2.FailurePolicy.keys()) - 1
