"""`@mwfs.operator`: a typed function that runs where the platform decides, or right here when called as a function."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import Any, Generic, Literal, ParamSpec, TypeVar, cast, overload

from mwfs.errors import ForeignFuture
from mwfs.futures import Future
from mwfs.graph import active_graph
from mwfs.locations import calling_user_frame, is_library, site_of_frame
from mwfs.resources import BadOption, Resources, Retry, seconds_of
from mwfs.signatures import Signature, import_name, read_signature
from mwfs_api.dags.v1 import dag_pb2

P = ParamSpec("P")
R = TypeVar("R")

OnFailure = Literal["block_dependents", "cancel_run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the platform runs an operator."""

    resources: Resources = field(default_factory=Resources)
    retry: Retry = field(default_factory=lambda: Retry(attempts=1))
    #: Seconds; 0 means none.
    timeout: float = 0.0
    #: Higher runs first inside its team.
    priority: int = 0
    #: Equal inputs give equal outputs, so results may be shared.
    pure: bool = False
    #: What happens to the rest of the run when the operator has failed for good.
    on_failure: OnFailure = "block_dependents"

    def __post_init__(self) -> None:
        if not isinstance(self.resources, Resources):
            raise BadOption(f"resources={self.resources!r} is not a Resources.", "Write resources=mwfs.Resources(…).")
        if not isinstance(self.retry, Retry):
            raise BadOption(f"retry={self.retry!r} is not a Retry.", "Write retry=mwfs.Retry(attempts=3), or retry=3.")
        if not 0 <= self.timeout <= 366 * 86_400:
            raise BadOption(f"timeout={self.timeout!r} is not a duration.", "Give seconds or a timedelta.")
        if self.on_failure not in ("block_dependents", "cancel_run"):
            raise BadOption(f"on_failure={self.on_failure!r} is unknown.", 'Give "block_dependents" or "cancel_run".')
        if isinstance(self.priority, bool) or not isinstance(self.priority, int) or abs(self.priority) > 1_000_000:
            raise BadOption(f"priority={self.priority!r} is not a priority.", "Give a whole number, at most a million.")


class Operator(Generic[P, R]):
    """A typed function. In a workflow a call gives a future of its result; anywhere else it runs the function."""

    __name__: str
    __qualname__: str

    def __init__(self, function: Callable[P, R], options: Options) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.options = options
        #: The operator as it was defined; the same for all its `with_options`.
        self.definition: Operator[P, R] = self

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        graph = active_graph.get()
        if graph is not None:
            return cast(R, graph.call(self, args, kwargs, sys._getframe(1)))
        for value in (*args, *kwargs.values()):
            if isinstance(value, Future):
                frame = calling_user_frame()
                # On a thread there may be no frame of the user's: then the line that made the future.
                theirs = frame is not None and not is_library(frame.f_code.co_filename)
                raise ForeignFuture(
                    f"operator `{self.__name__}` was given a future outside of a workflow",
                    site=site_of_frame(frame) if theirs else value._graph.site_of(value),
                    expected="a value",
                    found=f"a future of `{value._graph.workflow}`: {value._graph.describe_future(value)}",
                    fix="call it inside the workflow's function, on the thread that compiles it",
                )
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<operator {self.ref}>"

    def __reduce__(self) -> str:
        return self.__qualname__

    @cached_property
    def signature(self) -> Signature:
        """Parameters and outputs. Raises BadDefinition."""
        return read_signature(self.function, f"operator `{self.__name__}`")

    @property
    def module(self) -> str:
        return import_name(self.function)[0]

    @property
    def qualname(self) -> str:
        return self.function.__qualname__

    @property
    def ref(self) -> str:
        """`module:qualname`, the name under which workers load it."""
        return ":".join(import_name(self.function))

    def with_options(
        self,
        *,
        resources: Resources | None = None,
        retry: Retry | int | None = None,
        timeout: float | timedelta | None = None,
        priority: int | None = None,
        on_failure: OnFailure | None = None,
    ) -> Operator[P, R]:
        """The same operator with other options: `train.with_options(resources=mwfs.Resources(gpu=4))(data)`."""
        given: dict[str, Any] = {
            "resources": resources,
            "retry": None if retry is None else _retry(retry),
            "timeout": None if timeout is None else seconds_of(timeout),
            "priority": priority,
            "on_failure": on_failure,
        }
        changed = replace(self.options, **{name: value for name, value in given.items() if value is not None})
        other = Operator(self.function, changed)
        other.definition = self.definition
        return other

    def to_proto(self, parameter_types: list[int], output_types: list[int]) -> dag_pb2.Operator:
        """The row of an operator table; types are indices into the Dag's types."""
        signature, options = self.signature, self.options
        return dag_pb2.Operator(
            module=self.module,
            qualname=self.qualname,
            parameters=[
                dag_pb2.Parameter(name=parameter.name, type=kind)
                for parameter, kind in zip(signature.parameters, parameter_types, strict=True)
            ],
            outputs=[
                dag_pb2.Output(name=output.name, type=kind)
                for output, kind in zip(signature.outputs, output_types, strict=True)
            ],
            resources=options.resources.to_proto(),
            retry=options.retry.to_proto(),
            timeout_seconds=options.timeout,
            failure_policy=(
                dag_pb2.FAILURE_POLICY_CANCEL_RUN
                if options.on_failure == "cancel_run"
                else dag_pb2.FAILURE_POLICY_BLOCK_DEPENDENTS
            ),
            priority=options.priority,
            pure=options.pure,
            named_outputs=signature.record is not None,
        )


def _retry(retry: Retry | int | None) -> Retry:
    if retry is None:
        return Retry(attempts=1)
    return Retry(attempts=retry) if isinstance(retry, int) else retry


@overload
def operator(function: Callable[P, R], /) -> Operator[P, R]: ...


@overload
def operator(
    *,
    resources: Resources | None = None,
    retry: Retry | int | None = None,
    timeout: float | timedelta | None = None,
    priority: int = 0,
    pure: bool = False,
    on_failure: OnFailure = "block_dependents",
) -> Callable[[Callable[P, R]], Operator[P, R]]: ...


def operator(
    function: Callable[P, R] | None = None,
    /,
    *,
    resources: Resources | None = None,
    retry: Retry | int | None = None,
    timeout: float | timedelta | None = None,
    priority: int = 0,
    pure: bool = False,
    on_failure: OnFailure = "block_dependents",
) -> Operator[P, R] | Callable[[Callable[P, R]], Operator[P, R]]:
    """Makes a typed function an operator. Works bare, `@mwfs.operator`, and called, `@mwfs.operator(retry=3)`.

    resources: what one attempt may use. retry: when a failed attempt is tried again (a number means attempts in all).
    timeout: seconds or a timedelta for one attempt. priority: higher runs first inside its team. pure: equal inputs give
    equal outputs, so results may be shared. on_failure: "block_dependents" lets independent nodes go on, "cancel_run" does not.
    """
    if function is not None and not callable(function):
        raise BadOption(f"@mwfs.operator was given {function!r}.", "Name its options: @mwfs.operator(resources=…).")
    options = Options(
        resources=Resources() if resources is None else resources,
        retry=_retry(retry),
        timeout=0.0 if timeout is None else seconds_of(timeout),
        priority=priority,
        pure=pure,
        on_failure=on_failure,
    )
    if function is not None:
        return Operator(function, options)
    return lambda decorated: Operator(decorated, options)
