"""A mistake in a workflow names the user's own line, what was expected, what was found, and what to write."""
# ruff: noqa: B015, B018, C416, SIM115 (the mistakes are the point)

import functools
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import pytest
from builders.marked import Marked, pointed_at
from fixtures.sdk_operators import (
    add,
    area,
    double,
    increment,
    keep,
    numbers,
    one,
    shape_of,
    split,
    total,
    total_of_map,
)

import mwfs
from mwfs.errors import (
    BadDefinition,
    BadOperation,
    CompileError,
    ForeignFuture,
    FutureAsValue,
    InvalidInput,
    MissingArgument,
    TooLarge,
    UndeclaredOutput,
    UnknownArgument,
    WorkflowRaised,
    WrongResult,
    WrongType,
)

MARKED = Marked(__file__)
line_of, error_of = MARKED.line_of, MARKED.error_of


# Wrong types.


@mwfs.workflow
def wrong_edge() -> int:
    parts = split(numbers(4))
    return increment(parts.label)  # HERE wrong edge


def test_wrong_edge_shows_both_types_and_where_the_future_came_from() -> None:
    error = error_of(wrong_edge, "wrong edge", WrongType)
    assert error.expected == "int"
    assert error.found.startswith("str from `split` (")
    assert pointed_at(error) == "parts.label"
    assert "argument `x` of operator `increment`" in str(error)
    assert str(error).startswith(f"{error.file}:{error.line}: ")


@mwfs.workflow
def wrong_edge_over_several_lines() -> int:
    return add(
        one(),
        b=double(  # HERE several lines
            1.5,
        ),
    )


def test_wrong_argument_of_a_call_over_several_lines_names_the_arguments_own_line() -> None:
    error = error_of(wrong_edge_over_several_lines, "several lines", WrongType)
    assert (error.expected, error.found.split()[0]) == ("int", "float")


@mwfs.workflow
def wrong_constant() -> int:
    return increment("three")  # HERE wrong constant


def test_wrong_constant() -> None:
    error = error_of(wrong_constant, "wrong constant", WrongType)
    assert error.expected == "int"
    assert "three" in error.found
    assert pointed_at(error) == '"three"'


@mwfs.workflow
def out_of_range() -> float:
    return keep(1.5)  # HERE range


def test_constant_out_of_the_declared_range() -> None:
    assert "1.5" in error_of(out_of_range, "range", WrongType).found


@mwfs.workflow
def wrong_element() -> int:
    return total([one(), double(2.0), one()])  # HERE element


def test_wrong_element_of_a_list_names_its_place() -> None:
    error = error_of(wrong_element, "element", WrongType)
    assert "`values[1]`" in error.message


@mwfs.workflow
def wrong_map_value() -> int:
    return total_of_map({"a": one(), "b": double(1.0)})  # HERE map


def test_wrong_value_of_a_map_names_its_key() -> None:
    assert "`values['b']`" in error_of(wrong_map_value, "map", WrongType).message


@mwfs.workflow
def wrong_map_key() -> int:
    return total_of_map({1: one()})  # HERE key


def test_map_key_that_is_no_string() -> None:
    assert "int 1" in error_of(wrong_map_key, "key", WrongType).found


@mwfs.workflow
def list_for_a_scalar() -> int:
    return increment([one()])  # HERE list for scalar


def test_list_of_futures_where_a_scalar_is_expected() -> None:
    error = error_of(list_for_a_scalar, "list for scalar", WrongType)
    assert (error.expected, error.found) == ("int", "list with futures in it")


@mwfs.workflow
def cyclic() -> int:
    values: list[Any] = []
    values.append(values)
    return total(values)  # HERE cycle


def test_list_that_contains_itself() -> None:
    assert "cycle" in error_of(cyclic, "cycle", WrongType).found


# Arguments.


@mwfs.workflow
def missing_argument() -> int:
    return add(b=2)  # HERE missing


def test_missing_argument() -> None:
    error = error_of(missing_argument, "missing", MissingArgument)
    assert "`a: int`" in error.message
    assert error.expected == "add(a: int, b: int = 10, *, negate: bool = False)"
    assert "a=…" in error.fix


@mwfs.workflow
def unknown_argument() -> int:
    return add(1, negated=True)  # HERE unknown


