"""Failures that come from no operator, the same whoever makes them (`run_local`, the orchestrator, a worker), and a failure as a value."""

import builtins

from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.dag_functions import FunctionFailed


def failure_of_function(error: FunctionFailed, *, node: int = -1, file: str = "", line: int = 0) -> events_pb2.Failure:
    """`node` is the one that wanted the value, `file` and `line` where the user called it; node -1: an output of the run."""
    return events_pb2.Failure(
        kind=events_pb2.FAILURE_KIND_ARGUMENTS,
        error_type=error.error_type,
        message=error.message,
        next_step="Look at the values that it was given: they are the results of the nodes before it.",
        node=node,
        file=file,
        line=line,
        error_classes=_classes_of(error.error_type),
    )


def failure_of_output(error: FunctionFailed, dag: dag_pb2.Dag, output: dag_pb2.Output) -> events_pb2.Failure:
    """The failure of a lifted function whose value is an output of the run, at the line where the user returns it."""
    if not output.location:
        return failure_of_function(error)
    row = output.location - 1
    return failure_of_function(error, file=dag.files[dag.location_file[row]], line=dag.location_line[row])


def _classes_of(error_type: str) -> list[str]:
    found = getattr(builtins, error_type, None)
    if not isinstance(found, type) or not issubclass(found, BaseException):
        return []
    return [f"builtins.{base.__name__}" for base in found.__mro__ if base is not object]


def record_of(failure: events_pb2.Failure) -> types_pb2.Value:
    """The `mwfs.Failure` record that a fallback is given."""
    texts = [failure.error_type, failure.message, failure.file]
    fields = [
        *(types_pb2.Value(text=text) for text in texts),
        types_pb2.Value(integer=failure.line),
        types_pb2.Value(text=failure.traceback),
    ]
    return types_pb2.Value(record=types_pb2.RecordValue(fields=fields))


def cancelled_body() -> events_pb2.Failure:
    """What a TRY ends with whose body was cancelled: nobody waits for it any more."""
    return events_pb2.Failure(
        kind=events_pb2.FAILURE_KIND_CANCELLED, error_type="Cancelled", message="The body was cancelled.", node=-1
    )
