"""Dags for tests, without the SDK: `fanout(100)`, `chain(5)`, `diamond()`, or `DagBuilder` for other shapes.

Every value is an int. Operators are named `module:qualname`; the defaults need not exist unless the Dag is run.
"""

from collections.abc import Iterable

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2

INT = types_pb2.Type(scalar=types_pb2.SCALAR_KIND_INT)
INTS = types_pb2.Type(list=types_pb2.ListType(item=INT))

#: One int in, one int out.
ONE = "mwfs.bench.operators:increment"
#: A list of ints in, one int out.
MANY = "mwfs.bench.operators:total"

Row = tuple["dag_pb2.BindingKind.ValueType", int, int]


class DagBuilder:
    """Adds nodes one by one: `node = builder.node(ONE, builder.constant(1))`."""

    def __init__(self, workflow: str = "tests.flows:flow", *, bundle_digest: str = "") -> None:
        self.dag = dag_pb2.Dag(format=1, workflow=workflow, bundle_digest=bundle_digest)
        self._types: dict[bytes, int] = {}
        self._operators: dict[bytes, int] = {}
        self._constants: dict[bytes, int] = {}
        self.dag.files.append("tests/flows.py")

    def type(self, type_: types_pb2.Type) -> int:
        """The row of a type."""
        return self._row(self._types, self.dag.types, type_)

    def constant(self, value: int | types_pb2.Value) -> Row:
        """A binding to a constant."""
        made = types_pb2.Value(integer=value) if isinstance(value, int) else value
        return dag_pb2.BINDING_KIND_CONSTANT, self._row(self._constants, self.dag.constants, made), 0

    def operator(
        self,
        name: str,
        parameters: Iterable[types_pb2.Type] = (INT,),
        outputs: Iterable[types_pb2.Type] = (INT,),
        *,
        template: dag_pb2.Operator | None = None,
    ) -> int:
        """The row of an operator with parameters `x0, x1 …`; `template` gives its options, such as resources."""
        operator = dag_pb2.Operator()
        if template is not None:
            operator.CopyFrom(template)
        operator.module, _, operator.qualname = name.partition(":")
        for index, type_ in enumerate(parameters):
            operator.parameters.add(name=f"x{index}", type=self.type(type_))
        kinds = list(outputs)
        for index, type_ in enumerate(kinds):
            operator.outputs.add(name="result" if len(kinds) == 1 else f"y{index}", type=self.type(type_))
        operator.named_outputs = len(kinds) > 1
        return self._row(self._operators, self.dag.operators, operator)

    def node(self, operator: int | str, *arguments: Row, line: int = 0) -> Row:
        """Adds a node and gives the binding to its first output. A name means int parameters and one int output."""
        if isinstance(operator, str):
            operator = self.operator(operator, [INT] * len(arguments))
        dag = self.dag
        for row in arguments:
            _append(dag.arguments, row)
        dag.location_file.append(0)
        dag.location_line.append(line or len(dag.node_operator) + 1)
        dag.node_location.append(len(dag.node_operator))
        dag.node_operator.append(operator)
        return dag_pb2.BINDING_KIND_OUTPUT, len(dag.node_operator) - 1, 0

    def item(self, row: Row) -> int:
        """Adds a row to `items`."""
        _append(self.dag.items, row)
        return len(self.dag.items.kind) - 1

    def collection(self, kind: "dag_pb2.BindingKind.ValueType", elements: Iterable[Row]) -> Row:
        """A binding to a list, map or record of these rows."""
        first = len(self.dag.items.kind)
        for row in elements:
            _append(self.dag.items, row)
        return kind, first, len(self.dag.items.kind) - first

    def list(self, elements: Iterable[Row]) -> Row:
        """A binding to a list of these rows."""
        return self.collection(dag_pb2.BINDING_KIND_LIST, elements)

    def output(self, row: Row, name: str = "result", type_: types_pb2.Type = INT) -> dag_pb2.Dag:
        """Declares an output of the Dag, and gives the Dag."""
        self.dag.outputs.add(name=name, type=self.type(type_), item=self.item(row))
        return self.dag

    @staticmethod
    def _row(known: dict[bytes, int], table, message) -> int:  # type: ignore[no-untyped-def]
        key = message.SerializeToString(deterministic=True)
        if key not in known:
            known[key] = len(table)
            table.append(message)
        return known[key]


def _append(bindings: dag_pb2.Bindings, row: Row) -> None:
    bindings.kind.append(row[0])
    bindings.a.append(row[1])
    bindings.b.append(row[2])


def fanout(
    n: int, *, first: str = ONE, middle: str = ONE, last: str = MANY, template: dag_pb2.Operator | None = None
) -> dag_pb2.Dag:
    """1 → n → 1: n + 2 nodes. `last` takes a list of ints."""
    builder = DagBuilder()
    source = builder.node(builder.operator(first, template=template), builder.constant(0))
    each = builder.operator(middle, template=template)
    results = [builder.node(each, source) for _ in range(n)]
    return builder.output(builder.node(builder.operator(last, [INTS], template=template), builder.list(results)))


def chain(n: int, *, operator: str = ONE, template: dag_pb2.Operator | None = None) -> dag_pb2.Dag:
    """n nodes in a row, at least one."""
    builder = DagBuilder()
    row = builder.operator(operator, template=template)
    end = builder.node(row, builder.constant(0))
    for _ in range(n - 1):
        end = builder.node(row, end)
    return builder.output(end)


def diamond(
    *, top: str = ONE, left: str = ONE, right: str = ONE, bottom: str = "mwfs.bench.operators:add"
) -> dag_pb2.Dag:
    """Four nodes: 0 → 1 and 2 → 3. `bottom` takes two ints."""
    builder = DagBuilder()
    start = builder.node(top, builder.constant(1))
    return builder.output(builder.node(bottom, builder.node(left, start), builder.node(right, start)))