def test_unknown_argument_suggests_the_nearest() -> None:
    error = error_of(unknown_argument, "unknown", UnknownArgument)
    assert error.fix == "write `negate=`"
    assert pointed_at(error) == "negated=True"


@mwfs.workflow
def misspelt_required_argument() -> int:
    return increment(X=1)  # HERE misspelt


def test_misspelt_required_argument_is_unknown_or_missing() -> None:
    with pytest.raises(CompileError) as caught:
        mwfs.compile(misspelt_required_argument)
    assert caught.value.line == line_of("misspelt")


@mwfs.workflow
def too_many_arguments() -> int:
    return add(1, 2, True)  # HERE too many


def test_keyword_only_argument_by_position() -> None:
    error = error_of(too_many_arguments, "too many", UnknownArgument)
    assert "negate" in error.fix
    assert pointed_at(error) == "True"


@mwfs.workflow
def argument_twice() -> int:
    return add(1, a=2)  # HERE twice


def test_argument_by_position_and_by_name() -> None:
    assert "twice" in error_of(argument_twice, "twice", UnknownArgument).message


@mwfs.operator
def placed(x: int, /, y: int = 2) -> int:
    return x + y


@mwfs.workflow
def positional_by_name() -> int:
    return placed(x=1)  # HERE positional only


@mwfs.workflow
def by_position() -> int:
    return placed(one(), y=3)


def test_positional_only_argument_by_name() -> None:
    error = error_of(positional_by_name, "positional only", UnknownArgument)
    assert error.expected == "placed(x: int, /, y: int = 2)"
    assert by_position.run_local() == by_position() == 4


@mwfs.workflow
def other_case() -> int:
    return increment(X=one())  # HERE other case


def test_argument_that_differs_by_case() -> None:
    assert error_of(other_case, "other case", UnknownArgument).fix == "write `x=`"


@mwfs.workflow
def nearly(how: str) -> float:
    match how:
        case "operator":
            increment(one)  # HERE operator itself
        case "generator":
            total(increment(n) for n in range(3))  # HERE generator given
        case "range":
            total(range(3))  # HERE range given
        case "set":
            total({1, 2})  # HERE set given
        case "dict":
            area({"width": 1.0})  # HERE dict given
    return 1.0


@pytest.mark.parametrize(
    ("how", "mark", "fix"),
    [
        ("operator", "operator itself", "call it: `one(…)`"),
        ("generator", "generator given", "square brackets"),
        ("range", "range given", "`list(…)`"),
        ("set", "set given", "`sorted(…)`"),
        ("dict", "dict given", "`Shape(…)` with the fields `width`, `height`"),
    ],
)
def test_values_that_only_need_another_form(how: str, mark: str, fix: str) -> None:
    assert fix in error_of(nearly, mark, WrongType, how=how).fix


# Outputs.


@mwfs.workflow
def undeclared_output() -> int:
    parts = split(numbers(4))
    return total(parts.trian)  # HERE undeclared


def test_undeclared_output_suggests_the_nearest() -> None:
    error = error_of(undeclared_output, "undeclared", UndeclaredOutput)
    assert error.expected == "one of `train`, `test`, `label`"
    assert error.fix == "write `.train`"
    assert pointed_at(error) == "parts.trian"


@mwfs.workflow
def undeclared_field_of_a_single_result() -> float:
    return double(one().real)  # HERE field of int


def test_field_of_a_scalar() -> None:
    error_of(undeclared_field_of_a_single_result, "field of int", UndeclaredOutput)


@mwfs.workflow
def undeclared_field_of_a_record() -> float:
    return double(shape_of(1.0).depth)  # HERE field of record


def test_undeclared_field_of_a_dataclass_result() -> None:
    error = error_of(undeclared_field_of_a_record, "field of record", UndeclaredOutput)
    assert error.expected == "one of `width`, `height`"


# Results.


class Iris(NamedTuple):
    model: int
    mse: float


@mwfs.workflow
def returns_undeclared_name() -> Iris:
    model = one()
    return Iris(model=model, logloss=double(model))  # HERE logloss


def test_sample_that_declares_mse_and_returns_logloss() -> None:
    error = error_of(returns_undeclared_name, "logloss", WrongResult)
    assert error.expected == "Iris(model, mse)"
    assert error.found == "`logloss=`"


