"""Pure nodes that nothing needs are dropped. A node that is not pure may do something that only its author knows of, so it stays."""

from __future__ import annotations

from mwfs.passes.rewriting import Columns, without
from mwfs_api.dags.v1 import dag_pb2
from mwfs_types.dag_values import FIELD


def drop_dead(dag: dag_pb2.Dag) -> list[int]:
    """Removes the nodes; gives them, as they were numbered before."""
    pure = [operator.pure and not operator.HasField("control") for operator in dag.operators]
    if not any(pure):
        return []
    columns = Columns(dag)
    count = len(columns.operators)
    needed = [not pure[operator] for operator in columns.operators]
    for node in columns.needs([(FIELD, output.item, 0) for output in dag.outputs]):
        needed[node] = True
    order = columns.order()
    for node in range(count - 1, -1, -1):
        if needed[node]:
            for source in (*columns.needs(columns.arguments_of(node)), *order.get(node, ())):
                needed[source] = True
    dead = [node for node, keep in enumerate(needed) if not keep]
    if dead:
        without(columns, list(range(count)), needed)
    return dead
