"""What an operator call returns while a workflow is compiled: a typed promise that knows where its value will come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from mwfs.errors import FutureAsValue, UndeclaredOutput
from mwfs.locations import calling_user_frame, site_of_frame

if TYPE_CHECKING:
    from mwfs.graph import Graph, OperatorRow


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
            raise undeclared(self, name, list(row.output_index))
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

    def __getitem__(self, index: object) -> Any:
        if not self._row.is_tuple or not isinstance(index, (int, slice)) or isinstance(index, bool):
            misused(self, "indexed", "name the output that you need: `parts.train`")
        return tuple(self)[index]


def undeclared(future: Future, name: str, declared: list[str]) -> UndeclaredOutput:
    """The error of asking a future for something that its type does not have."""
    graph = future._graph
    near = _nearest(name, declared)
    return UndeclaredOutput(
        f"`.{name}` is not an output of {graph.describe_origin(future)}",
        site=site_of_frame(calling_user_frame()),
        expected=f"one of {', '.join(f'`{one}`' for one in declared)}" if declared else "no attribute at all",
        found=f"`.{name}`",
        fix=f"write `.{near}`" if near else "compute it in an operator and declare it as an output",
    )


def _nearest(name: str, declared: list[str]) -> str:
    import difflib

    return next(iter(difflib.get_close_matches(name, declared, n=1)), "")


def misused(future: Future, how: str, fix: str) -> NoReturn:
    """Raises the error of using a future as a value."""
    raise FutureAsValue(
        f"a future was {how}, but it has no value until the run",
        site=site_of_frame(calling_user_frame()),
        expected="a value",
        found=future._graph.describe_future(future),
        fix=fix,
    )


_COMPUTE = "compute it in an operator, and pass the future to it"
_DECIDE = "decide inside an operator that takes the future, or decide on an input of the workflow"

#: Special method → (how the future was used, what to write instead).
_MISUSES: dict[str, tuple[str, str]] = {
    "__bool__": ("used as a condition (if, while, and, or, not, bool())", _DECIDE),
    "__len__": ("measured with len()", "compute it in an operator that returns the length"),
    "__iter__": (
        "iterated over",
        "loop over an input of the workflow, or loop inside an operator that takes the future",
    ),
    "__next__": ("advanced with next()", _COMPUTE),
    "__reversed__": ("reversed", _COMPUTE),
    "__contains__": ("searched with `in`", _DECIDE),
    "__getitem__": ("indexed", "take the element inside an operator, or return it as a named output"),
    "__setitem__": ("assigned to by index", "return the changed value from an operator"),
    "__delitem__": ("deleted from", "return the changed value from an operator"),
    "__format__": ("formatted (f-string or format())", "format it inside an operator that takes the future"),
    "__str__": (
        "turned into text (str() or print())",
        "format it inside an operator; to look at the future itself, use repr()",
    ),
    "__bytes__": ("turned into bytes", _COMPUTE),
    "__hash__": (
        "used as a dict key or set element",
        "key by something known while compiling, such as an input; the future may be the dict's value",
    ),
    "__call__": ("called", "call an operator, and pass the future to it"),
    "__int__": ("turned into an int", _COMPUTE),
    "__float__": ("turned into a float", _COMPUTE),
    "__complex__": ("turned into a complex number", _COMPUTE),
    "__index__": (
        "used as an index, a count or in range()",
        "loop over an input of the workflow, or loop inside an operator that takes the future",
    ),
    "__fspath__": ("used as a path", "open the file inside an operator that takes the future"),
    "__await__": ("awaited", "pass it to the operator that needs it; no waiting is needed"),
    "__aiter__": ("iterated over", _COMPUTE),
    "__enter__": ("used in `with`", _COMPUTE),
    "__exit__": ("used in `with`", _COMPUTE),
    "__reduce_ex__": ("pickled", "pass it to an operator as an argument"),
    **{
        f"__{name}__": (f"compared with `{sign}`", _DECIDE)
        for name, sign in {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}.items()
    },
    **{
        f"__{prefix}{name}__": (f"used in arithmetic with `{sign}`", _COMPUTE)
        for name, sign in {
            "add": "+",
            "sub": "-",
            "mul": "*",
            "truediv": "/",
            "floordiv": "//",
            "mod": "%",
            "divmod": "divmod()",
            "pow": "**",
            "matmul": "@",
            "and": "&",
            "or": "|",
            "xor": "^",
            "lshift": "<<",
            "rshift": ">>",
        }.items()
        for prefix in ("", "r")
    },
    **{
        f"__{name}__": (f"used in arithmetic with `{sign}`", _COMPUTE)
        for name, sign in {
            "neg": "-",
            "pos": "+",
            "invert": "~",
            "abs": "abs()",
            "round": "round()",
            "trunc": "trunc()",
            "floor": "floor()",
            "ceil": "ceil()",
        }.items()
    },
}


def _refusal(how: str, fix: str) -> Callable[..., Any]:
    def refuse(self: Future, *operands: object) -> Any:
        misused(self, how, fix)

    return refuse


for _name, (_how, _fix) in _MISUSES.items():
    setattr(Future, _name, _refusal(_how, _fix))