@mwfs.workflow
def returns_dict_with_wrong_names() -> Iris:
    model = one()
    if len(Iris._fields) > 2:
        return Iris(1, 2.0)
    return {"model": model, "logloss": double(model)}  # HERE dict


def test_dict_with_undeclared_names() -> None:
    error = error_of(returns_dict_with_wrong_names, "dict", WrongResult)
    assert error.found == "a dict with `model`, `logloss`"


@dataclass
class Other:
    model: int
    logloss: float


@mwfs.workflow
def returns_another_record() -> Iris:
    return Other(one(), 0.5)  # HERE another record


def test_record_of_another_class() -> None:
    error = error_of(returns_another_record, "another record", WrongResult)
    assert error.found == "Other(model, logloss)"


@mwfs.workflow
def returns_wrong_type() -> Iris:
    return Iris(model=one(), mse=numbers(3))  # HERE result type


def test_output_of_the_wrong_type() -> None:
    error = error_of(returns_wrong_type, "result type", WrongResult)
    assert "output `mse`" in error.message
    assert (error.expected, error.found.split(" from ")[0]) == ("float", "list[int]")


@mwfs.workflow
def returns_nothing() -> int:
    one()  # HERE nothing
    # There is no return: the body ends here.


def test_workflow_that_forgets_to_return() -> None:
    with pytest.raises(WrongResult) as caught:
        mwfs.compile(returns_nothing)
    assert caught.value.found == "None"


@mwfs.workflow
def returns_something_unasked() -> None:
    return one()  # HERE unasked


def test_result_of_a_workflow_that_declares_none() -> None:
    error_of(returns_something_unasked, "unasked", WrongResult)


@mwfs.workflow
def returns_a_constant_of_the_wrong_type() -> int:
    return "four"  # HERE no operator


def test_wrong_result_of_a_workflow_without_operators() -> None:
    assert pointed_at(error_of(returns_a_constant_of_the_wrong_type, "no operator", WrongResult)) == '"four"'


@mwfs.workflow
def returns_over_lines(early: bool) -> int:
    if early:
        return one()
    return (
        double(1.5)  # HERE over lines
    )


def test_the_return_that_the_body_ended_with_is_marked() -> None:
    assert pointed_at(error_of(returns_over_lines, "over lines", WrongResult, early=False)) == "double(1.5)"


# Futures used as values.


@mwfs.workflow
def misuse(how: str) -> int:
    x = one()
    known = {"a": 1}
    match how:
        case "if":
            if x:  # HERE if
                pass
        case "while":
            while x:  # HERE while
                pass
        case "not":
            not x  # HERE not
        case "and":
            x and 1  # HERE and
        case "bool":
            bool(x)  # HERE bool
        case "assert":
            assert x  # HERE assert
        case "len":
            len(x)  # HERE len
        case "for":
            for _ in x:  # HERE for
                pass
        case "comprehension":
            [y for y in x]  # HERE comprehension
        case "list":
            list(x)  # HERE list
        case "star":
            print(*x)  # HERE star
        case "unpack":
            _, _ = x  # HERE unpack
        case "f-string":
            f"{x}"  # HERE f-string
        case "format":
            f"{x:.2f}"  # HERE format
        case "str":
            str(x)  # HERE str
        case "print":
            print(x)  # HERE print
        case "int":
            int(x)  # HERE int
        case "float":
            float(x)  # HERE float
        case "range":
            range(x)  # HERE range of
        case "index":
            [1, 2][x]  # HERE index
        case "set item":
            x[0] = 1  # HERE set item
        case "set attribute":
            x.name = 1  # HERE set attribute
        case "dict key":
            {x: 1}  # HERE dict key
        case "lookup":
            known[x]  # HERE lookup
        case "set":
            {x}  # HERE set
        case "in future":
            3 in x  # HERE in future
        case "future in":
            x in [1, 2]  # HERE future in
        case "call":
            x()  # HERE call
        case "path":
            open(x)  # HERE path
        case "with":
            with x:  # HERE with
                pass
        case "sorted":
            sorted([x, one()])  # HERE sorted
        case "max":
            max(x, 3)  # HERE max
    return x


