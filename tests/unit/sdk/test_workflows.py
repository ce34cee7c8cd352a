"""What a workflow's author may write, what it compiles to, and that it runs here as plain Python would."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pytest
from fixtures.sdk_operators import (
    Drawing,
    Goal,
    Parts,
    Shape,
    add,
    after,
    area,
    count_rows,
    describe_parts,
    double,
    draw,
    first_of,
    fit,
    goal_name,
    greet,
    increment,
    judge,
    keep,
    make_rows,
    nothing,
    numbers,
    one,
    read_note,
    shape_of,
    shapes,
    split,
    total,
    total_of_lists,
    total_of_map,
    write_note,
)

import mwfs
from mwfs.types import Dataset, File, Metrics, Model
from mwfs_types.dag_check import check_dag


@mwfs.workflow
def chain(n: int = 3) -> int:
    x = one()
    for _ in range(n):
        x = increment(x)
    return x


@mwfs.workflow
def named_tuple_outputs(n: int) -> str:
    parts = split(numbers(n), label="z")
    return describe_parts(Parts(train=parts.test, test=parts.train, label=parts.label))


@mwfs.workflow
def whole_record(n: int) -> str:
    return describe_parts(split(numbers(n)))


@mwfs.workflow
def unpacked(n: int) -> int:
    train, test, _ = split(numbers(n))
    return add(total(train), total(test))


@mwfs.workflow
def indexed(n: int) -> int:
    parts = split(numbers(n))
    assert len(parts) == 3
    return total(parts[1])


@mwfs.workflow
def dataclass_outputs() -> float:
    shape = shape_of(1.5)
    return area(Shape(width=shape.height, height=shape.width))


@mwfs.workflow
def record_as_argument() -> float:
    return area(shape_of(1.5))


@mwfs.workflow
def record_inside_record() -> float:
    drawing = draw(shape_of(2.0), "square")
    return double(drawing.shape.width)


@mwfs.workflow
def record_from_a_list() -> float:
    return area(first_of(shapes(3)))


@mwfs.workflow
def list_of_futures(n: int) -> int:
    return total([increment(i) for i in range(n)])


@mwfs.workflow
def mixed_list() -> int:
    return total([1, one(), 3])


@mwfs.workflow
def tuple_of_futures() -> int:
    return total((one(), one()))


@mwfs.workflow
def nested_lists() -> int:
    return total_of_lists([[one(), 2], [], [one()], numbers(3)])


@mwfs.workflow
def dict_of_futures() -> int:
    return total_of_map({"b": one(), "a": 2, "ä": increment(1)})


@mwfs.workflow
def empty_collections() -> int:
    return add(total([]), total_of_map({}))


@mwfs.workflow
def defaults_and_keywords() -> int:
    return add(add(1), b=add(b=2, a=1), negate=True)


@mwfs.workflow
def int_for_float() -> float:
    return double(one())


@mwfs.workflow
def optional_argument() -> list[str]:
    return [greet(), greet(None), greet("you")]


@mwfs.workflow
def enum_argument(goal: Goal = Goal.QUANTITY) -> list[str]:
    return [goal_name(), goal_name(goal)]


@mwfs.workflow
def order_without_data() -> int:
    return after(nothing(1), 7)


@mwfs.workflow
def constants_only(x: int) -> dict[str, int]:
    return {"x": x}


class Results(NamedTuple):
    first: int
    lists: list[list[int]]
    shape: Shape
    note: str = "none"


@mwfs.workflow
def named_results(n: int) -> Results:
    return Results(first=one(), lists=[numbers(n), [one()]], shape=shape_of(3.0))


@dataclass(frozen=True)
class Report:
    parts: Parts
    count: int


@mwfs.workflow
def dataclass_results(n: int) -> Report:
    return Report(count=n, parts=split(numbers(n)))


@mwfs.workflow
def record_result(n: int) -> Parts:
    return split(numbers(n))


@mwfs.workflow
def dict_for_a_record(n: int) -> Results:
    return {"first": n, "lists": [], "shape": Shape(1.0), "note": "here"}


@mwfs.workflow
def returns_none() -> None:
    nothing(1)


@mwfs.workflow
def inner(n: int) -> int:
    return increment(n)


@mwfs.workflow
def outer() -> int:
    return inner(inner(1))


def of_their_own(values: list[int]) -> list[int]:
    return [increment(value) for value in values]


@mwfs.workflow
def with_functions_of_theirs() -> int:
    return total(of_their_own(of_their_own([1, 2])))


@mwfs.workflow
def drawing_result() -> Drawing:
    return draw(Shape(1.0), "line")


@mwfs.workflow
def with_range() -> float:
    return keep(0.5)


SAME_AS_PYTHON: list[tuple[Any, dict[str, Any]]] = [
    (chain, {}),
    (chain, {"n": 0}),
    (named_tuple_outputs, {"n": 5}),
    (whole_record, {"n": 5}),
    (unpacked, {"n": 6}),
    (indexed, {"n": 6}),
    (dataclass_outputs, {}),
    (record_as_argument, {}),
    (record_inside_record, {}),
    (record_from_a_list, {}),
    (list_of_futures, {"n": 5}),
    (list_of_futures, {"n": 0}),
    (mixed_list, {}),
    (tuple_of_futures, {}),
    (nested_lists, {}),
    (dict_of_futures, {}),
    (empty_collections, {}),
    (defaults_and_keywords, {}),
    (int_for_float, {}),
    (optional_argument, {}),
    (enum_argument, {}),
    (enum_argument, {"goal": Goal.CLASS}),
    (order_without_data, {}),
    (constants_only, {"x": 3}),
    (named_results, {"n": 2}),
    (dataclass_results, {"n": 2}),
    (record_result, {"n": 3}),
    (returns_none, {}),
    (outer, {}),
    (with_functions_of_theirs, {}),
    (drawing_result, {}),
    (with_range, {}),
]


@pytest.mark.parametrize(("workflow", "inputs"), SAME_AS_PYTHON, ids=lambda value: getattr(value, "__name__", None))
def test_run_local_gives_what_plain_python_gives(workflow: Any, inputs: dict[str, Any]) -> None:
    assert workflow.run_local(**inputs) == workflow(**inputs)


@pytest.mark.parametrize(("workflow", "inputs"), SAME_AS_PYTHON, ids=lambda value: getattr(value, "__name__", None))
def test_what_compiles_passes_the_servers_check(workflow: Any, inputs: dict[str, Any]) -> None:
    dag = mwfs.compile(workflow, **inputs)
    check_dag(dag.proto)
    copy = mwfs.Dag.from_bytes(dag.serialize())
    assert copy.digest == dag.digest
    assert copy.nodes == dag.nodes
    assert copy.describe() == dag.describe()


def test_compiling_twice_gives_the_same_bytes() -> None:
    assert mwfs.compile(named_results, n=3).serialize() == mwfs.compile(named_results, n=3).serialize()


def test_named_results_accept_a_dict_with_their_names() -> None:
    assert dict_for_a_record.run_local(n=3) == Results(3, [], Shape(1.0), "here")


def test_dag_shows_nodes_edges_and_lines() -> None:
    dag = mwfs.compile(list_of_futures, n=2)
    source = Path(__file__).read_text().splitlines()
    line = next(number for number, text in enumerate(source, 1) if "increment(i) for i" in text)
    assert [(node.name, node.depends_on, node.line) for node in dag.nodes] == [
        ("increment", (), line),
        ("increment", (), line),
        ("total", (0, 1), line),
    ]
    assert dag.edges == ((0, 2), (1, 2))
    assert Path(dag.nodes[0].file).name == Path(__file__).name
    assert dag.nodes[2].arguments == {"values": "[[0], [1]]"}
    assert dag.outputs == {"result": "[2]"}
    assert "[2] total(values=[[0], [1]])" in dag.describe()
    assert [node.index for node in dag.nodes_of(increment)] == [0, 1]


def test_omitted_arguments_are_constants_of_the_dag() -> None:
    (node,) = mwfs.compile(defaults).nodes
    assert node.arguments == {"a": "1", "b": "10", "negate": "False"}


@mwfs.workflow
def defaults() -> int:
    return add(1)


def test_equal_constants_and_lists_are_stored_once() -> None:
    proto = mwfs.compile(repeats, values=list(range(100))).proto
    assert len(proto.constants) == 1
    assert len(proto.items.kind) == 3 + 1


@mwfs.workflow
def repeats(values: list[int]) -> int:
    ones = [one(), one(), one()]
    for _ in range(5):
        total(values)
        total(ones)
    return total([*ones])


def test_zero_and_minus_zero_stay_apart() -> None:
    assert [str(value) for value in signed_zeros.run_local()] == ["0.0", "-0.0"]


@mwfs.workflow
def signed_zeros() -> list[float]:
    return [double(0.0), double(-0.0)]


def test_true_and_one_stay_apart() -> None:
    assert len(mwfs.compile(truths).proto.constants) == 2


@mwfs.workflow
def truths() -> int:
    return add(1, 1, negate=True)


def test_options_reach_the_dag_and_make_rows_of_their_own() -> None:
    dag = mwfs.compile(with_options)
    rows = [row for row in dag.proto.operators if row.qualname == "heavy"]
    assert [(row.qualname, row.resources.cpu_millis, row.resources.memory_bytes) for row in rows] == [
        ("heavy", 500, 2 * 2**30),
        ("heavy", 2000, 0),
    ]
    assert (rows[0].resources.gpus, rows[0].retry.attempts, rows[0].timeout_seconds) == (1, 3, 60.0)
    assert rows[1].retry.except_errors == ["builtins.ValueError"]
    assert with_options.run_local() == 2


@mwfs.operator(
    resources=mwfs.Resources(cpu=0.5, memory="2Gi", gpu=1, gpu_type="A100"), retry=3, timeout=60, priority=2, pure=True
)
def heavy(x: int) -> int:
    return x


@mwfs.workflow
def with_options() -> int:
    light = heavy.with_options(
        resources=mwfs.Resources(cpu=2), retry=mwfs.Retry(attempts=2, except_errors=(ValueError,))
    )
    return add(heavy(1), light(1))


def test_called_outside_of_a_workflow_an_operator_is_its_function() -> None:
    assert add(1, b=2) == 3
    assert add.__name__ == "add"
    assert repr(add) == "<operator fixtures.sdk_operators:add>"


def test_workflow_describes_its_inputs_and_outputs() -> None:
    assert [(given.name, given.default is None) for given in chain.inputs] == [("n", False)]
    assert [output.name for output in named_results.outputs] == ["first", "lists", "shape", "note"]
    assert chain.ref.endswith("test_workflows:chain")
    assert returns_none.outputs == ()


# Files.


@mwfs.workflow
def rows_of(data: Dataset) -> int:
    return count_rows(data)


@mwfs.workflow
def files_between_operators(n: int) -> list[str]:
    return [read_note(write_note("hello")), greet(read_note(write_note("you")))]


class Trained(NamedTuple):
    model: Model
    metrics: Metrics
    data: Dataset


@mwfs.workflow
def trains(n: int) -> Trained:
    data = make_rows(n)
    model = fit(data)
    return Trained(model, judge(model), data)


def test_input_file_is_hashed_and_named(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    dag = mwfs.compile(rows_of, data=path)
    (digest,) = dag.local_files
    artifact = dag.proto.constants[dag.proto.inputs[0].constant].artifact
    assert (artifact.digest, artifact.size, artifact.encoding, artifact.file_name) == (digest, 12, "csv", "table.csv")
    assert dag.local_files[digest] == path
    assert rows_of.run_local(data=str(path)) == 2
    assert rows_of.run_local(data=Dataset(path)) == 2


def test_dataset_made_in_memory_is_an_input() -> None:
    dag = mwfs.compile(rows_of, data=Dataset.from_rows([{"a": 1}, {"a": 2}]))
    (path,) = dag.local_files.values()
    assert path.read_text().split() == ["a", "1", "2"]
    assert rows_of.run_local(data=Dataset.from_rows([{"a": 1}])) == 1


def test_missing_input_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(mwfs.InvalidInput, match=r"Input `data`.*nowhere\.csv"):
        mwfs.compile(rows_of, data=tmp_path / "nowhere.csv")


def test_files_models_and_metrics_travel_between_operators() -> None:
    assert files_between_operators.run_local(n=1) == ["hello", "hello you"]
    trained = trains.run_local(n=3)
    assert trained.model.estimator == {"weights": [1.0, 2.0], "rows": 3}
    assert dict(trained.metrics) == {"loss": 0.25, "rows": 3.0}
    assert list(trained.data.rows())[2] == {"i": "2", "square": "4"}
    assert trained.data.columns == ["i", "square"]


def test_large_values_travel_as_artifacts() -> None:
    assert large.run_local(n=50_000) == sum(range(50_000))
    assert large_input.run_local(values=list(range(50_000))) == 2 * sum(range(50_000))


@mwfs.workflow
def large(n: int) -> int:
    return total(numbers(n))


@mwfs.workflow
def large_input(values: list[int]) -> int:
    return total_of_lists([values, values])


@mwfs.operator
def write_same_path(path: str, text: str) -> File:
    Path(path).write_text(text)
    return File(path)


@mwfs.workflow
def overwrites(path: str) -> list[str]:
    first, second = write_same_path(path, "first"), write_same_path(path, "second")
    return [read_note(first), read_note(second)]


def test_file_that_a_later_operator_overwrites_keeps_its_bytes(tmp_path: Path) -> None:
    assert overwrites.run_local(path=str(tmp_path / "out.txt")) == ["first", "second"]


@mwfs.operator
def count_files(files: list[Dataset]) -> int:
    return sum(1 for data in files for _ in data.rows())


@mwfs.workflow
def many_files(
    each: Annotated[list[Dataset], mwfs.Length(1, 5)], more: dict[str, Dataset], maybe: Dataset | None = None
) -> list[int]:
    return [count_files(each), count_files([*more.values(), *([maybe] if maybe else [])])]


def test_paths_are_opened_wherever_the_input_holds_files(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a\n1\n2\n")
    assert many_files.run_local(each=[path, str(path)], more={"x": path}, maybe=str(path)) == [4, 4]


@mwfs.workflow
def judges(model: Model) -> Metrics:
    return judge(model)


def test_model_is_an_input_by_its_path(tmp_path: Path) -> None:
    trained = trains.run_local(n=3)
    assert judges.run_local(model=trained.model.path) == trained.metrics
    assert judges.run_local(model=trained.model) == trained.metrics
