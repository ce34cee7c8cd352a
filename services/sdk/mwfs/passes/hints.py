"""What helps an engine without changing the graph: which nodes may follow each other in the same room, and how far each is from the end."""

from __future__ import annotations

from collections.abc import Mapping

from mwfs.passes.rewriting import Columns
from mwfs_api.dags.v1 import dag_pb2
from mwfs_types.dag_values import FIELD

#: A node of more CPU than this is not cheap.
_CHEAP_CPU_MILLIS = 1000


def fuse(dag: dag_pb2.Dag) -> int:
    """Numbers chains of cheap nodes in `node_group`; gives how many nodes are in one."""
    del dag.node_group[:]
    cheap = [_is_cheap(operator) for operator in dag.operators]
    if not any(cheap):
        return 0
    columns = Columns(dag)
    count = len(columns.operators)
    order = columns.order()
    uses = [0] * count
    only: list[int] = [-1] * count
    for node in range(count):
        needs = {*columns.needs(columns.arguments_of(node)), *order.get(node, ())}
        for source in needs:
            uses[source] += 1
        if len(needs) == 1:
            only[node] = next(iter(needs))
    for source in columns.needs([(FIELD, output.item, 0) for output in dag.outputs]):
        uses[source] += 1
    group = [0] * count
    groups = 0
    for node, source in enumerate(only):
        if source < 0 or uses[source] != 1 or not (cheap[columns.operators[node]] and cheap[columns.operators[source]]):
            continue
        if not group[source]:
            groups += 1
            group[source] = groups
        group[node] = group[source]
    if groups:
        dag.node_group.extend(group)
    return sum(number > 0 for number in group)


def _is_cheap(operator: dag_pb2.Operator) -> bool:
    resources = operator.resources
    return (
        not operator.HasField("control")
        and resources.cpu_millis <= _CHEAP_CPU_MILLIS
        and not resources.gpus
        and not resources.custom
        and not resources.memory_bytes
    )


def rank(dag: dag_pb2.Dag, seconds: Mapping[str, float]) -> int:
    """Fills `node_rank` from how long each operator (`module:qualname`) took before; gives the length of the critical path, in milliseconds.

    Without history nothing is written, and neither when the run grows: nodes that are added are ranked by the engine, which counts nodes, and
    both are compared.
    """
    del dag.node_rank[:]
    if not seconds or not dag.node_operator or any(operator.HasField("control") for operator in dag.operators):
        return 0
    names = [f"{operator.module}:{operator.qualname}" for operator in dag.operators]
    known = sorted(seconds[name] for name in names if name in seconds)
    usual = known[len(known) // 2] if known else 0.001
    weights = [max(1, round(1000 * seconds.get(name, usual))) for name in names]
    columns = Columns(dag)
    order = columns.order()
    below = [0] * len(columns.operators)
    ranks = below[:]
    for node in range(len(below) - 1, -1, -1):
        ranks[node] = min(below[node] + weights[columns.operators[node]], 2**32 - 1)
        for source in {*columns.needs(columns.arguments_of(node)), *order.get(node, ())}:
            below[source] = max(below[source], ranks[node])
    dag.node_rank.extend(ranks)
    return max(ranks)
