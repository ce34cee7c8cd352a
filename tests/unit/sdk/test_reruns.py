"""What a rerun takes, what it runs, and why."""

import pytest

import mwfs
from mwfs.errors import InvalidInput
from mwfs.reruns import PlannedNode, facts_of, fill_inputs, plan_of, plan_rerun
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2 as ev
from mwfs_api.types.v1 import types_pb2

DONE, FAILED = ev.NODE_STATE_SUCCEEDED, ev.NODE_STATE_FAILED


@mwfs.operator
def load(name: str) -> list[int]:
    return [len(name)]


@mwfs.operator
def fit(xs: list[int], depth: int) -> int:
    return sum(xs) + depth


@mwfs.operator
def report(model: int, other: int) -> str:
    return f"{model} {other}"


@mwfs.workflow
def train(name: str = "iris", depth: int = 3) -> str:
    data = load(name)
    return report(fit(data, depth), fit(data, 1))


@mwfs.workflow
def mapped(n: int = 2) -> list[int]:
    return mwfs.map(lambda x: fit([x], n), load("iris"))


def dag(**inputs: object) -> dag_pb2.Dag:
    return train.compile(**inputs).proto


def runs(plan: list[PlannedNode]) -> list[int]:
    return [one.node for one in plan if one.base_node is None]


def test_what_was_asked_for_and_what_needs_it_runs() -> None:
    plan = plan_rerun(dag(), [DONE] * 4, dag(), ["1"])
    assert [one.operator.rpartition(":")[2] for one in plan] == ["load", "fit", "fit", "report"]
    assert runs(plan) == [1, 3]
    assert [one.reason for one in plan] == [
        "same code and arguments as node 0",
        "asked for",
        "same code and arguments as node 2",
        "needs node 1, which runs",
    ]


@pytest.mark.parametrize("name", ["fit", f"{__name__}:fit"])
def test_an_operator_is_all_of_its_nodes(name: str) -> None:
    assert runs(plan_rerun(dag(), [DONE] * 4, dag(), [name])) == [1, 2, 3]


def test_another_input_runs_what_takes_it() -> None:
    plan = plan_rerun(dag(), [DONE] * 4, dag(depth=5))
    assert runs(plan) == [1, 3]
    assert "arguments have changed" in plan[1].reason
    assert runs(plan_rerun(dag(), [DONE] * 4, dag(name="digits"))) == [0, 1, 2, 3]


def test_what_had_not_succeeded_runs() -> None:
    plan = plan_rerun(dag(), [DONE, DONE, FAILED, ev.NODE_STATE_UPSTREAM_FAILED], dag())
    assert runs(plan) == [2, 3]
    assert plan[2].reason == "it was FAILED"


def test_other_code_runs() -> None:
    changed = dag()
    changed.operators[1].code_digest = changed.operators[1].source_digest = "sha256:" + "1" * 64
    plan = plan_rerun(dag(), [DONE] * 4, changed)
    assert runs(plan) == [1, 2, 3]
    assert "code" in plan[1].reason


def test_a_control_node_runs_when_the_code_inside_of_it_has_changed() -> None:
    before, after = mapped.compile().proto, mapped.compile().proto
    assert runs(plan_rerun(before, [DONE] * 2, after)) == []
    (row,) = [row for row, operator in enumerate(after.operators) if operator.qualname.endswith("fit")]
    after.operators[row].code_digest = after.operators[row].source_digest = "sha256:" + "1" * 64
    assert runs(plan_rerun(before, [DONE] * 2, after)) == [1]


def test_a_control_node_runs_when_what_it_captured_has_changed() -> None:
    assert 1 in runs(plan_rerun(mapped.compile().proto, [DONE] * 2, mapped.compile(n=5).proto))


def test_a_start_that_is_not_there_is_refused_with_what_there_is() -> None:
    with pytest.raises(InvalidInput, match=r"no operator `fitt`.*\n?.*") as refused:
        plan_rerun(dag(), [DONE] * 4, dag(), ["fitt"])
    assert "fit, load, report" in str(refused.value) + str(refused.value.__dict__)
    with pytest.raises(InvalidInput, match="no node 9"):
        plan_rerun(dag(), [DONE] * 4, dag(), ["9"])


def test_a_plan_is_kept_with_its_reasons() -> None:
    plan = plan_rerun(dag(), [DONE, DONE, FAILED, ev.NODE_STATE_UPSTREAM_FAILED], dag(depth=5), ["load"])
    kept = ev.DagFacts(operators=["a:load", "a:fit", "a:report"], node_operator=[0, 1, 1, 2])
    kept.rerun.CopyFrom(facts_of(plan, "base"))
    assert [one.reason for one in plan_of(kept)] == [one.reason for one in plan]
    kept.ClearField("rerun")
    assert plan_of(kept) == []


def test_inputs_that_are_not_given_are_those_of_the_earlier_run_if_they_still_fit() -> None:
    values = {"depth": types_pb2.Value(integer=5)}
    sources: dict[str, str] = {}
    before = dag(name="digits", depth=1)
    before.inputs[0].source = "run:1/result"
    filled = fill_inputs(before, train, values, sources, run_id="base")
    assert (values["name"].text, values["depth"].integer, sources) == ("digits", 5, {"name": "run:1/result"})
    assert [one.output for one in filled] == ["name"]
    assert fill_inputs(before, mapped, {}, {}, run_id="base") == []
    before.types[before.inputs[0].type].scalar = types_pb2.SCALAR_KIND_INT
    with pytest.raises(InvalidInput, match="Input `name`"):
        fill_inputs(before, train, {}, {}, run_id="base")
