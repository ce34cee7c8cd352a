"""A compiled Dag to look at, test, save and run: nodes, edges, and where each argument comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mwfs.artifacts import digest_of
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.dag_functions import render
from mwfs_types.dag_values import BoundValues, operand_rows
from mwfs_types.rendering import describe

if TYPE_CHECKING:
    from mwfs.artifacts import Store
    from mwfs.operators import Operator
    from mwfs.passes import Report
    from mwfs.workflows import Workflow

CONSTANT = int(dag_pb2.BINDING_KIND_CONSTANT)
OUTPUT = int(dag_pb2.BINDING_KIND_OUTPUT)
LIST = int(dag_pb2.BINDING_KIND_LIST)
MAP = int(dag_pb2.BINDING_KIND_MAP)
RECORD = int(dag_pb2.BINDING_KIND_RECORD)
FIELD = int(dag_pb2.BINDING_KIND_FIELD)
PARAMETER = int(dag_pb2.BINDING_KIND_PARAMETER)
APPLY = int(dag_pb2.BINDING_KIND_APPLY)
TYPED = int(dag_pb2.BINDING_KIND_TYPED)
#: Expressions are shown to this depth.
_SHOWN_DEPTH = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One operator call."""

    index: int
    #: `module:qualname`.
    operator: str
    #: Where the user called it.
    file: str
    line: int
    #: Parameter name → where its value comes from, as `describe` shows it.
    arguments: Mapping[str, str]
    #: Nodes that must have succeeded before it starts, ascending.
    depends_on: tuple[int, ...]
    resources: dag_pb2.Resources
    #: What the engine does in its place, such as "map"; empty for an ordinary operator.
    control: str = ""

    @property
    def name(self) -> str:
        """The operator's own name, without its module."""
        return self.operator.rpartition(":")[2]