@pytest.mark.parametrize(
    "how",
    [
        "if",
        "while",
        "not",
        "and",
        "bool",
        "assert",
        "len",
        "for",
        "comprehension",
        "list",
        "star",
        "unpack",
        "f-string",
        "format",
        "str",
        "print",
        "int",
        "float",
        "index",
        "dict-key",
        "lookup",
        "set",
        "in-future",
        "future-in",
        "call",
        "path",
        "with",
        "sorted",
        "max",
        "set-item",
        "set-attribute",
    ],
)
def test_future_used_as_a_value(how: str) -> None:
    how = how.replace("-", " ") if how != "f-string" else how
    error = error_of(misuse, how, FutureAsValue, how=how)
    assert "no value until the run" in error.message or "cannot be changed" in error.message
    assert " from `one`" in error.found


def test_every_misuse_says_what_to_write_instead() -> None:
    for how, word in (("if", "mwfs.when"), ("and", "mwfs.all_of"), ("for", "mwfs.map"), ("len", "mwfs.length")):
        assert word in error_of(misuse, how, FutureAsValue, how=how).fix
    for how, word in (("in future", "mwfs.contains"), ("str", "mwfs.as_text"), ("int", "mwfs.as_int")):
        assert word in error_of(misuse, how, FutureAsValue, how=how).fix


# Arithmetic, comparison and items that the types do not have.


@mwfs.workflow
def operation(how: str) -> int:
    x, xs, shape = one(), numbers(3), shape_of(1.0)
    match how:
        case "text":
            x + "1"  # HERE text
        case "turned":
            "1" + x  # HERE turned
        case "record":
            shape * 2  # HERE record times
        case "list order":
            xs < 2  # HERE list order
        case "bits":
            (x > 1) & x  # HERE bits
        case "item":
            x[0]  # HERE item
        case "text index":
            xs["a"]  # HERE text index
        case "nested":
            functools.reduce(lambda a, b: a + b, [x, xs])  # HERE nested
        case "negative":
            -xs  # HERE negative
    return x


@pytest.mark.parametrize(
    "how", ["text", "turned", "record", "list-order", "bits", "item", "text-index", "nested", "negative"]
)
def test_operation_that_the_types_do_not_have(how: str) -> None:
    how = how.replace("-", " ")
    error = error_of(operation, "record times" if how == "record" else how, BadOperation, how=how)
    assert "from `" in error.found
    assert error.expected
    assert error.fix


class Level(Enum):
    LOW = "l"


@mwfs.operator
def maybe(x: int) -> int | None:
    return x


@mwfs.operator
def level(x: int) -> Level:
    return Level.LOW


@mwfs.workflow
def nearly_operations(how: str) -> int:
    match how:
        case "none":
            maybe(1) + 1  # HERE with none
        case "enum":
            level(1) == "l"  # HERE with enum
    return one()


def test_operations_that_need_one_thing_more() -> None:
    fix = error_of(nearly_operations, "with none", BadOperation, how="none").fix
    assert "`mwfs.coalesce(…, default) + 1`" in fix
    assert "`Level.LOW`" in error_of(nearly_operations, "with enum", BadOperation, how="enum").fix


def test_future_in_range() -> None:
    error_of(misuse, "range of", FutureAsValue, how="range")


@mwfs.workflow
def dumps_a_future() -> int:
    json.dumps({"x": one()})  # HERE json
    return 1


def test_error_inside_a_library_names_the_users_line() -> None:
    assert "JSON serializable" in error_of(dumps_a_future, "json", FutureAsValue).message


# The line, wherever the call is.


def call_increment(value: Any) -> int:
    return increment(value)  # HERE inner function


@mwfs.workflow
def in_a_function_of_theirs() -> int:
    return call_increment("x")


def test_call_in_the_users_own_function() -> None:
    error_of(in_a_function_of_theirs, "inner function", WrongType)


@mwfs.workflow
def in_a_comprehension() -> int:
    return total(
        [
            increment(name)  # HERE inside comprehension
            for name in ("a", "b")
        ]
    )


def test_call_in_a_comprehension() -> None:
    error_of(in_a_comprehension, "inside comprehension", WrongType)


@mwfs.workflow
def through_a_partial() -> int:
    return functools.partial(increment, x="x")()  # HERE partial


def test_call_through_a_partial() -> None:
    error_of(through_a_partial, "partial", WrongType)


@functools.wraps(increment)
def _wrapped(*args: Any, **kwargs: Any) -> Any:
    return increment(*args, **kwargs)  # HERE starred


