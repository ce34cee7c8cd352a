"""Dags that were checked before, by all but their constants: the next run of the same workflow has other inputs and little else."""

from collections import OrderedDict
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError

from mwfs_api.dags.v1 import dag_pb2
from mwfs_types.dag_check import check_dag, check_values
from mwfs_types.dag_fits import Looks
from mwfs_types.errors import BadDag

from .graph import Graph

#: Larger Dags are checked anew each time: there it is the nodes that cost, not the operators and types.
MAX_BYTES: Final = 64 * 1024
_MAX_KNOWN: Final = 256


class _Known(NamedTuple):
    graph: Graph
    looks: Looks


class KnownDags:
    """Believes Dags. Those that do not grow share the arrays of their graph with earlier ones."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    def check(self, data: bytes) -> Graph:
        """The graph of a Dag that has passed all checks. Raises BadDag."""
        dag = dag_pb2.Dag()
        try:
            dag.ParseFromString(data)
        except DecodeError as error:
            raise BadDag("the bytes are not a Dag message") from error
        if len(data) > MAX_BYTES:
            check_dag(dag)
            return Graph(dag)
        shape = dag_pb2.Dag()
        shape.CopyFrom(dag)
        del shape.constants[:]
        key = shape.SerializeToString(deterministic=True)
        known = self._known.get(key)
        if known is not None and check_values(dag, known.graph.dag, known.looks):
            self._known.move_to_end(key)
            return known.graph.with_constants_of(dag)
        looks = check_dag(dag)
        graph = Graph(dag)
        if not graph.control_operators and not graph.dynamic_operators:
            self._known[key] = _Known(graph, looks)
            if len(self._known) > _MAX_KNOWN:
                self._known.popitem(last=False)
        return graph
