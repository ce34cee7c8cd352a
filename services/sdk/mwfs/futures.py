"""What an operator call returns while a workflow is compiled: a typed promise that knows where its value will come from."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from mwfs.errors import FutureAsValue
from mwfs.locations import calling_user_frame, is_library, is_ours, site_of_frame
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2

if TYPE_CHECKING:
    from mwfs.graph import Graph, OperatorRow

#: What to write instead; or what reads that from the user's expression.
Fix = str | Callable[[FrameType | None, types_pb2.Type], str]


class Future:
    """A value that will exist when the run has computed it.

    There is one Future an operator call, so it is kept to five slots; all that can be asked of it is in the graph.
    It has no public methods, because every name belongs to the fields of its record.
    """

    __slots__ = ("_a", "_b", "_graph", "_kind", "_type")

    def __init__(self, graph: Graph, kind: int, a: int, b: int, type_index: int) -> None:
        self._graph = graph
        # A binding: kind, a and b as in dag.proto.
        self._kind = kind
        self._a = a
        self._b = b
        self._type = type_index

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"a Future has no attribute {name!r}")
        return self._graph.field_of(self, name)

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What `isinstance` and `match` of the user's code see: the class that the value will have. Everybody else sees a Future."""
        frame: FrameType | None = sys._getframe(1)
        if frame is not None and frame.f_globals.get("__name__") == "abc":
            frame = frame.f_back
        if frame is None or is_ours(frame.f_code.co_filename) or is_library(frame.f_code.co_filename):
            return type(self)
        from mwfs.record_members import class_of_value

        found = class_of_value(self)
        if found is None:
            misused(self, "asked for its class (isinstance() or match)", "decide by its type inside an operator")
        return found

    def __setattr__(self, name: str, value: object) -> None:
        if name in Future.__slots__ or name in type(self).__slots__:
            object.__setattr__(self, name, value)
            return
        raise FutureAsValue(
            f"`.{name}` of a future was assigned to; a future cannot be changed",
            site=site_of_frame(calling_user_frame()),
            found=self._graph.describe_future(self),
            fix="return the changed value from an operator",
        )

    def __getitem__(self, key: Any) -> Any:
        from mwfs.lifted import item_of

        return item_of(self, key)

    def __iter__(self) -> Iterator[Any]:
        fields = self._graph.fields_of_tuple(self)
        if fields is not None:
            return iter(fields)
        return iter([self[index] for index in range(self._width("iterated over", _LOOP))])

    def __len__(self) -> int:
        return self._width("measured with len()", "write `mwfs.length(…)`, which is a future of the length")

    def _width(self, how: str, fix: Fix) -> int:
        """How many items a tuple has; anything else has no length until the run."""
        fields = self._graph.fields_of_tuple(self)
        if fields is not None:
            return len(fields)
        kind = self._graph.types[self._type]
        if kind.WhichOneof("kind") != "tuple":
            misused(self, how, fix)
        return len(kind.tuple.items)

    def __round__(self, digits: Any = None) -> Any:
        return _lifted(dag_pb2.FUNCTION_ROUND, self, digits)

    def __repr__(self) -> str:
        return f"<Future of {self._graph.describe_future(self)}>"

    def __copy__(self) -> Future:
        return self

    def __deepcopy__(self, memo: object) -> Future:
        return self


class RecordFuture(Future):
    """The result of an operator with named outputs; each is an attribute. A NamedTuple also unpacks."""

    __slots__ = ("_row",)

    def __init__(self, graph: Graph, node: int, row: OperatorRow) -> None:
        super().__init__(graph, 0, node, 0, row.return_type)
        self._row = row

    def __getattr__(self, name: str) -> Any:
        row: OperatorRow = self._row
        index = row.output_index.get(name)
        if index is None:
            if name.startswith("__"):
                raise AttributeError(f"a Future has no attribute {name!r}")
            from mwfs.record_members import member_of

            return member_of(self, row.signature.record, name)
        return row.output_future(self._graph, self._a, index)

    def __iter__(self) -> Iterator[Any]:
        if not self._row.is_tuple:
            misused(self, "iterated over", "name the outputs that you need: `parts.train`")
        row = self._row
        return iter([row.output_future(self._graph, self._a, index) for index in range(len(row.outputs))])

    def __len__(self) -> int:
        if not self._row.is_tuple:
            misused(self, "measured with len()", "compute it in an operator that returns the length")
        return len(self._row.outputs)


def misused(future: Future, how: str, fix: Fix) -> NoReturn:
    """Raises the error of using a future as a value."""
    frame = calling_user_frame()
    if not isinstance(fix, str):
        fix = fix(frame, future._graph.types[future._type])
    raise FutureAsValue(
        f"a future was {how}, but it has no value until the run",
        site=site_of_frame(frame),
        expected="a value",
        found=future._graph.describe_future(future),
        fix=fix,
    )


def _instead_of(kind: str) -> Fix:
    """A fix that is read from the user's own expression, once there is something to fix."""

    def read(frame: FrameType | None, of: types_pb2.Type) -> str:
        from mwfs import misuse_words

        words: str = getattr(misuse_words, f"instead_of_{kind}")(frame, of)
        return words

    return read


