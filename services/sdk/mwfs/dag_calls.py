"""The calls of a Dag as they can be compared with those of another Dag: by what is called on what, never by numbers of nodes or rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from mwfs.dag import Dag
from mwfs.passes.rewriting import Columns
from mwfs_api.dags.v1 import dag_pb2
from mwfs_types.dag_values import APPLY, CONSTANT, FIELD, OUTPUT, PARAMETER, Binding, operand_rows

#: What is equal for equal things, in whichever Dag they are.
Key = int


class Numbers:
    """One number for each thing that was ever named; shared by the Dags that are compared."""

    def __init__(self) -> None:
        self._numbers: dict[object, Key] = {}

    def of(self, *thing: object) -> Key:
        return self._numbers.setdefault(thing, len(self._numbers))


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One node, of the workflow itself or of a body."""

    node: int
    #: Row of the operator table.
    row: int
    #: The operator and what it is directly called on.
    key: Key
    #: The same, with constants that are inputs of the workflow known by the input's name.
    symbolic: Key
    #: The same, with everything that the arguments come from.
    deep: Key


class Section:
    """The nodes of a Dag, or of one of its bodies."""

    def __init__(self, calls: DagCalls, section: dag_pb2.Dag | dag_pb2.Body) -> None:
        self.calls = calls
        self.section = section
        self.columns = Columns(calls.proto, section if isinstance(section, dag_pb2.Body) else None)

    @cached_property
    def all(self) -> list[Call]:
        """Every node, in the order of the calls."""
        numbers, columns, operators = self.calls.numbers, self.columns, self.calls.operators
        order = columns.order()
        deep: list[Key] = []
        found = []
        rows: tuple[dict[int, Key], ...] = ({}, {}, {})
        for node, row in enumerate(columns.operators):
            arguments = columns.arguments_of(node)
            earlier = order.get(node, ())
            keys = []
            for way, known in enumerate(rows):
                sources = deep if way == 2 else None
                parts = [self._key(binding, known, sources, symbolic=way == 1) for binding in arguments]
                waits = sorted(deep[one] if way == 2 else operators[columns.operators[one]] for one in earlier)
                keys.append(numbers.of("call", operators[row], *parts, "after", *waits))
            deep.append(keys[2])
            found.append(Call(node=node, row=row, key=keys[0], symbolic=keys[1], deep=keys[2]))
        self._rows, self._deep = rows, deep
        return found

    def follows(self, call: Call, other: Section, theirs: Call) -> bool:
        """Whether two calls of one operator are the same but for constants that are the value of the same input on each side."""
        arguments, their_arguments = self.columns.arguments_of(call.node), other.columns.arguments_of(theirs.node)
        if len(arguments) != len(their_arguments):
            return False
        pairs = list(zip(arguments, their_arguments, strict=True))
        seen: set[tuple[Binding, Binding]] = set()
        while pairs:
            pair = pairs.pop()
            if pair in seen:
                continue
            seen.add(pair)
            (kind, a, b), (their_kind, their_a, their_b) = pair
            if kind != their_kind:
                return False
            rows, their_rows = operand_rows(kind, a, b), operand_rows(kind, their_a, their_b)
            if len(rows) != len(their_rows):
                return False
            pairs.extend(
                (self.columns.items[one], other.columns.items[two]) for one, two in zip(rows, their_rows, strict=True)
            )
            if kind == CONSTANT:
                mine, theirs_name = self.calls.inputs.get(a), other.calls.inputs.get(their_a)
                if self.calls.constant(a) != other.calls.constant(their_a) and (mine is None or mine != theirs_name):
                    return False
            elif (
                not rows
                and self._one((kind, a, b), {}, None, symbolic=False)
                != other._one((kind, their_a, their_b), {}, None, symbolic=False)
            ) or (kind in (APPLY, FIELD) and b != their_b):
                return False
        return True

    def result(self, row: int) -> tuple[Key, Key, Key]:
        """What a row of `items` is, in the three ways of a call."""
        _ = self.all
        binding = FIELD, row, -1
        exact, symbolic, deep = (
            self._key(binding, known, self._deep if way == 2 else None, symbolic=way == 1)
            for way, known in enumerate(self._rows)
        )
        return exact, symbolic, deep

    def _key(self, binding: Binding, known: dict[int, Key], deep: list[Key] | None, *, symbolic: bool) -> Key:
        if binding[0] not in (CONSTANT, OUTPUT, PARAMETER):
            for row in self.columns.rows_below([binding]):
                if row not in known:
                    known[row] = self._one(self.columns.items[row], known, deep, symbolic=symbolic)
        return self._one(binding, known, deep, symbolic=symbolic)

    def _one(self, binding: Binding, known: dict[int, Key], deep: list[Key] | None, *, symbolic: bool) -> Key:
        kind, a, b = binding
        numbers = self.calls.numbers
        if kind == CONSTANT and deep is not None and self.calls.only_edges:
            return numbers.of("constant")
        if kind == CONSTANT:
            name = self.calls.inputs.get(a) if symbolic else None
            return numbers.of("input", name) if name else numbers.of("constant", self.calls.constant(a))
        if kind == OUTPUT:
            source = self.calls.operators[self.columns.operators[a]] if deep is None else deep[a]
            return numbers.of("output", source, b)
        if kind == PARAMETER:
            return numbers.of("parameter", a)
        what = b if kind in (APPLY, FIELD) else 0
        return numbers.of(kind, what, *(known[row] for row in operand_rows(kind, a, b)))


