"""What authors give by accident: odd numbers, odd names, circles, code that changed. A typed error, or it just works; never a crash."""

import dataclasses
import functools
import importlib
import math
import sys
import unicodedata
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pytest
from builders.marked import Marked
from fixtures.sdk_operators import increment, keep, total

import mwfs
from mwfs import graph
from mwfs.dag import Dag
from mwfs.errors import BadDefinition, BadOperation, InvalidInput, RunFailed, TooLarge, WrongResult, WrongType
from mwfs.local_files import LocalFiles
from mwfs.local_run import run_dag
from mwfs_types.annotations import UnsupportedType, type_of
from mwfs_types.dag_check import check_dag

MARKED = Marked(__file__)
BIG = "x" * 10_000_000


@mwfs.operator
def size(text: str) -> int:
    return len(text)


@mwfs.operator
def same(x: float) -> float:
    return x


# Numbers.


@mwfs.workflow
def passes(x: float) -> float:
    return same(x)


@mwfs.workflow
def not_a_number() -> float:
    return keep(math.nan)  # HERE nan


@mwfs.workflow
def infinite() -> float:
    return keep(math.inf)  # HERE inf


@mwfs.workflow
def in_range(x: Annotated[float, mwfs.Range(0, 1)]) -> float:
    return x


@mwfs.workflow
def huge_operand() -> int:
    return increment(increment(1) + 2**70)  # HERE huge


@mwfs.workflow
def plus_one(n: int) -> int:
    return increment(n)


def test_floats_that_are_no_numbers_travel_unless_a_range_is_declared() -> None:
    assert math.isnan(passes.run_local(x=math.nan))
    assert passes.run_local(x=-math.inf) == -math.inf
    assert "nan" in MARKED.error_of(not_a_number, "nan", WrongType).found
    assert "inf" in MARKED.error_of(infinite, "inf", WrongType).found
    with pytest.raises(InvalidInput, match="expects a number from 0 up to 1, found nan"):
        mwfs.compile(in_range, x=math.nan)


def test_integers_beyond_64_bits() -> None:
    assert "64 bits" in MARKED.error_of(huge_operand, "huge", BadOperation).expected
    with pytest.raises(InvalidInput, match="64 bits"):
        mwfs.compile(plus_one, n=2**70)
    with pytest.raises(InvalidInput, match="an integer of 100001 bits"):
        mwfs.compile(plus_one, n=2**100_000)


# Large values.


@mwfs.workflow
def many_of_a_large_one(n: int) -> list[int]:
    return [size(BIG) for _ in range(n)]


def test_a_large_constant_is_kept_once_beside_the_dag() -> None:
    dag = mwfs.compile(many_of_a_large_one, n=1000)
    assert len(dag.serialize()) < 50_000
    assert [path.stat().st_size > 10_000_000 for path in dag.local_files.values()] == [True]
    check_dag(dag.proto)
    assert many_of_a_large_one.run_local(n=2) == [10_000_000, 10_000_000]


@mwfs.workflow
def counting(n: int) -> None:
    for index in range(n):
        increment(index)  # HERE too many


def test_more_calls_than_a_dag_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "MAX_NODES", 100)
    assert mwfs.compile(counting, n=100).node_count == 100
    error = MARKED.error_of(counting, "too many", TooLarge, n=101)
    assert (error.message.endswith("calls more than 100 operators"), error.expected) == (
        True,
        "at most 100 nodes in one Dag",
    )


# Circles and depth.


@dataclasses.dataclass
class Link:
    n: int
    after: Any = None


@mwfs.workflow
def circles(how: str) -> int:
    values: Any = [1]
    link = Link(1)
    match how:
        case "list":
            values.append(values)
            return total(values)  # HERE list
        case "dataclass":
            link.after = link
            return total([link])  # type: ignore[list-item]  # HERE dataclass
        case "deep":
            for _ in range(10_000):
                values = [values]
            return total(values)  # HERE deep
        case "dict":
            known: dict[str, Any] = {}
            known["again"] = known
            return total([known])  # type: ignore[list-item]  # HERE dict
        case _:
            values.append(values)
            return values  # type: ignore[no-any-return]  # HERE result


@pytest.mark.parametrize("how", ["list", "dataclass", "deep", "dict"])
def test_values_that_contain_themselves_or_nest_for_ever(how: str) -> None:
    error = MARKED.error_of(circles, how, WrongType, how=how)
    assert "nested more than 100 deep, or in a cycle" in error.found


def test_a_result_that_contains_itself() -> None:
    MARKED.error_of(circles, "result", WrongResult, how="result")


def test_inputs_that_contain_themselves() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InvalidInput, match="expects int, found list of length 1"):
        mwfs.compile(plus_one, n=endless)
    with pytest.raises(InvalidInput):
        mwfs.compile(many_inputs, values=endless)


@mwfs.workflow
def many_inputs(values: list[int]) -> int:
    return total(values)