@mwfs.workflow
def through_stars() -> int:
    result: int = _wrapped("x")
    return result


def test_call_with_starred_arguments() -> None:
    error_of(through_stars, "starred", WrongType)


@mwfs.workflow
def in_a_lambda() -> int:
    return (lambda: increment("ä"))()  # HERE lambda


def test_call_in_a_lambda_with_characters_beyond_ascii() -> None:
    assert pointed_at(error_of(in_a_lambda, "lambda", WrongType)) == '"ä"'


# Futures from elsewhere.

_kept: list[Any] = []


@mwfs.workflow
def keeps_a_future() -> int:
    _kept[:] = [one()]
    return one()


@mwfs.workflow
def uses_a_kept_future() -> int:
    return increment(_kept[0])  # HERE foreign


@mwfs.workflow
def uses_a_kept_future_in_a_list() -> int:
    return total([one(), _kept[0]])  # HERE foreign in list


@mwfs.workflow
def returns_a_kept_future() -> int:
    one()
    return _kept[0]  # HERE foreign result


@pytest.mark.parametrize(
    ("workflow", "mark"),
    [
        (uses_a_kept_future, "foreign"),
        (uses_a_kept_future_in_a_list, "foreign in list"),
        (returns_a_kept_future, "foreign result"),
    ],
)
def test_future_of_another_workflow(workflow: Any, mark: str) -> None:
    mwfs.compile(keeps_a_future)
    error = error_of(workflow, mark, ForeignFuture)
    assert "keeps_a_future" in error.found


def test_future_used_after_compiling() -> None:
    mwfs.compile(keeps_a_future)
    with pytest.raises(ForeignFuture) as caught:
        increment(_kept[0])  # HERE afterwards
    assert caught.value.line == line_of("afterwards")


# Definitions.


def test_operator_inside_a_function() -> None:
    @mwfs.operator
    def local(x: int) -> int:  # HERE local operator
        return x

    error = error_of(calls, "local operator", BadDefinition, operator=_register(local))
    assert "move `local` out of" in error.fix


_registered: dict[str, Any] = {}


def _register(operator: Any) -> str:
    _registered["now"] = operator
    return "now"


@mwfs.workflow
def calls(operator: str) -> int:
    result: int = _registered[operator](1)
    return result


@mwfs.operator
def without_annotation(x) -> int:  # HERE no type
    return 1


@mwfs.operator
def without_result(x: int):  # HERE no result
    return 1


@mwfs.operator
def with_stars(*values: int) -> int:  # HERE stars
    return 1


@mwfs.operator
async def with_async(x: int) -> int:  # HERE async
    return 1


@mwfs.operator
def with_generator(x: int) -> int:  # HERE generator
    yield 1


@mwfs.operator
def with_unsupported(x: complex) -> int:  # HERE unsupported
    return 1


@mwfs.operator
def with_unsupported_result(x: int) -> set[int]:  # HERE unsupported result
    return {x}


@mwfs.operator
def with_unknown_name(x: "Nowhere") -> int:  # noqa: F821  # HERE unknown name
    return 1


@pytest.mark.parametrize(
    ("operator", "mark"),
    [
        (without_annotation, "no type"),
        (without_result, "no result"),
        (with_stars, "stars"),
        (with_async, "async"),
        (with_generator, "generator"),
        (with_unsupported, "unsupported"),
        (with_unsupported_result, "unsupported result"),
        (with_unknown_name, "unknown name"),
    ],
)
def test_signature_that_cannot_travel_names_the_def(operator: Any, mark: str) -> None:
    error_of(calls, mark, BadDefinition, operator=_register(operator))


def _plain(x: int) -> int:  # HERE other name
    return x


renamed = mwfs.operator(_plain)


def test_operator_that_is_not_found_under_its_own_name() -> None:
    error = error_of(calls, "other name", BadDefinition, operator=_register(renamed))
    assert "decorator" in error.fix


# The rest.


@mwfs.workflow
def raises(n: int) -> int:
    table = {1: one}
    return table[n]()  # HERE raises


def test_exception_in_the_body_names_its_line_and_is_the_cause() -> None:
    error = error_of(raises, "raises", WorkflowRaised, n=2)
    assert isinstance(error.__cause__, KeyError)
    assert (error.expected, error.found) == ("a body that runs to its end", "KeyError")
    assert "correct this line, or the inputs" in error.fix


