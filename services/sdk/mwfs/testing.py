"""Asserts on compiled Dags, and preemptions, for unit tests of workflows that need no platform.

    dag = mwfs.compile(train, labeled="iris.csv", depths=[2, 4])
    testing.assert_nodes(dag, {"split": 1, "fit": 2, "best": 1})
    testing.assert_edge(dag, "split", "fit")

To run a workflow with operators replaced, see `mwfs.LocalRun`; to see that an operator goes on where a preemption stopped it, `preempted`. A failed assertion shows the lines of the Dag that it is about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from mwfs.dag import Dag, Node
from mwfs.local.preemptions import Preemption, planned
from mwfs.resources import Resources
from mwfs_types.annotations import type_of
from mwfs_types.rendering import describe

if TYPE_CHECKING:
    from mwfs.operators import Operator

    #: An operator as itself, as `module:qualname`, or by its own name.
    AnyOperator = Operator[..., Any] | str

_SHOWN = 20


def assert_nodes(dag: Dag, expected: Mapping[AnyOperator, int]) -> None:
    """The Dag calls these operators, each so often, and no others."""
    found = Counter(node.operator for node in dag.nodes)
    wanted: Counter[str] = Counter()
    for operator, count in expected.items():
        wanted[_ref(dag, operator)] += count
    if +found != +wanted:
        lines = [
            f"  {name}: expected {wanted[name]}, found {found[name]}"
            for name in sorted({*found, *wanted})
            if found[name] != wanted[name]
        ]
        raise AssertionError("\n".join(["the Dag calls other operators:", *lines, _shown(dag, dag.nodes)]))


def assert_edge(dag: Dag, source: AnyOperator, target: AnyOperator) -> None:
    """Some node of `target` needs a node of `source`, directly."""
    if not _edges(dag, source, target):
        nodes = _nodes(dag, target) or _nodes(dag, source)
        raise AssertionError(f"no node of `{_name(target)}` needs one of `{_name(source)}`:\n{_shown(dag, nodes)}")


def assert_no_edge(dag: Dag, source: AnyOperator, target: AnyOperator) -> None:
    """No node of `target` needs a node of `source` directly."""
    found = _edges(dag, source, target)
    if found:
        raise AssertionError(f"`{_name(target)}` needs `{_name(source)}`:\n{_shown(dag, found)}")


def assert_order(dag: Dag, earlier: AnyOperator, later: AnyOperator) -> None:
    """Every node of `later` starts only after all nodes of `earlier`, through whatever is between them."""
    behind: dict[int, set[int]] = {}
    for node in dag.nodes:
        behind[node.index] = set(node.depends_on).union(*(behind[one] for one in node.depends_on))
    first = {node.index for node in _nodes(dag, earlier)}
    wrong = [node for node in _nodes(dag, later) if not first <= behind[node.index]]
    if wrong or not first:
        raise AssertionError(
            f"`{_name(later)}` may start before `{_name(earlier)}`:\n{_shown(dag, wrong or dag.nodes)}"
        )


def assert_types(dag: Dag, operator: AnyOperator, *, returns: Any = None, **parameters: Any) -> None:
    """The operator takes and gives these types: `assert_types(dag, "fit", depth=int, returns=Model)`."""
    row = _row(dag, operator)
    types = dag.proto.types
    found = {parameter.name: describe(types[parameter.type]) for parameter in row.parameters}
    for name, annotation in parameters.items():
        expected = describe(type_of(annotation))
        if found.get(name) != expected:
            raise AssertionError(
                f"parameter `{name}` of `{_name(operator)}`: expected {expected}, found {found.get(name)}"
            )
    if returns is not None:
        expected_type = type_of(returns)
        outputs = [types[output.type] for output in row.outputs]
        expected_outputs = (
            [field.type for field in expected_type.record.fields] if row.named_outputs else [expected_type]
        )
        if outputs != expected_outputs:
            given = ", ".join(f"{output.name}: {describe(types[output.type])}" for output in row.outputs)
            raise AssertionError(f"`{_name(operator)}` gives {given}, expected {describe(expected_type)}")


def assert_resources(dag: Dag, operator: AnyOperator, expected: Resources) -> None:
    """Every call of the operator asks for these resources."""
    wanted = expected.to_proto()
    wrong = [node for node in _nodes(dag, operator) if node.resources != wanted]
    if wrong:
        found = str(wrong[0].resources).replace("\n", ", ").rstrip(", ")
        raise AssertionError(f"`{_name(operator)}` asks for {found or 'nothing'}, expected {expected}")


def assert_called_with(dag: Dag, operator: AnyOperator, **arguments: Any) -> None:
    """Some call of the operator has these constants as arguments."""
    shown = {name: repr(value) for name, value in arguments.items()}
    nodes = _nodes(dag, operator)
    if not any(shown.items() <= node.arguments.items() for node in nodes):
        listed = ", ".join(f"{name}={value}" for name, value in shown.items())
        raise AssertionError(f"`{_name(operator)}` is never called with {listed}:\n{_shown(dag, nodes)}")


def preempted(operator: Operator[..., Any], *, after: int = 1, times: int = 1) -> AbstractContextManager[Preemption]:
    """Inside, `run_local` asks attempts of the operator to make room, each once it has kept `after` checkpoints, until `times` of them have.

        with testing.preempted(train, after=3) as preemption:
            assert flow.run_local(epochs=5) == undisturbed
        assert len(preemption.preempted) == 1

    With `after=0` an attempt is asked before its body begins.
    """
    if after < 0 or times < 0:
        raise ValueError(f"after={after} and times={times} count something: neither may be negative.")
    return planned(Preemption(operator=operator.ref, after=after, times=times))


def _name(operator: AnyOperator) -> str:
    return operator if isinstance(operator, str) else operator.__name__


def _ref(dag: Dag, operator: AnyOperator) -> str:
    if not isinstance(operator, str):
        return operator.ref
    found = sorted({node.operator for node in dag.nodes if operator in (node.operator, node.name)})
    if len(found) > 1:
        raise AssertionError(f"`{operator}` is the name of several operators: {', '.join(found)}")
    return found[0] if found else operator


def _nodes(dag: Dag, operator: AnyOperator) -> list[Node]:
    return dag.nodes_of(operator)


def _row(dag: Dag, operator: AnyOperator) -> Any:
    ref = _ref(dag, operator)
    for row in dag.proto.operators:
        if f"{row.module}:{row.qualname}" == ref:
            return row
    raise AssertionError(f"the Dag does not call `{_name(operator)}`:\n{_shown(dag, dag.nodes)}")


def _edges(dag: Dag, source: AnyOperator, target: AnyOperator) -> list[Node]:
    sources = {node.index for node in _nodes(dag, source)}
    return [node for node in _nodes(dag, target) if sources & set(node.depends_on)]


def _shown(dag: Dag, nodes: Any) -> str:
    lines = [
        f"  [{node.index}] {node.name}({', '.join(f'{name}={value}' for name, value in node.arguments.items())})"
        f"  {node.file}:{node.line}"
        for node in list(nodes)[:_SHOWN]
    ]
    return "\n".join(lines) or "  (no such nodes)"