@mwfs.workflow
def changed_later() -> int:
    values: list[int] = [1, 2]
    result = total(values)
    values.append(increment(5))
    return result


def test_a_list_that_is_changed_after_the_call_is_taken_as_it_was() -> None:
    assert changed_later.run_local() == changed_later() == 3


# Names.


@mwfs.workflow
def ligature(ﬁrst: int) -> int:
    return increment(ﬁrst)


def test_names_are_those_that_python_sees() -> None:
    assert ligature.run_local(first=1) == 2
    given = {"ﬁrst": 1}
    with pytest.raises(InvalidInput, match=r"has no input `ﬁrst`(.|\n)*Did you mean `first`\?"):
        ligature.run_local(**given)
    with pytest.raises(InvalidInput, match=r"has no input `FIRST`(.|\n)*Did you mean `first`\?"):
        ligature.run_local(FIRST=1)


def test_a_record_whose_field_no_program_can_name_is_refused() -> None:
    odd = NamedTuple("odd", [(unicodedata.normalize("NFD", "é"), int)])  # type: ignore[misc]
    with pytest.raises(UnsupportedType, match="NFKC"):
        type_of(odd)


class Cased(NamedTuple):
    model: int
    Model: int


@mwfs.operator
def cased() -> Cased:
    return Cased(1, 2)


@mwfs.operator
def cased_parameters(x: int, X: int) -> int:
    return x + X


def test_outputs_and_inputs_that_differ_only_by_case_are_refused() -> None:
    for signature in (lambda: cased.signature, lambda: cased_parameters.signature):
        with pytest.raises(BadDefinition) as refused:
            signature()
        assert "differ only by case" in str(refused.value)
        assert Path(refused.value.file).name == "test_bad_input.py"


class Called:
    def __call__(self, x: int) -> int:
        return x


@pytest.mark.parametrize("given", [functools.partial(keep, 1), Called()])
@pytest.mark.parametrize("decorate", [mwfs.operator, mwfs.operator(retry=2), mwfs.dynamic, mwfs.workflow])
def test_what_no_worker_could_import_by_a_name_is_refused(given: Any, decorate: Any) -> None:
    with pytest.raises(BadDefinition, match=r"has no name of its own(.|\n)*write a `def` at module level") as refused:
        decorate(given)
    assert refused.value.found == type(given).__name__
    assert Path(refused.value.file).name == "test_bad_input.py"


# Code that changes.

MODULE = """
import mwfs

@mwfs.operator
def grow(x: int) -> int:
    return x + {by}

@mwfs.workflow
def once(x: int) -> int:
    return grow(x)

@mwfs.operator
def by_default(x: int = grow(1)) -> int:
    return x
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "changing", raising=False)
    return tmp_path


def load(project: Path, by: int) -> Any:
    (project / "changing.py").write_text(MODULE.format(by=by))
    sys.modules.pop("changing", None)
    importlib.invalidate_caches()
    return importlib.import_module("changing")


def test_an_operator_that_was_redefined_since_compiling_is_refused_with_both_digests(project: Path) -> None:
    dag = mwfs.compile(load(project, 1).once, x=1)
    again = Dag.from_bytes(dag.serialize())
    assert run_dag(again, LocalFiles())["result"].integer == 2
    compiled = dag.proto.operators[0].source_digest
    other = load(project, by=1000)
    here = mwfs.compile(other.once, x=1).proto.operators[0].source_digest
    assert compiled != here
    with pytest.raises(RunFailed) as failed:
        run_dag(Dag.from_bytes(dag.serialize()), LocalFiles())
    text = str(failed.value)
    assert "Operator `changing:grow` was changed since the workflow was compiled" in text
    assert compiled.removeprefix("sha256:")[:12] in text
    assert here.removeprefix("sha256:")[:12] in text


def test_what_changes_nothing_is_no_change(project: Path) -> None:
    dag = mwfs.compile(load(project, 1).once, x=1)
    (project / "changing.py").write_text(MODULE.format(by=1).replace("return x + 1", "# A remark.\n    return (x + 1)"))
    sys.modules.pop("changing")
    importlib.invalidate_caches()
    importlib.import_module("changing")
    assert run_dag(Dag.from_bytes(dag.serialize()), LocalFiles())["result"].integer == 2


# Defaults that call.


@mwfs.workflow
def defaults_call(x: int = increment(1)) -> int:
    return increment(x)


def test_defaults_that_call_operators_are_values() -> None:
    assert defaults_call.run_local() == 3


@mwfs.workflow
def calls_itself_by_default(x: int) -> int:
    def inner(y: int = increment(x)) -> int:
        return calls_itself_by_default(y)  # HERE default

    return inner()


def test_recursion_through_defaults_ends_in_a_typed_error() -> None:
    with pytest.raises(TooLarge, match="without end") as refused:
        mwfs.compile(calls_itself_by_default, x=1)
    # Where it was too deep is one of these two lines.
    assert refused.value.line in (MARKED.line_of("default"), MARKED.line_of("default") - 1)
