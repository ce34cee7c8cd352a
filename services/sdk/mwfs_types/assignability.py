"""Whether a value of one type may be given where another is expected. The README has the table."""

from collections.abc import Callable

from mwfs_api.types.v1 import types_pb2
from mwfs_types.constraints import interval, plain_choice
from mwfs_types.limits import MAX_DEPTH
from mwfs_types.rendering import describe

Type = types_pb2.Type
#: Renders why a type does not fit. Only the reason that is shown is rendered: unions discard many.
Reason = Callable[[], str]

#: Comparisons that one question may take; only hostile unions of unions need more.
MAX_COMPARISONS = 100_000


class Budget:
    """Counts comparisons, so that types made to be slow to compare end in an answer all the same."""

    __slots__ = ("left",)

    def __init__(self, comparisons: int = MAX_COMPARISONS) -> None:
        self.left = comparisons


def is_assignable(source: Type, target: Type, *, budget: Budget | None = None) -> bool:
    """True when each value of `source` may be given where `target` is expected, up to constraints that are checked as it runs."""
    budget = budget or Budget()
    return _explain(source, target, budget, 0) is None and budget.left >= 0


def explain_mismatch(source: Type, target: Type, *, budget: Budget | None = None) -> str | None:
    """None when `source` is assignable to `target`, else the reason as one sentence without a full stop.

    Ranges, lengths and patterns of the target are checked when the value is there; here only what could never fit is refused.
    """
    budget = budget or Budget()
    reason = _explain(source, target, budget, 0)
    if budget.left < 0:
        return f"{describe(source)} and {describe(target)} are too complex to compare"
    return reason and reason()


def _explain(source: Type, target: Type, budget: Budget, depth: int) -> Reason | None:
    budget.left -= 1
    if budget.left < 0 or depth > 4 * MAX_DEPTH:
        budget.left = -1
        return lambda: "too complex to compare"
    have, want = source.WhichOneof("kind"), target.WhichOneof("kind")
    if have == "union":
        return next(filter(None, (_explain(arm, target, budget, depth + 1) for arm in source.union.arms)), None)
    if have == "optional":
        if not _takes_null(target):
            return lambda: f"{describe(source)} may be None, which {describe(target)} is not"
        return _explain(source.optional.item, target, budget, depth + 1)
    if want == "optional":
        if source.scalar == types_pb2.SCALAR_KIND_NULL:
            return None
        return _explain(source, target.optional.item, budget, depth + 1)
    if want == "union":
        return _explain_union(source, target, budget, depth)
    if have != want or have is None:
        return lambda: _different(source, target)
    if have == "scalar":
        return _explain_scalar(source, target)
    if have == "list":
        return _inside("the items do", _explain(source.list.item, target.list.item, budget, depth + 1)) or _disjoint(
            source, target
        )
    if have == "map":
        return _inside("the values do", _explain(source.map.value, target.map.value, budget, depth + 1))
    if have == "tuple":
        return _explain_tuple(source, target, budget, depth)
    if have == "enum":
        return _explain_enum(source, target)
    if have == "record":
        return _explain_record(source, target, budget, depth)
    return _explain_semantic(source, target, budget, depth)


def _takes_null(type_: Type) -> bool:
    return type_.WhichOneof("kind") == "optional" or type_.scalar == types_pb2.SCALAR_KIND_NULL


def _different(source: Type, target: Type) -> str:
    have, want = describe(source), describe(target)
    if have == want:
        have, want = describe(source, full=True), describe(target, full=True)
    return f"{have} is not {want}"


def _inside(where: str, reason: Reason | None) -> Reason | None:
    return reason and (lambda: f"{where} not fit: {reason()}")


def _argument(source: Type, target: Type, reason: Reason) -> Reason:
    return lambda: f"{describe(source)} is not {describe(target)}: {reason()}"


def _explain_union(source: Type, target: Type, budget: Budget, depth: int) -> Reason | None:
    for arm in target.union.arms:
        if _explain(source, arm, budget, depth + 1) is None:
            return None
    return lambda: f"{describe(source)} is none of {describe(target)}"


