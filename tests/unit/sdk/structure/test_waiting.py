"""Waiting for signals and for time, in one process: payloads are given, and nothing is waited for."""

from datetime import timedelta
from typing import Any

import pytest
from builders.marked import Marked

import mwfs
from mwfs.errors import BadStructure, RunFailed, WrongType
from mwfs_types.dag_check import check_dag

from .waiting_workflows import EXPECTED, SIGNALS, double

MARKED = Marked(__file__)


def here(workflow: mwfs.Workflow[..., Any], n: int) -> Any:
    try:
        return mwfs.LocalRun(signals=SIGNALS).run(workflow, n=n)
    except RunFailed as error:
        return error.failure.error_type if error.failure is not None else None


@pytest.mark.parametrize("n", [0, 1, 2, 4])
@pytest.mark.parametrize("workflow", EXPECTED, ids=lambda workflow: workflow.__name__)
def test_what_waits_goes_on_with_what_it_is_told(workflow: mwfs.Workflow[..., Any], n: int) -> None:
    assert here(workflow, n) == EXPECTED[workflow](n)
    check_dag(workflow.compile(n=n).proto)


@mwfs.workflow
def sleeps(how: str) -> int:
    n = double(1)
    match how:
        case "negative":
            mwfs.sleep(-1)  # HERE negative
        case "too long":
            mwfs.sleep(timedelta(days=400))  # HERE too long
        case "text":
            mwfs.sleep(mwfs.as_text(n))  # type: ignore[arg-type]  # HERE text
    return n


@pytest.mark.parametrize(("how", "kind"), [("negative", BadStructure), ("too long", BadStructure), ("text", WrongType)])
def test_a_wrong_length_of_sleep_is_said_at_its_line(how: str, kind: type[mwfs.CompileError]) -> None:
    MARKED.error_of(sleeps, how, kind, how=how)


def test_outside_of_a_workflow_it_sleeps() -> None:
    assert mwfs.sleep(0) is None
    with pytest.raises(BadStructure, match="0 to"):
        mwfs.sleep(-1)