class DagCalls:
    """All calls of a Dag: its own, and those of its bodies."""

    def __init__(self, dag: Dag, numbers: Numbers, *, only_edges: bool = False) -> None:
        """only_edges: constants do not count in what is deep below a call."""
        self.proto = dag.proto
        self.only_edges = only_edges
        self.numbers = numbers
        self.names = [f"{row.module}:{row.qualname}" for row in self.proto.operators]
        #: Constant → the input that it is the value of.
        self.inputs = {row.constant: row.name for row in self.proto.inputs}
        self._constants: dict[int, bytes] = {}
        self._shown = _ByName(self.proto)
        self.operators = [self._operator(row) for row in range(len(self.names))]
        self.base = Section(self, self.proto)
        self.bodies = [Section(self, body) for body in self.proto.bodies]

    def sections(self) -> Iterator[tuple[str, Section]]:
        """Each section under the name of what it belongs to; empty for the workflow itself."""
        yield "", self.base
        owners: dict[int, str] = {}
        for row in self.proto.operators:
            if row.HasField("control"):
                for body in bodies_of(row.control):
                    owners.setdefault(body, row.qualname)
        for index, section in enumerate(self.bodies):
            yield owners.get(index, self.proto.bodies[index].name), section

    def constant(self, index: int) -> bytes:
        found = self._constants.get(index)
        if found is None:
            value = self.proto.constants[index]
            found = self._constants[index] = value.SerializeToString(deterministic=True)
        return found

    def show(self, section: Section, call: Call) -> str:
        """`fit(depth=3, data=split.train)`."""
        return self._shown.call(section.section, call)

    def show_row(self, section: Section, row: int) -> str:
        return self._shown.row(section.section, row)

    def edges(self) -> set[tuple[str, str]]:
        """Which operators need results of which, in the workflow itself."""
        columns = self.base.columns
        order = columns.order()
        found: set[tuple[str, str]] = set()
        for node, row in enumerate(columns.operators):
            needs = {*columns.needs(columns.arguments_of(node)), *order.get(node, ())}
            found.update((self.names[columns.operators[one]], self.names[row]) for one in needs)
        return found

    def place(self, section: Section, call: Call) -> str:
        location = section.section.node_location[call.node]
        return f"{self.proto.files[self.proto.location_file[location]]}:{self.proto.location_line[location]}"

    def _operator(self, index: int) -> Key:
        """The operator and, of a control operator, what it does; its bodies are sections of their own."""
        row = self.proto.operators[index]
        if not row.HasField("control"):
            return self.numbers.of("operator", self.names[index])
        control = dag_pb2.Control()
        control.CopyFrom(row.control)
        for field in ("body", "condition", "otherwise", "cleanup"):
            setattr(control, field, int(bool(getattr(control, field))))
        control.candidates[:] = [0] * len(control.candidates)
        return self.numbers.of("operator", self.names[index], control.SerializeToString(deterministic=True))


class _ByName(Dag):
    """A Dag whose arguments are shown by the names of operators in place of numbers of nodes."""

    def __init__(self, proto: dag_pb2.Dag) -> None:
        super().__init__(proto)
        self._section: dag_pb2.Dag | dag_pb2.Body = proto

    def call(self, section: dag_pb2.Dag | dag_pb2.Body, call: Call) -> str:
        self._section = section
        row = self.proto.operators[call.row]
        start = sum(len(self.proto.operators[one].parameters) for one in section.node_operator[: call.node])
        columns = section.arguments
        shown = [
            f"{parameter.name}={self._show(columns.kind[start + i], columns.a[start + i], columns.b[start + i])}"
            for i, parameter in enumerate(row.parameters)
        ]
        return f"{row.qualname.rpartition('.')[2]}({', '.join(shown)})"

    def row(self, section: dag_pb2.Dag | dag_pb2.Body, row: int) -> str:
        self._section = section
        return self._show_item(row)

    def _show(self, kind: int, first: int, second: int, depth: int = 0) -> str:
        if kind == OUTPUT:
            row = self.proto.operators[self._section.node_operator[first]]
            name = row.qualname.rpartition(".")[2]
            return f"{name}.{row.outputs[second].name}" if row.named_outputs else name
        if kind == PARAMETER and self._section is not self.proto:
            return f"p{first}"
        return super()._show(kind, first, second, depth)

    def _show_operand(self, row: int, depth: int) -> str:
        shown = self._show_item(row, depth)
        return f"({shown})" if self._section.items.kind[row] == APPLY and " " in shown else shown

    def _show_item(self, row: int, depth: int = 0) -> str:
        items = self._section.items
        return self._show(items.kind[row], items.a[row], items.b[row], depth + 1)


def bodies_of(control: dag_pb2.Control) -> list[int]:
    """The bodies that a control operator may run."""
    rows = [control.body, control.condition, control.otherwise, control.cleanup, *control.candidates]
    return [row - 1 for row in rows if row]


__all__ = ["Call", "DagCalls", "Numbers", "Section", "bodies_of"]