def lookup(table: dict[str, int], key: str) -> int:
    return table[key]  # HERE looks up


@mwfs.workflow
def raises_below(how: str) -> int:
    if how == "file":
        open("/no/such/file")  # HERE opens
    if how == "import":
        import no_such_module  # type: ignore[import-not-found]  # noqa: F401  # HERE imports
    if how == "long":
        raise RuntimeError("x" * 100_000)  # HERE long
    if how == "silent":
        raise RuntimeError  # HERE silent
    return increment(lookup({}, how))  # HERE calls the helper


def test_error_in_a_helper_names_the_line_of_the_body_that_led_there() -> None:
    error = error_of(raises_below, "looks up", WorkflowRaised, how="key")
    line = MARKED.line_of("calls the helper")
    assert error.found == f"KeyError in `lookup`, called at {error.file}:{line}"


@pytest.mark.parametrize(
    ("how", "where", "fix"),
    [
        ("file", "opens", "a file that the workflow starts from is an input"),
        ("import", "imports", "install the module, or import it inside the operator"),
        ("silent", "silent", "move other work into an operator"),
        ("long", "long", "move other work into an operator"),
    ],
)
def test_what_to_do_depends_on_the_error(how: str, where: str, fix: str) -> None:
    error = error_of(raises_below, where, WorkflowRaised, how=how)
    assert fix in error.fix
    assert len(str(error)) < 3000
    if how == "silent":
        assert error.message == "workflow `raises_below` raised RuntimeError while it was compiled"


def test_caught_error_leaves_the_dag_whole() -> None:
    dag = mwfs.compile(catches)
    assert [node.name for node in dag.nodes] == ["one", "increment"]


@mwfs.workflow
def catches() -> int:
    x = one()
    try:
        return add(x, "two")
    except CompileError:
        return increment(x)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "needs `how: str`"),
        ({"how": 3}, "Input `how` of workflow `misuse`"),
        ({"how": "x", "hwo": "y"}, "Did you mean `how`?"),
    ],
)
def test_wrong_inputs_are_said_by_name(inputs: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words.replace("?", r"\?")):
        mwfs.compile(misuse, **inputs)


def test_errors_survive_pickling() -> None:
    import pickle

    with pytest.raises(WrongType) as caught:
        mwfs.compile(wrong_edge)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value)


def test_a_future_can_be_looked_at_with_repr() -> None:
    mwfs.compile(keeps_a_future)
    assert repr(_kept[0]).startswith("<Future of int from `one` (")


@mwfs.operator
def with_wrong_default(x: int, y: int = "two") -> int:  # HERE default
    return x


def test_default_of_the_wrong_type_names_the_def() -> None:
    assert error_of(calls, "default", BadDefinition, operator=_register(with_wrong_default)).expected == "int"


class Tools:
    @staticmethod
    @mwfs.operator
    def static(x: int) -> int:
        return x

    @mwfs.operator
    def method(self, x: int) -> int:  # HERE method
        return x


def test_static_method_is_an_operator_and_a_method_is_not() -> None:
    assert mwfs.compile(calls, operator=_register(Tools.static)).nodes[0].name == "Tools.static"
    assert "@staticmethod" in error_of(calls, "method", BadDefinition, operator=_register(Tools.method)).fix


@mwfs.workflow
def on_threads() -> int:
    x = one()  # HERE thread
    with ThreadPoolExecutor(1) as pool:
        return next(pool.map(increment, [x]))


def test_call_on_another_thread_names_the_line_of_the_future() -> None:
    error_of(on_threads, "thread", ForeignFuture)


@mwfs.workflow
def leaves() -> int:
    raise SystemExit(3)  # HERE exit


def test_body_that_exits_does_not_take_the_compiler_with_it() -> None:
    error_of(leaves, "exit", WorkflowRaised)


@mwfs.workflow
def calls_itself(n: int) -> int:
    return calls_itself(n + 1)  # HERE recursion


def test_workflow_that_calls_itself_for_ever() -> None:
    assert "calls itself without end" in error_of(calls_itself, "recursion", TooLarge, n=1).message


@mwfs.workflow
def too_large() -> int:
    return increment(2**70)  # HERE too large


def test_integer_beyond_64_bits() -> None:
    assert "float or str" in error_of(too_large, "too large", WrongType).fix
