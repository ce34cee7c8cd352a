"""Functions of futures that need no operator: arithmetic, comparison, items, and their named friends such as `mwfs.length`.

They make no nodes: the result is a future like any other, computed where it is needed. On plain values each does what Python does, so
a workflow still runs as plain Python.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from contextlib import suppress
from typing import Any, TypeVar, cast, overload

from mwfs.binding import Binding, Mismatch, bind
from mwfs.errors import BadOperation, Site, UndeclaredOutput
from mwfs.futures import Future, misused
from mwfs.graph import FIELD, TYPED, Graph, active_graph
from mwfs.locations import calling_user_frame, site_of_frame
from mwfs.signatures import nearest_name
from mwfs.structure.inference import guess, is_known, join, settled
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.dag_functions import BadOperands, render, result_type
from mwfs_types.function_types import MICROSECONDS_OF_A_DAY, MomentSteps, is_moment, moment_steps
from mwfs_types.rendering import describe

T = TypeVar("T")
U = TypeVar("U")


def lift(function: int, *operands: Any) -> Any:
    """A future of a function of these operands. Raises BadOperation when it is not defined for their types."""
    site = site_of_frame(calling_user_frame())
    graph = _graph_of(operands)
    types = _types_of(operands, site)
    moments = moment_steps(function, types)
    if moments is not None:
        return _computed_with_moments(moments, operands, types)
    try:
        kind = result_type(function, types)
        bound = [_operand(graph, operand, type_) for operand, type_ in zip(operands, types, strict=True)]
    except BadOperands as error:
        raise BadOperation(
            f"`{render(function, [_shown(operand) for operand in operands])}`: {error}",
            site=site,
            expected=error.takes,
            found=" and ".join(_found(operand, type_) for operand, type_ in zip(operands, types, strict=True)),
            fix=_fix(function, operands, types),
        ) from None
    except Mismatch as error:
        raise _unusable(error, site) from None
    return graph.apply(function, bound, kind)


def _computed_with_moments(steps: MomentSteps, operands: Sequence[Any], types: list[types_pb2.Type]) -> Any:
    counted = []
    for operand, type_ in zip(operands, types, strict=True):
        number = lift(dag_pb2.FUNCTION_MICROSECONDS, operand) if is_moment(type_) else operand
        if steps.whole_days and type_.semantic.name == "Duration":
            number = number // MICROSECONDS_OF_A_DAY * MICROSECONDS_OF_A_DAY
        counted.append(number)
    result = lift(steps.function, *counted)
    return result if steps.back is None else lift(steps.back, result)


def _fix(function: int, operands: Sequence[Any], types: list[types_pb2.Type]) -> str:
    """What to write instead of an operation that the types do not have."""
    if any(type_.WhichOneof("kind") == "optional" for type_ in types):
        shown = [
            f"mwfs.coalesce({_shown(operand)}, default)" if type_.WhichOneof("kind") == "optional" else _shown(operand)
            for operand, type_ in zip(operands, types, strict=True)
        ]
        return f"say what stands for None: `{render(function, shown)}`"
    enums = [type_.enum for type_ in types if type_.WhichOneof("kind") == "enum"]
    if enums and function in (dag_pb2.FUNCTION_EQUAL, dag_pb2.FUNCTION_NOT_EQUAL):
        return f"compare with a member: `{enums[0].name.rpartition('.')[2]}.{enums[0].members[0]}`"
    return "compute it in an operator, and pass the futures to it"


def _types_of(operands: Sequence[Any], site: Site | None) -> list[types_pb2.Type]:
    """The type of each operand. What an empty list may hold is told by the other operands."""
    guessed = [guess(operand, site) for operand in operands]
    for index, type_ in enumerate(guessed):
        for other in guessed if not is_known(type_) else ():
            with suppress(BadOperands):
                guessed[index] = join(guessed[index], other)
    return [settled(type_, site) for type_ in guessed]


def _operand(graph: Graph, operand: Any, type_: types_pb2.Type) -> Binding:
    """The binding of an operand, with its type when nothing else would tell a server."""
    row = graph.type_index(type_)
    bound = bind(graph, operand, row)
    if isinstance(operand, Future) or type_.WhichOneof("kind") == "scalar":
        return bound
    return TYPED, graph.item_row(*bound), row


def _unusable(error: Mismatch, site: Site | None) -> Exception:
    from mwfs.structure.scopes import foreign_error

    if error.foreign:
        return foreign_error(error, "an operand", site)
    return BadOperation(
        "an operand cannot be kept", site=site, expected=error.expected, found=error.found, fix=error.fix
    )


def _graph_of(operands: Sequence[Any]) -> Graph:
    """Where the result belongs: what is being compiled. So an expression in a branch is computed, and may fail, in that branch."""
    graph = active_graph.get()
    if graph is not None:
        return graph
    flat = [one for operand in operands for one in (operand if isinstance(operand, list) else [operand])]
    return next(one._graph for one in flat if isinstance(one, Future))


def _shown(operand: Any) -> str:
    if isinstance(operand, Future):
        return "…"
    if _holds_future(operand):
        return "[…]" if isinstance(operand, list) else "(…)" if isinstance(operand, tuple) else "{…}"
    return repr(operand)[:30]


def _found(operand: Any, type_: Any) -> str:
    return operand._graph.describe_future(operand) if isinstance(operand, Future) else describe(type_)


def item_of(future: Future, key: Any) -> Any:
    """`future[key]`: of a tuple, list, string or dict, those of a TypedDict included."""
    graph = future._graph
    kind = graph.types[future._type]
    shape = kind.WhichOneof("kind")
    if isinstance(key, slice):
        bounds = (key.start, key.stop, key.step)
        if shape == "tuple":
            if any(isinstance(bound, Future) for bound in bounds):
                misused(future, "cut at a place that is not known", "cut a tuple at known places")
            return tuple(future[index] for index in range(len(kind.tuple.items))[key])
        return lift(dag_pb2.FUNCTION_SLICE, future, *bounds)
    if shape == "tuple":
        if isinstance(key, bool) or not isinstance(key, int):
            misused(future, "indexed by something else than a known number", "index a tuple by a number: `pair[0]`")
        count = len(kind.tuple.items)
        if not -count <= key < count:
            raise _no_item(future, key, f"a place from 0 to {count - 1}", "take an item that the tuple has")
        row = graph.item_row(*graph.binding_of(future))
        return Future(graph, FIELD, row, key % count, graph.type_index(kind.tuple.items[key % count]))
    if shape == "map":
        return lift(dag_pb2.FUNCTION_ENTRY, future, key)
    if shape == "record":
        return _field_at(future, kind, key)
    if shape == "list" or kind.scalar:
        return lift(dag_pb2.FUNCTION_ELEMENT, future, key)
    return misused(future, "indexed", "take the element inside an operator, or name the field: `.field`")


def _field_at(future: Future, kind: types_pb2.Type, key: Any) -> Any:
    """`future[key]` of a record: the value of a key of a TypedDict, a field of a NamedTuple by its place."""
    names = [field.name for field in kind.record.fields]
    if kind.record.is_dict and isinstance(key, str):
        if key not in names:
            near = nearest_name(key, names)
            fix = f'write `["{near}"]`' if near else "add it to the TypedDict"
            raise _no_item(future, key, f"one of {', '.join(map(repr, names))}", fix)
        return future._graph.field(future, key)
    fields = None if isinstance(key, bool) else future._graph.fields_of_tuple(future)
    if fields is not None and isinstance(key, (int, slice)):
        if isinstance(key, int) and not -len(fields) <= key < len(fields):
            raise _no_item(future, key, f"a place from 0 to {len(fields) - 1}", "name the field that you need")
        return tuple(fields)[key]
    fix = f"write `.{key}`" if key in names else f"name the field that you need: `.{names[0]}`"
    return misused(future, "indexed", fix)


def _no_item(future: Future, key: object, expected: str, fix: str) -> UndeclaredOutput:
    return UndeclaredOutput(
        f"`[{key!r}]` is not in {future._graph.describe_origin(future)}",
        site=site_of_frame(calling_user_frame()),
        expected=expected,
        found=f"`[{key!r}]` of {future._graph.describe_future(future)}",
        fix=fix,
    )


def _is_lifted(*values: Any) -> bool:
    return any(isinstance(value, Future) for value in values)


def _holds_future(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and any(isinstance(one, Future) for one in value)


def select(condition: bool, if_true: T, if_false: U) -> T | U:
    """One of two values that are there anyway; use `mwfs.when` when only one of them should be computed."""
    if _is_lifted(condition, if_true, if_false):
        if isinstance(condition, bool):
            return if_true if condition else if_false
        return cast("T | U", lift(dag_pb2.FUNCTION_SELECT, condition, if_true, if_false))
    return if_true if condition else if_false


def coalesce(value: T | None, default: U) -> T | U:
    """The value, or the default when it is None."""
    if _is_lifted(value):
        return cast("T | U", lift(dag_pb2.FUNCTION_COALESCE, value, default))
    return default if value is None else value


def is_none(value: object) -> bool:
    """Whether a value is None; `future is None` cannot ask the future."""
    if _is_lifted(value):
        return cast(bool, lift(dag_pb2.FUNCTION_IS_NONE, value))
    return value is None


def length(values: Sized) -> int:
    """How many elements a list, dict or string has."""
    if _is_lifted(values) and not _is_tuple(values):
        return cast(int, lift(dag_pb2.FUNCTION_LENGTH, values))
    return len(values)


def _is_tuple(value: Any) -> bool:
    return isinstance(value, Future) and value._graph.types[value._type].WhichOneof("kind") == "tuple"


def contains(values: Sequence[Any] | Mapping[str, Any] | str, value: Any) -> bool:
    """Whether a list holds a value, a dict a key, or a text another one."""
    if _is_lifted(values, value) or _holds_future(values):
        return cast(bool, lift(dag_pb2.FUNCTION_CONTAINS, values, value))
    return value in values


def all_of(*conditions: bool) -> bool:
    """Whether all conditions hold. All are computed."""
    return _joined(dag_pb2.FUNCTION_AND, True, conditions)


def any_of(*conditions: bool) -> bool:
    """Whether one of the conditions holds. All are computed."""
    return _joined(dag_pb2.FUNCTION_OR, False, conditions)


def _joined(function: int, empty: bool, conditions: tuple[bool, ...]) -> bool:
    result: Any = empty
    for index, condition in enumerate(conditions):
        if not index:
            # One condition is no operation, but it is a condition all the same.
            sure = not isinstance(condition, Future) or _is_bool(condition)
            result = condition if sure else lift(function, condition, empty)
        elif _is_lifted(result, condition):
            result = lift(function, result, condition)
        else:
            result = (result and condition) if empty else (result or condition)
    return cast(bool, result)


def _is_bool(future: Future) -> bool:
    return future._graph.types[future._type].scalar == types_pb2.SCALAR_KIND_BOOL


def not_(condition: bool) -> bool:
    """The opposite of a condition."""
    return cast(bool, lift(dag_pb2.FUNCTION_NOT, condition)) if _is_lifted(condition) else not condition


def smallest(values: Sequence[T]) -> T:
    """The smallest of a list of numbers or strings; an empty list fails."""
    if _is_lifted(values) or _holds_future(values):
        return cast(T, lift(dag_pb2.FUNCTION_MINIMUM, _as_list(values)))
    return cast(T, min(cast("Sequence[Any]", values)))


def largest(values: Sequence[T]) -> T:
    """The largest of a list of numbers or strings; an empty list fails."""
    if _is_lifted(values) or _holds_future(values):
        return cast(T, lift(dag_pb2.FUNCTION_MAXIMUM, _as_list(values)))
    return cast(T, max(cast("Sequence[Any]", values)))


@overload
def total(values: Sequence[int]) -> int: ...


@overload
def total(values: Sequence[float]) -> float: ...


def total(values: Sequence[float]) -> float:
    """The sum of a list of numbers."""
    if _is_lifted(values) or _holds_future(values):
        return cast(float, lift(dag_pb2.FUNCTION_SUM, _as_list(values)))
    return sum(values)


def _as_list(values: Any) -> Any:
    return list(values) if isinstance(values, tuple) or _is_tuple(values) else values


def flatten(values: Sequence[Sequence[T]]) -> list[T]:
    """One list of the elements of several."""
    if _is_lifted(values):
        return cast("list[T]", lift(dag_pb2.FUNCTION_FLATTEN, values))
    if _holds_future(values):
        return cast("list[T]", lift(dag_pb2.FUNCTION_FLATTEN, list(values)))
    return [element for inner in values for element in inner]


def as_float(value: float | str) -> float:
    """A number, bool or text as a float."""
    return cast(float, lift(dag_pb2.FUNCTION_TO_FLOAT, value)) if _is_lifted(value) else float(value)


def as_int(value: float | str) -> int:
    """A number, bool or text as an int; fractions are cut."""
    return cast(int, lift(dag_pb2.FUNCTION_TO_INT, value)) if _is_lifted(value) else int(value)


def as_text(value: float | str) -> str:
    """A number, bool or text as a text."""
    return cast(str, lift(dag_pb2.FUNCTION_TO_TEXT, value)) if _is_lifted(value) else str(value)


def keys(values: Mapping[str, Any]) -> list[str]:
    """The keys of a dict, sorted."""
    return cast("list[str]", lift(dag_pb2.FUNCTION_KEYS, values)) if _is_lifted(values) else sorted(values)


def values(entries: Mapping[str, T]) -> list[T]:
    """The values of a dict, in the order of its sorted keys."""
    if _is_lifted(entries):
        return cast("list[T]", lift(dag_pb2.FUNCTION_VALUES, entries))
    return [entries[key] for key in sorted(entries)]


def entries(entries: Mapping[str, T]) -> list[tuple[str, T]]:
    """The (key, value) pairs of a dict, sorted by key."""
    if _is_lifted(entries):
        return cast("list[tuple[str, T]]", lift(dag_pb2.FUNCTION_ENTRIES, entries))
    return sorted(entries.items(), key=lambda pair: pair[0])