class Dag:
    """What compiling a workflow gives. `proto` is the whole of it; the rest is for reading and running it here."""

    def __init__(
        self,
        proto: dag_pb2.Dag,
        *,
        workflow: Workflow[..., Any] | None = None,
        operators: tuple[Operator[..., Any] | None, ...] | None = None,
        local_files: Mapping[str, Path] | None = None,
        files: Store | None = None,
        report: Report | None = None,
    ) -> None:
        self.proto = proto
        #: The workflow that was compiled; None when the Dag was read from bytes.
        self.workflow = workflow
        #: The operators of the table, None for control operators; None when the Dag was read from bytes.
        self.operators = operators
        #: Files of this machine by digest: they must be uploaded before the Dag is submitted.
        self.local_files = dict(local_files or {})
        #: What the passes did; None when the Dag was read from bytes.
        self.report = report
        #: What the workflow was compiled with. Temporary files among `local_files` live as long as it.
        self.store = files

    @classmethod
    def from_bytes(cls, data: bytes) -> Dag:
        """A Dag that was serialised before, fully checked. Raises mwfs_types.dag_check.BadDag."""
        from mwfs_types.dag_check import check_dag

        proto = dag_pb2.Dag.FromString(data)
        check_dag(proto)
        return cls(proto)

    def serialize(self) -> bytes:
        """The same bytes for the same Dag."""
        return self.proto.SerializeToString(deterministic=True)

    @property
    def digest(self) -> str:
        """Digest of the serialised Dag: "sha256:…"."""
        return digest_of(self.serialize())

    @property
    def node_count(self) -> int:
        return len(self.proto.node_operator)

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Every node, in the order of the calls."""
        return tuple(self._nodes())

    @cached_property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """(from, to) for every node that needs another, each pair once."""
        return tuple((source, node.index) for node in self.nodes for source in node.depends_on)

    @property
    def outputs(self) -> dict[str, str]:
        """Name of each output → where its value comes from."""
        return {output.name: self._show_item(output.item) for output in self.proto.outputs}

    def nodes_of(self, operator: str | Operator[..., Any]) -> list[Node]:
        """The calls of one operator, given as itself, as `module:qualname` or by its own name."""
        wanted = operator if isinstance(operator, str) else operator.ref
        return [node for node in self.nodes if wanted in (node.operator, node.name)]

    def describe(self, limit: int = 200) -> str:
        """The Dag as text: a line a node, at most `limit` of them."""
        proto = self.proto
        lines = [f"{proto.workflow}: {self.node_count} nodes, {len(self.edges)} edges"]
        for given in proto.inputs:
            source = f"  from {given.source}" if given.source else ""
            shown = f"{describe(proto.types[given.type])} = {self._show_constant(given.constant)}"
            lines.append(f"  input {given.name}: {shown}{source}")
        for node in self.nodes[:limit]:
            arguments = ", ".join(f"{name}={source}" for name, source in node.arguments.items())
            lines.append(f"  [{node.index}] {node.name}({arguments})  {node.file}:{node.line}")
        if self.node_count > limit:
            lines.append(f"  … {self.node_count - limit} more")
        for output in proto.outputs:
            lines.append(
                f"  output {output.name}: {describe(proto.types[output.type])} = {self._show_item(output.item)}"
            )
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Dag of {self.proto.workflow}: {self.node_count} nodes>"

    def _nodes(self) -> Iterator[Node]:
        proto = self.proto
        kinds, firsts, seconds = proto.arguments.kind, proto.arguments.a, proto.arguments.b
        earlier: dict[int, list[int]] = {}
        for node, before in zip(proto.order_node, proto.order_after, strict=True):
            earlier.setdefault(node, []).append(before)
        row = 0
        for index, operator_index in enumerate(proto.node_operator):
            operator = proto.operators[operator_index]
            arguments: dict[str, str] = {}
            needed: set[int] = set(earlier.get(index, ()))
            for parameter in operator.parameters:
                binding = kinds[row], firsts[row], seconds[row]
                arguments[parameter.name] = self._show(*binding)
                needed |= self._needs(*binding)
                row += 1
            location = proto.node_location[index]
            yield Node(
                index=index,
                operator=f"{operator.module}:{operator.qualname}",
                file=proto.files[proto.location_file[location]],
                line=proto.location_line[location],
                arguments=arguments,
                depends_on=tuple(sorted(needed)),
                resources=operator.resources,
                control=_control_name(operator),
            )

    @cached_property
    def _bound(self) -> BoundValues:
        def unknown(node: int, output: int) -> types_pb2.Value:
            raise AssertionError("a Dag that is looked at has no results")

        return BoundValues(self.proto, unknown)

    def _needs(self, kind: int, first: int, second: int) -> frozenset[int]:
        """The nodes behind a binding."""
        if kind == OUTPUT:
            return frozenset((first,))
        if kind == CONSTANT:
            return frozenset()
        known = self._needed_by_items.get((kind, first, second))
        if known is None:
            known = self._needed_by_items[kind, first, second] = frozenset(self._bound.nodes(kind, first, second))
        return known

    @cached_property
    def _needed_by_items(self) -> dict[tuple[int, int, int], frozenset[int]]:
        return {}

    def _show(self, kind: int, first: int, second: int, depth: int = 0) -> str:
        if kind == CONSTANT:
            return self._show_constant(first)
        if kind == OUTPUT:
            operator = self.proto.operators[self.proto.node_operator[first]]
            return f"[{first}].{operator.outputs[second].name}" if operator.named_outputs else f"[{first}]"
        if kind == PARAMETER:
            return self.proto.inputs[first].name if first < len(self.proto.inputs) else f"p{first}"
        if depth > _SHOWN_DEPTH:
            return "…"
        if kind == FIELD:
            return f"{self._show_item(first, depth)}.{second}"
        if kind == TYPED:
            return self._show_item(first, depth)
        if kind == APPLY:
            return render(second, [self._show_operand(row, depth) for row in operand_rows(kind, first, second)])
        rows = list(range(first, first + second))
        shown = [self._show_item(row, depth) for row in rows[:8]]
        if kind == MAP:
            shown = [f"{key}: {value}" for key, value in zip(shown[::2], shown[1::2], strict=False)]
        if len(rows) > 8:
            shown.append(f"… {len(rows) - 8} more")
        opening, closing = {LIST: ("[", "]"), MAP: ("{", "}"), RECORD: ("(", ")")}[kind]
        return f"{opening}{', '.join(shown)}{closing}"

    def _show_item(self, row: int, depth: int = 0) -> str:
        items = self.proto.items
        return self._show(items.kind[row], items.a[row], items.b[row], depth + 1)

    def _show_operand(self, row: int, depth: int) -> str:
        shown = self._show_item(row, depth)
        return f"({shown})" if self.proto.items.kind[row] == APPLY and " " in shown else shown

    def _show_constant(self, index: int) -> str:
        return show_value(self.proto.constants[index])


def _control_name(operator: dag_pb2.Operator) -> str:
    if not operator.HasField("control"):
        return ""
    return dag_pb2.ControlKind.Name(operator.control.kind).removeprefix("CONTROL_KIND_").lower()


def show_value(value: types_pb2.Value) -> str:
    """A value in one short line."""
    kind = value.WhichOneof("kind")
    if kind in (None, "null"):
        return "None"
    if kind == "artifact":
        return value.artifact.file_name or f"{value.artifact.digest[:15]}…"
    if kind == "list":
        shown = ", ".join(show_value(item) for item in value.list.items[:8])
        return f"[{shown}{', …' if len(value.list.items) > 8 else ''}]"
    if kind == "map":
        pairs = list(zip(value.map.keys, value.map.values, strict=True))[:8]
        shown = ", ".join(f"{key!r}: {show_value(item)}" for key, item in pairs)
        return f"{{{shown}{', …' if len(value.map.keys) > 8 else ''}}}"
    if kind == "record":
        return f"({', '.join(show_value(field) for field in value.record.fields[:8])})"
    plain = getattr(value, kind or "null")
    text = str(plain) if kind == "member" else repr(plain)
    return text if len(text) <= 60 else f"{text[:57]}…"
