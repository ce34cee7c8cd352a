"""`@mwfs.dynamic`: a function that decides, when its inputs are known, which operators to call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from mwfs.failure_policies import OnFailure
from mwfs.operators import Operator, operator
from mwfs.resources import Resources, Retry
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.values import decode

if TYPE_CHECKING:
    from mwfs.artifacts import Store

P = ParamSpec("P")
R = TypeVar("R")


class DynamicOperator(Operator[P, R]):
    """Called like an operator; its body is a workflow's, which runs on a worker with the values and returns more of the graph."""

    dynamic = True

    def __repr__(self) -> str:
        return f"<dynamic operator {self.ref}>"

    def to_proto(self, parameter_types: list[int], output_types: list[int]) -> dag_pb2.Operator:
        row = super().to_proto(parameter_types, output_types)
        row.control.kind = dag_pb2.CONTROL_KIND_DYNAMIC
        return row


@overload
def dynamic(function: Callable[P, R], /) -> DynamicOperator[P, R]: ...


@overload
def dynamic(
    *,
    resources: Resources | None = None,
    retry: Retry | int | None = None,
    timeout: float | timedelta | None = None,
    queue_timeout: float | timedelta | None = None,
    start_timeout: float | timedelta | None = None,
    heartbeat_timeout: float | timedelta | None = None,
    priority: int = 0,
    preemptible: bool = True,
    on_failure: OnFailure | None = None,
) -> Callable[[Callable[P, R]], DynamicOperator[P, R]]: ...


def dynamic(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Makes a typed function a dynamic operator: called in a workflow like an operator, and given values.

    Its body may loop over them, decide by them and call operators; what it returns may hold futures. Nodes that it calls join the run.
    The options are those of `@mwfs.operator`, and are for the running of the body alone.
    """

    def decorate(decorated: Callable[..., Any]) -> DynamicOperator[..., Any]:
        plain = operator(**options)(decorated)
        return DynamicOperator(plain.function, plain.options)

    return decorate if function is None else decorate(function)


def compile_call(called: Operator[..., Any], arguments: Sequence[types_pb2.Value], store: Store) -> dag_pb2.Dag:
    """The Dag that one call of a dynamic operator gives; its outputs are the operator's. Raises CompileError."""
    from mwfs.compiler import compile_body_of

    signature = called.signature
    values = {
        parameter.name: decode(value, parameter.annotation, store)
        for parameter, value in zip(signature.parameters, arguments, strict=True)
    }
    return compile_body_of(called, values, store)
