"""Copies of bodies as a Dag of their own: the nodes that a control node adds to a run.

A fragment refers to nothing outside itself: it has the rows of the tables that its bodies reach, under numbers of its own, and
values in place of parameters. Copying is the hot path of a wide map, so a body is taken apart once and then only shifted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.dag_values import CONSTANT, OUTPUT, PARAMETER, RECORD, TYPED, Binding

Value = types_pb2.Value


class _Template:
    """One body with the numbers of the fragment's tables."""

    __slots__ = ("arguments", "items", "locations", "operators", "order", "result", "result_type")

    def __init__(self, body: dag_pb2.Body, fragment: Fragment) -> None:
        self.operators = [fragment.operator(row) for row in body.node_operator]
        self.locations = [fragment.location(row) for row in body.node_location]
        self.arguments = [fragment.binding(*row) for row in _rows(body.arguments)]
        self.items = [fragment.binding(*row) for row in _rows(body.items)]
        self.order = list(zip(body.order_node, body.order_after, strict=True))
        self.result = body.result
        self.result_type = fragment.type(body.result_type)


def _rows(bindings: dag_pb2.Bindings) -> Iterable[Binding]:
    return zip(bindings.kind, bindings.a, bindings.b, strict=True)


class Fragment:
    """A Dag that is put together from copies of another Dag's bodies."""

    def __init__(self, dag: dag_pb2.Dag) -> None:
        self._source = dag
        self.dag = dag_pb2.Dag(format=dag.format, workflow=dag.workflow, bundle_digest=dag.bundle_digest)
        self._templates: dict[int, _Template] = {}
        self._types: dict[int, int] = {}
        self._operators: dict[int, int] = {}
        self._constants: dict[int, int] = {}
        self._locations: dict[int, int] = {}
        self._files: dict[int, int] = {}
        self._bodies: dict[int, int] = {}
        self._values: dict[bytes, int] = {}
        self._inputs: dict[tuple[int, int], int] = {}
        self._node_operator: list[int] = []
        self._node_location: list[int] = []
        self._arguments: list[Binding] = []
        self._items: list[Binding] = []
        self._outputs: list[tuple[int, int]] = []
        #: Nodes of instance i end before this row.
        self.instance_end: list[int] = []

    # Tables: the fragment's number of a row of the source.

    def type(self, row: int) -> int:
        number = self._types.get(row)
        if number is None:
            number = self._types[row] = len(self.dag.types)
            self.dag.types.append(self._source.types[row])
        return number

    def location(self, row: int) -> int:
        number = self._locations.get(row)
        if number is None:
            number = self._locations[row] = len(self.dag.location_file)
            file = self._source.location_file[row]
            if file not in self._files:
                self._files[file] = len(self.dag.files)
                self.dag.files.append(self._source.files[file])
            self.dag.location_file.append(self._files[file])
            self.dag.location_line.append(self._source.location_line[row])
        return number

    def operator(self, row: int) -> int:
        number = self._operators.get(row)
        if number is None:
            number = self._operators[row] = len(self.dag.operators)
            operator = self.dag.operators.add()
            operator.CopyFrom(self._source.operators[row])
            for parameter in operator.parameters:
                parameter.type = self.type(parameter.type)
            for output in operator.outputs:
                output.type = self.type(output.type)
            if operator.HasField("control"):
                control = operator.control
                for name in ("body", "condition", "otherwise", "cleanup"):
                    if getattr(control, name):
                        setattr(control, name, self._body(getattr(control, name) - 1) + 1)
                candidates = [self._body(row - 1) + 1 for row in control.candidates]
                del control.candidates[:]
                control.candidates.extend(candidates)
        return number

    def _body(self, row: int) -> int:
        number = self._bodies.get(row)
        if number is None:
            number = self._bodies[row] = len(self.dag.bodies)
            source = self._source.bodies[row]
            self.dag.bodies.add()
            body = dag_pb2.Body()
            body.CopyFrom(source)
            # A body may contain the call of itself: its number is known before what it reaches is copied.
            _replace(body.parameters, [self.type(one) for one in source.parameters])
            _replace(body.node_operator, [self.operator(one) for one in source.node_operator])
            _replace(body.node_location, [self.location(one) for one in source.node_location])
            for bindings in (body.arguments, body.items):
                moved = [self.binding(*one) for one in _rows(bindings)]
                _replace(bindings.a, [a for _, a, _ in moved])
                _replace(bindings.b, [b for _, _, b in moved])
            body.result_type = self.type(source.result_type)
            self.dag.bodies[number].CopyFrom(body)
        return number

    def constant(self, row: int) -> int:
        number = self._constants.get(row)
        if number is None:
            number = self._constants[row] = self._value(self._source.constants[row])
        return number

    def _value(self, value: Value) -> int:
        key = value.SerializeToString(deterministic=True)
        number = self._values.get(key)
        if number is None:
            number = self._values[key] = len(self.dag.constants)
            self.dag.constants.append(value)
        return number

    def binding(self, kind: int, a: int, b: int) -> Binding:
        """A binding of a body, with the fragment's numbers of constants and types."""
        if kind == TYPED:
            return kind, a, self.type(b)
        return (kind, self.constant(a), b) if kind == CONSTANT else (kind, a, b)

    # Instances.

    def given(self, value: Value, kind: int) -> Binding:
        """A value that is known, of the type that a row of the source's table gives."""
        key = self._value(value), self.type(kind)
        number = self._inputs.get(key)
        if number is None:
            number = self._inputs[key] = len(self._inputs)
        return PARAMETER, number, 0

    def add(self, body: int, arguments: Sequence[Binding]) -> Binding:
        """Copies a body with these arguments; gives where its result comes from. `body`: its row, plus one."""
        template = self._templates.get(body)
        if template is None:
            template = self._templates[body] = _Template(self._source.bodies[body - 1], self)
        node, item = len(self._node_operator), len(self._items)
        self._node_operator += template.operators
        self._node_location += template.locations
        for rows, copied in ((template.arguments, self._arguments), (template.items, self._items)):
            for kind, a, b in rows:
                if kind == OUTPUT:
                    copied.append((OUTPUT, a + node, b))
                elif kind == PARAMETER:
                    copied.append(arguments[a])
                elif kind == CONSTANT:
                    copied.append((CONSTANT, a, b))
                else:
                    copied.append((kind, a + item, b))
        for later, earlier in template.order:
            self.dag.order_node.append(later + node)
            self.dag.order_after.append(earlier + node)
        return self._items[item + template.result]

    def result_type(self, body: int) -> int:
        """The fragment's number of the type of a body's result. `body`: its row, plus one."""
        return self.type(self._source.bodies[body - 1].result_type)

    def pair(self, left: Binding, right: Binding) -> Binding:
        """A tuple of two."""
        self._items += (left, right)
        return RECORD, len(self._items) - 2, 2

    def pair_type(self, left: int, right: int) -> int:
        types = [self.dag.types[left], self.dag.types[right]]
        self.dag.types.append(types_pb2.Type(tuple=types_pb2.TupleType(items=types)))
        return len(self.dag.types) - 1

    def end_instance(self, result: Binding, kind: int) -> None:
        """What was added since the last instance is one; `kind`: the fragment's number of its result's type."""
        self._items.append(result)
        self._outputs.append((len(self._items) - 1, kind))
        self.instance_end.append(len(self._node_operator))

    def finish(self) -> dag_pb2.Dag:
        """The Dag, with one output an instance. Nothing may be added after."""
        dag = self.dag
        dag.inputs.extend(
            dag_pb2.Input(name=f"p{number}", type=kind, constant=constant)
            for (constant, kind), number in self._inputs.items()
        )
        dag.node_operator.extend(self._node_operator)
        dag.node_location.extend(self._node_location)
        for bindings, rows in ((dag.arguments, self._arguments), (dag.items, self._items)):
            if rows:
                kinds, firsts, seconds = zip(*rows, strict=True)
                bindings.kind.extend(kinds)
                bindings.a.extend(firsts)
                bindings.b.extend(seconds)
        dag.outputs.extend(
            dag_pb2.Output(name=f"r{index}", type=kind, item=item) for index, (item, kind) in enumerate(self._outputs)
        )
        return dag


def _replace(column: object, numbers: list[int]) -> None:
    del column[:]  # type: ignore[attr-defined]
    column.extend(numbers)  # type: ignore[attr-defined]
