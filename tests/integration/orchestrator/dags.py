"""Small Dags of integer operators, built by hand: the orchestrator is tested without the SDK."""

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2

WORKFLOW = "sample:run"
INT = types_pb2.Type(scalar=types_pb2.SCALAR_KIND_INT)
INTS = types_pb2.Type(list=types_pb2.ListType(item=INT))


def layered(*needs: list[int], attempts: int = 1) -> dag_pb2.Dag:
    """Node i takes the results of the nodes `needs[i]` as one list; the Dag's output is the last node's result."""
    dag = dag_pb2.Dag(format=1, workflow=WORKFLOW, types=[INT, INTS], files=["sample.py"])
    dag.location_file.append(0)
    dag.location_line.append(7)
    operator = dag.operators.add(module="sample", qualname="total")
    operator.parameters.add(name="xs", type=1)
    operator.outputs.add(name="result", type=0)
    operator.resources.cpu_millis = 1000
    operator.retry.attempts = attempts
    for sources in needs:
        dag.node_operator.append(0)
        dag.node_location.append(0)
        dag.arguments.kind.append(dag_pb2.BINDING_KIND_LIST)
        dag.arguments.a.append(len(dag.items.kind))
        dag.arguments.b.append(len(sources))
        for source in sources:
            _item(dag, source)
    dag.outputs.add(name="result", type=0, item=len(dag.items.kind))
    _item(dag, len(needs) - 1)
    return dag


def _item(dag: dag_pb2.Dag, node: int) -> None:
    dag.items.kind.append(dag_pb2.BINDING_KIND_OUTPUT)
    dag.items.a.append(node)
    dag.items.b.append(0)


def fanout(size: int, attempts: int = 1) -> dag_pb2.Dag:
    """1 → size → 1."""
    return layered([], *([0] for _ in range(size)), list(range(1, size + 1)), attempts=attempts)


def chain(size: int) -> dag_pb2.Dag:
    return layered([], *([node] for node in range(size - 1)))
