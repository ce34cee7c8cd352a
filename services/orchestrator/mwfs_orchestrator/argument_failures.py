"""Why a node could not be called although everything before it succeeded. (pure)"""

from mwfs_api.events.v1 import events_pb2
from mwfs_types.dag_failures import failure_of_function
from mwfs_types.dag_functions import FunctionFailed

from .graph import Graph


def argument_failure(error: FunctionFailed, graph: Graph | None, node: int) -> events_pb2.Failure:
    """The failure of a lifted function, at the line where the user called the operator that wanted its value."""
    file, line = graph.source_of(node) if graph is not None else ("", 0)
    return failure_of_function(error, node=node, file=file, line=line)
