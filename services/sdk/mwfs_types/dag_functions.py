"""The functions that are lifted to futures: how many operands each takes, of which types, what it gives, and how it fails.

One table for the compiler, `check_dag` and whoever puts arguments together. The semantics are Python's own, on 64-bit integers; each
is total in time and memory: what would grow beyond a bound fails instead.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types import function_types as rules
from mwfs_types import function_values as values
from mwfs_types.files import is_spilled
from mwfs_types.function_types import BadOperands, TypeRule, join_types
from mwfs_types.function_values import Evaluation, FunctionFailed, NeedsContent

__all__ = [
    "TABLE",
    "BadOperands",
    "FunctionFailed",
    "NeedsContent",
    "apply",
    "arity_of",
    "join_types",
    "render",
    "result_type",
]

Type = types_pb2.Type
Value = types_pb2.Value

#: Bytes of a result.
MAX_RESULT_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifted:
    """One row of the table."""

    name: str
    #: How it reads, with {} for each operand.
    form: str
    arity: int
    rule: TypeRule
    evaluate: Evaluation


def result_type(function: int, operands: Sequence[Type]) -> Type:
    """The type of the result. Shared: do not change it. Raises BadOperands."""
    row = _row(function)
    if len(operands) != row.arity:
        raise BadOperands(f"{row.name} takes {row.arity} operands, found {len(operands)}")
    return row.rule([rules.plain(operand) for operand in operands])


def apply(function: int, operands: Sequence[Value]) -> Value:
    """The result for these values, whose types were checked. Raises FunctionFailed and NeedsContent."""
    row = _row(function)
    for operand in operands:
        if is_spilled(operand):
            raise NeedsContent(row.name)
    try:
        result = row.evaluate(operands)
    except FunctionFailed:
        raise
    except (ArithmeticError, ValueError, LookupError, TypeError) as error:
        text = repr(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
        raise FunctionFailed(type(error).__name__, f"{render(function, _shown(operands))}: {text}") from None
    if result.WhichOneof("kind") in ("text", "list", "map") and result.ByteSize() > MAX_RESULT_BYTES:
        raise FunctionFailed("OverflowError", f"the result of {row.name} has more than {MAX_RESULT_BYTES:,} bytes")
    return result


def arity_of(function: int) -> int:
    """How many operands a function takes. Raises BadOperands when there is no such function."""
    return _row(function).arity


def render(function: int, operands: Sequence[str]) -> str:
    """The function as a user would write it: "accuracy > 0.9"."""
    row = _TABLE.get(function)
    return row.form.format(*operands) if row and len(operands) == row.arity else f"?({', '.join(operands)})"


def _row(function: int) -> Lifted:
    row = _TABLE.get(function)
    if row is None:
        raise BadOperands(f"there is no function {function}")
    return row


def _shown(operands: Sequence[Value]) -> list[str]:
    return [_show(operand) for operand in operands]


def _show(value: Value) -> str:
    kind = value.WhichOneof("kind")
    if kind in values.SCALAR_FIELDS:
        text = repr(values.scalar_of(value))
        return text if len(text) <= 40 else f"{text[:39]}…"
    if kind == "list":
        return f"a list of {len(value.list.items)}"
    if kind == "map":
        return f"a dict of {len(value.map.keys)}"
    return value.member if kind == "member" else "a value"


_F = dag_pb2

_TABLE: dict[int, Lifted] = {}


def _declare(function: int, form: str, arity: int, rule: TypeRule, evaluate: Evaluation) -> None:
    name = dag_pb2.Function.Name(function).removeprefix("FUNCTION_").lower()  # type: ignore[arg-type]
    _TABLE[function] = Lifted(name=name, form=form, arity=arity, rule=rule, evaluate=evaluate)


_declare(_F.FUNCTION_ADD, "{} + {}", 2, rules.addition, values.joined)
for _function, _sign, _operation in (
    (_F.FUNCTION_SUBTRACT, "-", operator.sub),
    (_F.FUNCTION_MULTIPLY, "*", operator.mul),
    (_F.FUNCTION_FLOOR_DIVIDE, "//", operator.floordiv),
    (_F.FUNCTION_MODULO, "%", operator.mod),
    (_F.FUNCTION_POWER, "**", values.power),
):
    _declare(_function, f"{{}} {_sign} {{}}", 2, rules.numbers(_sign), values.of_scalars(_operation))
_declare(_F.FUNCTION_DIVIDE, "{} / {}", 2, rules.numbers("/", float_result=True), values.of_scalars(operator.truediv))
_declare(_F.FUNCTION_NEGATE, "-{}", 1, rules.numbers("-"), values.of_scalars(operator.neg))
_declare(_F.FUNCTION_POSITIVE, "+{}", 1, rules.numbers("+"), values.of_scalars(operator.pos))
_declare(_F.FUNCTION_ABSOLUTE, "abs({})", 1, rules.numbers("abs()"), values.of_scalars(abs))
_declare(_F.FUNCTION_ROUND, "round({}, {})", 2, rules.rounding, values.of_scalars(values.rounded))
for _function, _sign, _negated in ((_F.FUNCTION_EQUAL, "==", False), (_F.FUNCTION_NOT_EQUAL, "!=", True)):
    _declare(
        _function,
        f"{{}} {_sign} {{}}",
        2,
        rules.equality(_sign),
        lambda operands, negated=_negated: values.value_of(values.equal(*operands) != negated),  # type: ignore[misc]
    )
for _function, _sign, _operation in (
    (_F.FUNCTION_LESS, "<", operator.lt),
    (_F.FUNCTION_LESS_EQUAL, "<=", operator.le),
    (_F.FUNCTION_GREATER, ">", operator.gt),
    (_F.FUNCTION_GREATER_EQUAL, ">=", operator.ge),
):
    _declare(_function, f"{{}} {_sign} {{}}", 2, rules.ordering(_sign), values.of_scalars(_operation))
_declare(
    _F.FUNCTION_IS_NONE,
    "{} is None",
    1,
    rules.takes(
        "is None",
        "a value that may be None",
        rules.BOOL,
        lambda one: rules.is_null(one) or one.WhichOneof("kind") == "optional",
    ),
    lambda operands: values.value_of(operands[0].WhichOneof("kind") == "null"),
)
for _function, _sign, _operation in (
    (_F.FUNCTION_AND, "&", operator.and_),
    (_F.FUNCTION_OR, "|", operator.or_),
    (_F.FUNCTION_XOR, "^", operator.xor),
):
    _declare(_function, f"{{}} {_sign} {{}}", 2, rules.logic(_sign), values.of_scalars(_operation))
_declare(
    _F.FUNCTION_NOT,
    "not {}",
    1,
    rules.takes("not", "a bool", rules.BOOL, rules.is_bool),
    values.of_scalars(operator.not_),
)
_declare(
    _F.FUNCTION_SELECT,
    "({1} if {0} else {2})",
    3,
    rules.choice,
    lambda operands: operands[1] if operands[0].boolean else operands[2],
)
_declare(
    _F.FUNCTION_COALESCE,
    "coalesce({}, {})",
    2,
    rules.default,
    lambda operands: operands[1] if operands[0].WhichOneof("kind") == "null" else operands[0],
)
_declare(_F.FUNCTION_ELEMENT, "{}[{}]", 2, rules.element, values.element)
_declare(_F.FUNCTION_ENTRY, "{}[{}]", 2, rules.entry, values.entry)
_declare(_F.FUNCTION_SLICE, "{}[{}:{}:{}]", 4, rules.part, values.part)
_declare(_F.FUNCTION_LENGTH, "len({})", 1, rules.length, values.size)
_declare(_F.FUNCTION_CONTAINS, "{1} in {0}", 2, rules.search, values.holds)
_declare(
    _F.FUNCTION_KEYS,
    "list({})",
    1,
    rules.of_map("keys", lambda value: rules.STR),
    lambda operands: values.list_of([Value(text=key) for key in operands[0].map.keys]),
)
_declare(
    _F.FUNCTION_VALUES,
    "list({}.values())",
    1,
    rules.of_map("values", lambda value: value),
    lambda operands: values.list_of(operands[0].map.values),
)
_declare(
    _F.FUNCTION_ENTRIES,
    "list({}.items())",
    1,
    rules.of_map("items", lambda value: rules.tuple_of(rules.STR, value)),
    values.entries,
)
_declare(_F.FUNCTION_FLATTEN, "flatten({})", 1, rules.flattened, values.flattened)
_declare(
    _F.FUNCTION_MINIMUM,
    "min({})",
    1,
    rules.of_items("min", "numbers or strings", rules.is_number, rules.is_str),
    values.folded(min),
)
_declare(
    _F.FUNCTION_MAXIMUM,
    "max({})",
    1,
    rules.of_items("max", "numbers or strings", rules.is_number, rules.is_str),
    values.folded(max),
)
_declare(_F.FUNCTION_SUM, "sum({})", 1, rules.of_items("sum", "numbers", rules.is_number), values.folded(values.total))
_declare(_F.FUNCTION_ALL, "all({})", 1, rules.of_items("all", "bools", rules.is_bool), values.folded(all))
_declare(_F.FUNCTION_ANY, "any({})", 1, rules.of_items("any", "bools", rules.is_bool), values.folded(any))
_declare(
    _F.FUNCTION_RANGE,
    "range({}, {}, {})",
    3,
    rules.takes("range", "ints", rules.list_of(rules.INT), rules.is_int, rules.is_int, rules.is_int),
    values.number_range,
)
_declare(_F.FUNCTION_ZIP, "zip({}, {})", 2, rules.pairs("zip"), values.zipped)
_declare(_F.FUNCTION_CROSS, "product({}, {})", 2, rules.pairs("cross"), values.crossed)
_declare(
    _F.FUNCTION_TO_FLOAT,
    "float({})",
    1,
    rules.takes("float()", "a scalar", rules.FLOAT, rules.is_scalar),
    values.of_scalars(float),
)
_declare(
    _F.FUNCTION_TO_INT,
    "int({})",
    1,
    rules.takes("int()", "a scalar", rules.INT, rules.is_scalar),
    values.of_scalars(lambda value: values.whole(values.truncated(value))),
)
_declare(
    _F.FUNCTION_TO_TEXT,
    "str({})",
    1,
    rules.takes("str()", "a scalar", rules.STR, rules.is_scalar),
    values.of_scalars(str),
)
_declare(
    _F.FUNCTION_MICROSECONDS,
    "{}",
    1,
    rules.takes("dates", "a date, a timestamp or a duration", rules.INT, rules.is_moment),
    values.microseconds,
)
for _function, _moment, _evaluate in (
    (_F.FUNCTION_TO_DATE, "Date", values.date_at),
    (_F.FUNCTION_TO_TIMESTAMP, "Timestamp", values.timestamp_at),
    (_F.FUNCTION_TO_DURATION, "Duration", values.duration_of),
):
    _declare(_function, "{}", 1, rules.takes(_moment, "microseconds", rules.MOMENTS[_moment], rules.is_int), _evaluate)

#: Number of each function → its row.
TABLE: dict[int, Lifted] = _TABLE
