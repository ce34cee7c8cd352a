"""Workflows as runs of their own: what is recorded, what the check refuses, and the Dag that a child run gets."""

from typing import Any

import pytest
from builders.marked import Marked

import mwfs
from mwfs.errors import BadStructure, MissingArgument, WrongType
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.child_runs import child_dag
from mwfs_types.dag_answers import Grow
from mwfs_types.dag_check import check_dag
from mwfs_types.dag_steps import next_step
from mwfs_types.errors import BadDag
from mwfs_types.growth import GrowthLimits
from mwfs_types.run_options import check_options

from .workflows import child_of_itself, double, summed_pickily

MARKED = Marked(__file__)
Value = types_pb2.Value


@mwfs.workflow(max_parallel=2)
def narrow(x: int, y: int, z: int) -> int:
    return double(x) + y + z


@mwfs.workflow
def starts(n: int) -> int:
    return mwfs.child(narrow, double(n), 7, z=7)


def control_row(dag: dag_pb2.Dag) -> int:
    return next(row for row, operator in enumerate(dag.operators) if operator.HasField("control"))


def test_a_child_is_a_node_that_knows_its_workflow_and_what_that_says_of_its_runs() -> None:
    dag = starts.compile(n=1).proto
    operator = dag.operators[control_row(dag)]
    assert operator.qualname == "child(narrow)"
    assert operator.control.kind == dag_pb2.CONTROL_KIND_CHILD
    assert operator.control.name == narrow.ref
    assert operator.control.options.max_parallel == 2
    assert [parameter.name for parameter in operator.parameters] == ["x", "y", "z"]
    assert starts.run_local(n=1) == 18 == starts(1)


def test_the_dag_of_a_child_run_is_one_that_could_have_been_compiled() -> None:
    dag = dag_pb2.Dag()
    dag.CopyFrom(starts.compile(n=1).proto)
    dag.bundle_digest = "sha256:" + "0" * 64
    arguments = [Value(integer=2), Value(integer=7), Value(integer=7)]
    step = next_step(dag, control_row(dag), arguments, None, (), parent=1, limits=GrowthLimits())
    assert isinstance(step, Grow)
    made = child_dag(dag, control_row(dag), arguments, step.patch)
    check_dag(made)
    assert (made.workflow, made.bundle_digest) == (narrow.ref, dag.bundle_digest)
    assert made.options.max_parallel == 2
    assert [(one.name, made.constants[one.constant].integer) for one in made.inputs] == [("x", 2), ("y", 7), ("z", 7)]
    assert [output.name for output in made.outputs] == ["result"]
    assert mwfs.Dag(made).describe()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("name", "", "names its workflow"),
        ("name", "no colon", "names its workflow"),
        ("name", "a:<locals>", "names its workflow"),
        ("name", "m:" + "x" * 10_000, "names its workflow"),
        ("body", 0, "has the bodies body"),
        ("body", 99, "body that is not there"),
        ("condition", 1, "has the bodies body"),
        ("options", dag_pb2.RunOptions(failure_policy=77), "failure policy"),  # type: ignore[arg-type]
        ("options", dag_pb2.RunOptions(max_parallel=1 << 31), "max_parallel"),
        ("options", dag_pb2.RunOptions(child_depth=1), "only the platform"),
    ],
)
def test_a_hostile_child_is_refused(field: str, value: Any, words: str) -> None:
    dag = dag_pb2.Dag()
    dag.CopyFrom(starts.compile(n=1).proto)
    control = dag.operators[control_row(dag)].control
    if isinstance(value, dag_pb2.RunOptions):
        control.options.CopyFrom(value)
    else:
        setattr(control, field, value)
    with pytest.raises(BadDag, match=words):
        check_dag(dag)


def test_a_child_of_another_type_than_its_body_is_refused() -> None:
    dag = dag_pb2.Dag()
    dag.CopyFrom(starts.compile(n=1).proto)
    dag.types.append(types_pb2.Type(scalar=types_pb2.SCALAR_KIND_STRING))
    dag.operators[control_row(dag)].parameters[0].type = len(dag.types) - 1
    with pytest.raises(BadDag):
        check_dag(dag)


def test_no_dag_says_how_deep_it_is() -> None:
    with pytest.raises(BadDag, match="only the platform"):
        check_options(dag_pb2.RunOptions(child_depth=1))


@mwfs.workflow
def inside(n: int) -> int:
    @mwfs.workflow
    def local(x: int) -> int:
        return double(x)

    return mwfs.child(local, n)  # HERE local


@mwfs.workflow
def of_an_operator(n: int) -> int:
    return mwfs.child(double, n)  # type: ignore[arg-type]  # HERE operator


@mwfs.workflow
def without_argument(n: int) -> int:
    return mwfs.child(summed_pickily, n)  # type: ignore[call-arg]  # HERE missing


@mwfs.workflow
def of_wrong_type(n: int) -> int:
    return mwfs.child(summed_pickily, n, "two")  # type: ignore[arg-type]  # HERE type


@pytest.mark.parametrize(
    ("workflow", "mark", "kind"),
    [
        (inside, "local", BadStructure),
        (of_an_operator, "operator", BadStructure),
        (without_argument, "missing", MissingArgument),
        (of_wrong_type, "type", WrongType),
    ],
)
def test_a_wrong_child_is_said_at_its_line(
    workflow: mwfs.Workflow[..., Any], mark: str, kind: type[mwfs.CompileError]
) -> None:
    MARKED.error_of(workflow, mark, kind, n=1)


def test_a_child_of_itself_without_end_ends_here_too() -> None:
    with pytest.raises(mwfs.RunFailed, match="deep inside each other"):
        mwfs.LocalRun(limits=GrowthLimits(depth=8)).run(child_of_itself, n=100)