_COMPUTE = "compute it in an operator, and pass the future to it"
_LOOP = _instead_of("iteration")

#: Special method → (how the future was used, what to write instead).
_MISUSES: dict[str, tuple[str, Fix]] = {
    "__bool__": (
        "used as a condition (if, while, and, or, not, bool())",
        _instead_of("condition"),
    ),
    "__next__": ("advanced with next()", "take an element by its place: `…[0]`"),
    "__reversed__": ("reversed", "write `…[::-1]`"),
    "__contains__": ("searched with `in`", "write `mwfs.contains(…, value)`, which is a future of the answer"),
    "__setitem__": ("assigned to by index", "return the changed value from an operator"),
    "__delitem__": ("deleted from", "return the changed value from an operator"),
    "__format__": (
        "formatted (f-string or format())",
        "join texts by `+` and `mwfs.as_text(…)`, or format inside an operator",
    ),
    "__str__": (
        "turned into text (str() or print())",
        "write `mwfs.as_text(…)`; to look at the future itself, use repr()",
    ),
    "__bytes__": ("turned into bytes", _COMPUTE),
    "__hash__": (
        "used as a dict key or set element",
        "key by something known while compiling, such as an input; the future may be the dict's value",
    ),
    "__call__": ("called", "call an operator, and pass the future to it"),
    "__int__": ("turned into an int", "write `mwfs.as_int(…)`"),
    "__float__": ("turned into a float", "write `mwfs.as_float(…)`"),
    "__complex__": ("turned into a complex number", _COMPUTE),
    "__index__": ("used as an index, a count or in range()", _instead_of("index")),
    "__fspath__": ("used as a path", "open the file inside an operator that takes the future"),
    "__await__": ("awaited", "pass it to the operator that needs it; no waiting is needed"),
    "__aiter__": ("iterated over", _COMPUTE),
    "__enter__": ("used in `with`", _COMPUTE),
    "__exit__": ("used in `with`", _COMPUTE),
    "__reduce_ex__": ("pickled", "pass it to an operator as an argument"),
    **{
        f"__{prefix}{name}__": (f"used in arithmetic with `{sign}`", _COMPUTE)
        for name, sign in {"divmod": "divmod()", "matmul": "@", "lshift": "<<", "rshift": ">>"}.items()
        for prefix in ("", "r")
    },
    "__invert__": ("used in arithmetic with `~`", "write `mwfs.not_(…)` for the opposite of a condition"),
    **{
        f"__{name}__": (f"used in arithmetic with `{name}()`", "write `mwfs.as_int(…)` or `round(…)`")
        for name in ("trunc", "floor", "ceil")
    },
}

#: Special method → the function that it is lifted to.
_LIFTED: dict[str, int] = {
    "add": dag_pb2.FUNCTION_ADD,
    "sub": dag_pb2.FUNCTION_SUBTRACT,
    "mul": dag_pb2.FUNCTION_MULTIPLY,
    "truediv": dag_pb2.FUNCTION_DIVIDE,
    "floordiv": dag_pb2.FUNCTION_FLOOR_DIVIDE,
    "mod": dag_pb2.FUNCTION_MODULO,
    "pow": dag_pb2.FUNCTION_POWER,
    "and": dag_pb2.FUNCTION_AND,
    "or": dag_pb2.FUNCTION_OR,
    "xor": dag_pb2.FUNCTION_XOR,
}
#: Those whose operands keep their places: Python turns `1 < future` round by itself.
_ONE_WAY: dict[str, int] = {
    "eq": dag_pb2.FUNCTION_EQUAL,
    "ne": dag_pb2.FUNCTION_NOT_EQUAL,
    "lt": dag_pb2.FUNCTION_LESS,
    "le": dag_pb2.FUNCTION_LESS_EQUAL,
    "gt": dag_pb2.FUNCTION_GREATER,
    "ge": dag_pb2.FUNCTION_GREATER_EQUAL,
    "neg": dag_pb2.FUNCTION_NEGATE,
    "pos": dag_pb2.FUNCTION_POSITIVE,
    "abs": dag_pb2.FUNCTION_ABSOLUTE,
}


def _lifted(function: int, *operands: Any) -> Any:
    from mwfs.lifted import lift

    return lift(function, *operands)


def _lifting(function: int, *, turned: bool = False) -> Callable[..., Any]:
    def compute(self: Future, *operands: object) -> Any:
        return _lifted(function, *operands, self) if turned else _lifted(function, self, *operands)

    return compute


for _name, _function in (_LIFTED | _ONE_WAY).items():
    setattr(Future, f"__{_name}__", _lifting(_function))
for _name, _function in _LIFTED.items():
    setattr(Future, f"__r{_name}__", _lifting(_function, turned=True))


def _refusal(how: str, fix: Fix) -> Callable[..., Any]:
    def refuse(self: Future, *operands: object) -> Any:
        misused(self, how, fix)

    return refuse


for _name, (_how, _fix) in _MISUSES.items():
    setattr(Future, _name, _refusal(_how, _fix))
