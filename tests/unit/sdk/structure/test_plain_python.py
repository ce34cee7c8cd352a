"""A workflow gives what its body gives as plain Python, and what it compiles to passes the server's check."""

from __future__ import annotations

from typing import Any

import pytest

import mwfs
from mwfs.workflows import Workflow
from mwfs_types.dag_check import check_dag

from . import workflows

OVER_N = sorted(
    name
    for name, found in vars(workflows).items()
    if isinstance(found, Workflow) and [parameter.name for parameter in found.parameters] in (["n"], ["x"])
)
OVER_LISTS = ["mapped_over_known", "reduced_known"]


def plainly(workflow: Workflow[..., Any], inputs: dict[str, Any]) -> Any:
    """What the body gives as plain Python, or the class of its error."""
    try:
        return workflow(**inputs)
    except Exception as error:
        return type(error).__name__


def locally(workflow: Workflow[..., Any], inputs: dict[str, Any]) -> Any:
    """What `run_local` gives, or the class of the error that its failure names."""
    try:
        return workflow.run_local(**inputs)
    except mwfs.RunFailed as error:
        return error.failure.error_type.rpartition(".")[2] if error.failure is not None else None


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("name", OVER_N)
def test_run_local_gives_what_plain_python_gives(name: str, n: int) -> None:
    workflow = getattr(workflows, name)
    inputs = {workflow.parameters[0].name: n}
    assert locally(workflow, inputs) == plainly(workflow, inputs)


@pytest.mark.parametrize("xs", [[], [1], [1, 2, 3], list(range(100))])
@pytest.mark.parametrize("name", OVER_LISTS)
def test_lists_that_are_known_are_looped_over(name: str, xs: list[int]) -> None:
    workflow = getattr(workflows, name)
    assert locally(workflow, {"xs": xs}) == plainly(workflow, {"xs": xs})


@pytest.mark.parametrize("name", [*OVER_N, *OVER_LISTS])
def test_what_compiles_passes_the_servers_check(name: str) -> None:
    workflow = getattr(workflows, name)
    value = [1, 2] if name in OVER_LISTS else 3
    dag = workflow.compile(**{workflow.parameters[0].name: value})
    check_dag(dag.proto)
    assert type(dag).from_bytes(dag.serialize()).proto == dag.proto
    assert dag.describe()