def _explain_scalar(source: Type, target: Type) -> Reason | None:
    have, want = source.scalar, target.scalar
    if have != want and (have, want) != (types_pb2.SCALAR_KIND_INT, types_pb2.SCALAR_KIND_FLOAT):
        return lambda: _different(source, target)
    return _disjoint(source, target)


def _disjoint(source: Type, target: Type) -> Reason | None:
    """Why no value of the source could meet the constraints of the target."""
    if not (source.HasField("constraints") and target.HasField("constraints")):
        return None
    have, want = source.constraints, target.constraints
    if have.unit and want.unit and have.unit != want.unit:
        return lambda: f"the unit {have.unit!r} is not {want.unit!r}"
    low, high = max(interval(have)[0], interval(want)[0]), min(interval(have)[1], interval(want)[1], key=_tightness)
    nothing_between = low[0] > high[0] or (low[0] == high[0] and (low[1] or high[1]))
    shortest = max(have.min_length, want.min_length)
    longest = [one.max_length for one in (have, want) if one.HasField("max_length")]
    choices = [{plain_choice(choice) for choice in one.choices} for one in (have, want) if one.choices]
    if nothing_between or any(shortest > limit for limit in longest) or (choices and not set.intersection(*choices)):
        return lambda: f"no value of {describe(source)} fits {describe(target)}"
    return None


def _tightness(bound: tuple[float, bool]) -> tuple[float, bool]:
    return bound[0], not bound[1]


def _explain_enum(source: Type, target: Type) -> Reason | None:
    if source.enum.name != target.enum.name:
        return lambda: _different(source, target)
    missing = set(source.enum.members) - set(target.enum.members)
    if missing:
        return lambda: f"{describe(target)} has no member {min(missing)}"
    return None


def _explain_tuple(source: Type, target: Type, budget: Budget, depth: int) -> Reason | None:
    have, want = source.tuple.items, target.tuple.items
    if len(have) != len(want):
        return lambda: f"a tuple of {len(have)} is not one of {len(want)}"
    for index, (mine, yours) in enumerate(zip(have, want, strict=True)):
        reason = _explain(mine, yours, budget, depth + 1)
        if reason:
            return _inside(f"item {index} does", reason)
    return None


def _explain_record(source: Type, target: Type, budget: Budget, depth: int) -> Reason | None:
    if source.record.name != target.record.name:
        return lambda: _different(source, target)
    have, want = source.record.fields, target.record.fields
    if [field.name for field in have] != [field.name for field in want]:
        return lambda: (
            f"{describe(source)} has other fields than {describe(target)}: it was changed, compile both sides again"
        )
    for mine, yours in zip(have, want, strict=True):
        reason = _explain(mine.type, yours.type, budget, depth + 1)
        if reason:
            return _inside(f"field {mine.name} does", reason)
    return None


def _explain_semantic(source: Type, target: Type, budget: Budget, depth: int) -> Reason | None:
    have, want = source.semantic, target.semantic
    if have.name != want.name:
        return lambda: _different(source, target)
    if have.version != want.version and all(have.version != one.version for one in want.reads):
        return lambda: _other_version(have, want)
    if not want.arguments:
        return None
    if len(have.arguments) != len(want.arguments):
        return lambda: _different(source, target)
    for mine, yours in zip(have.arguments, want.arguments, strict=True):
        # Both ways: a Model's input and output would need opposite directions, so arguments are the same or refused.
        reason = _explain(mine, yours, budget, depth + 1) or _explain(yours, mine, budget, depth + 1)
        if reason:
            return _argument(source, target, reason)
    return None


def _other_version(have: types_pb2.SemanticType, want: types_pb2.SemanticType) -> str:
    if have.version > want.version:
        return f"{have.name} version {have.version} is newer than version {want.version}"
    return f"{have.name} version {have.version} is older than version {want.version}, which does not read it"
