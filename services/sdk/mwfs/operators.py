"""`@mwfs.operator`: a typed function that runs where the platform decides, or right here when called as a function."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import Any, ClassVar, Concatenate, Generic, ParamSpec, TypeVar, cast, overload

from mwfs.attempt_context import current_attempt, entered, plain_attempt
from mwfs.errors import ForeignFuture
from mwfs.failure_policies import OnFailure, check_policy, policy_number
from mwfs.futures import Future
from mwfs.graph import active_graph
from mwfs.locations import calling_user_frame, is_library, site_of_frame
from mwfs.resources import BadOption, Resources, Retry, seconds_of
from mwfs.signatures import Signature, check_decorated, import_name, read_signature
from mwfs_api.dags.v1 import dag_pb2
from mwfs_types.limits import MAX_PRIORITY, MAX_TIMEOUT_SECONDS

P = ParamSpec("P")
Q = ParamSpec("Q")
S = TypeVar("S")
R = TypeVar("R")

#: For every attempt, or by the number of the attempt, from 1.
AnyResources = Resources | Callable[[int], Resources]


_TIMEOUTS = ("timeout", "queue_timeout", "start_timeout", "heartbeat_timeout")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the platform runs an operator."""

    resources: Resources = field(default_factory=Resources)
    retry: Retry = field(default_factory=lambda: Retry(attempts=1))
    #: Seconds that one attempt may take; 0 means none, here and below.
    timeout: float = 0.0
    #: Seconds that a ready node may wait for its start.
    queue_timeout: float = 0.0
    #: Seconds from an attempt's arrival on its host to the beginning of its body.
    start_timeout: float = 0.0
    #: Seconds that the body may go on without `mwfs.heartbeat()`.
    heartbeat_timeout: float = 0.0
    #: Higher runs first inside its team.
    priority: int = 0
    #: An attempt may be stopped to make room for others.
    preemptible: bool = True
    #: Equal inputs give equal outputs, so results may be shared.
    pure: bool = False
    #: Results of pure operators may be taken from earlier runs.
    cache: bool = True
    #: The declared environment, such as "scikit-learn>=1.4": part of the key of cached results.
    requirements: tuple[str, ...] = ()
    #: Of attempts 2, 3, …; the last one is for all further ones.
    later_resources: tuple[Resources, ...] = ()
    #: What becomes of the rest of the run when the operator has failed for good. None: as the run says.
    on_failure: OnFailure | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.resources, Resources):
            raise BadOption(f"resources={self.resources!r} is not a Resources.", "Write resources=mwfs.Resources(…).")
        if not isinstance(self.retry, Retry):
            raise BadOption(f"retry={self.retry!r} is not a Retry.", "Write retry=mwfs.Retry(attempts=3), or retry=3.")
        if any(not isinstance(one, str) or not one or len(one) > 200 for one in self.requirements):
            raise BadOption(
                f"requirements={self.requirements!r} are not requirements.",
                'Write requirements=("scikit-learn>=1.4",).',
            )
        for name in _TIMEOUTS:
            seconds = getattr(self, name)
            if not 0 <= seconds <= MAX_TIMEOUT_SECONDS:
                raise BadOption(
                    f"{name}={seconds!r} is not a duration.", "Give seconds or a timedelta, at most 366 days."
                )
        check_policy(self.on_failure)
        if not isinstance(self.preemptible, bool):
            raise BadOption(f"preemptible={self.preemptible!r} is not True or False.", "Give one of them.")
        if isinstance(self.priority, bool) or not isinstance(self.priority, int) or abs(self.priority) > MAX_PRIORITY:
            raise BadOption(f"priority={self.priority!r} is not a priority.", "Give a whole number, at most a million.")


class Operator(Generic[P, R]):
    """A typed function. In a workflow a call gives a future of its result; anywhere else it runs the function."""

    __name__: str
    __qualname__: str
    #: Its body makes more of the graph (`mwfs.dynamic`).
    dynamic: ClassVar[bool] = False

    def __init__(self, function: Callable[P, R], options: Options) -> None:
        check_decorated(function, "operator")
        functools.update_wrapper(self, function)
        self.function = function
        self.options = options
        self.owner: type | None = None
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
        if current_attempt() is None:
            with entered(plain_attempt()):
                return self.function(*args, **kwargs)
        return self.function(*args, **kwargs)

    def __set_name__(self, owner: type, name: str) -> None:
        #: The class that it is a method of.
        self.owner = owner

    @overload
    def __get__(self, instance: None, owner: type) -> Operator[P, R]: ...

    @overload
    def __get__(self: Operator[Concatenate[S, Q], R], instance: S, owner: type | None = None) -> Callable[Q, R]: ...

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """As a method: the record that it is called on is its first argument."""
        if instance is None or not self._takes_self:
            return self
        return functools.partial(self, instance)

    @cached_property
    def _takes_self(self) -> bool:
        code = self.function.__code__
        return bool(code.co_argcount) and code.co_varnames[0] == "self"

    def __repr__(self) -> str:
        return f"<operator {self.ref}>"

    @property
    def fix_as_argument(self) -> str:
        """What to write when the operator itself is given where its result is meant."""
        return f"call it: `{self.__name__}(…)`"

    def __reduce__(self) -> str:
        return self.__qualname__

    @cached_property
    def signature(self) -> Signature:
        """Parameters and outputs. Raises BadDefinition."""
        return read_signature(self.function, f"operator `{self.__name__}`", self.owner)

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
        resources: AnyResources | None = None,
        retry: Retry | int | None = None,
        timeout: float | timedelta | None = None,
        queue_timeout: float | timedelta | None = None,
        start_timeout: float | timedelta | None = None,
        heartbeat_timeout: float | timedelta | None = None,
        priority: int | None = None,
        preemptible: bool | None = None,
        on_failure: OnFailure | None = None,
        cache: bool | None = None,
    ) -> Operator[P, R]:
        """The same operator with other options: `train.with_options(resources=mwfs.Resources(gpu=4))(data)`."""
        given: dict[str, Any] = {
            "retry": None if retry is None else _retry(retry),
            "timeout": None if timeout is None else seconds_of(timeout),
            "queue_timeout": None if queue_timeout is None else seconds_of(queue_timeout),
            "start_timeout": None if start_timeout is None else seconds_of(start_timeout),
            "heartbeat_timeout": None if heartbeat_timeout is None else seconds_of(heartbeat_timeout),
            "priority": priority,
            "preemptible": preemptible,
            "on_failure": on_failure,
            "cache": cache,
        }
        if resources is not None:
            attempts = (given["retry"] or self.options.retry).attempts
            given["resources"], given["later_resources"] = _resources(resources, attempts)
        changed = replace(self.options, **{name: value for name, value in given.items() if value is not None})
        other = type(self)(self.function, changed)
        other.definition, other.owner = self.definition, self.owner
        return other

    def after(self, *futures: Any) -> Callable[P, R]:
        """The operator, called only when these futures have succeeded: `load.after(migrated)(data)`."""
        from mwfs.structure.waiting import after

        waiting = after(*futures)

        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            with waiting:
                return self(*args, **kwargs)

        return call

    def to_proto(self, parameter_types: list[int], output_types: list[int]) -> dag_pb2.Operator:
        """The row of an operator table; types are indices into the Dag's types."""
        signature, options = self.signature, self.options
        source, code, environment = self._digests()
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
            queue_timeout_seconds=options.queue_timeout,
            start_timeout_seconds=options.start_timeout,
            heartbeat_timeout_seconds=options.heartbeat_timeout,
            failure_policy=policy_number(options.on_failure),
            priority=options.priority,
            not_preemptible=not options.preemptible,
            pure=options.pure,
            named_outputs=signature.record is not None,
            code_digest=code,
            environment_digest=environment,
            cached=options.pure and options.cache,
            later_resources=[one.to_proto() for one in options.later_resources],
            source_digest=source,
        )

    def _digests(self) -> tuple[str, str, str]:
        """Of its source, of all code that it reaches, and, when its results may be shared, of its environment."""
        from mwfs.code_closure import code_digest, environment_digest, source_digest

        source = self.definition.__dict__.get("_source")
        if source is None:
            source = self.definition.__dict__["_source"] = source_digest(self)
        return source, code_digest(self), environment_digest(self) if self.options.pure else ""


def _resources(given: AnyResources, attempts: int) -> tuple[Resources, tuple[Resources, ...]]:
    """Those of the first attempt, and those of later ones when they differ."""
    if isinstance(given, Resources) or not callable(given):
        later = given.of_later_attempts(attempts) if isinstance(given, Resources) else ()
        return given, later
    each = []
    for attempt in range(1, attempts + 1):
        one = given(attempt)
        if not isinstance(one, Resources):
            raise BadOption(
                f"resources gave {one!r} for attempt {attempt}.",
                'Write resources=lambda attempt: mwfs.Resources(memory=f"{2 * attempt}Gi").',
            )
        each.append(one)
    return each[0], tuple(each[1:])


def _retry(retry: Retry | int | None) -> Retry:
    if retry is None:
        return Retry(attempts=1)
    return Retry(attempts=retry) if isinstance(retry, int) else retry


@overload
def operator(function: Callable[P, R], /) -> Operator[P, R]: ...


@overload
def operator(
    *,
    resources: AnyResources | None = None,
    retry: Retry | int | None = None,
    timeout: float | timedelta | None = None,
    queue_timeout: float | timedelta | None = None,
    start_timeout: float | timedelta | None = None,
    heartbeat_timeout: float | timedelta | None = None,
    priority: int = 0,
    preemptible: bool = True,
    pure: bool = False,
    cache: bool = True,
    requirements: Sequence[str] = (),
    on_failure: OnFailure | None = None,
) -> Callable[[Callable[P, R]], Operator[P, R]]: ...


def operator(
    function: Callable[P, R] | None = None,
    /,
    *,
    resources: AnyResources | None = None,
    retry: Retry | int | None = None,
    timeout: float | timedelta | None = None,
    queue_timeout: float | timedelta | None = None,
    start_timeout: float | timedelta | None = None,
    heartbeat_timeout: float | timedelta | None = None,
    priority: int = 0,
    preemptible: bool = True,
    pure: bool = False,
    cache: bool = True,
    requirements: Sequence[str] = (),
    on_failure: OnFailure | None = None,
) -> Operator[P, R] | Callable[[Callable[P, R]], Operator[P, R]]:
    """Makes a typed function an operator. Works bare, `@mwfs.operator`, and called, `@mwfs.operator(retry=3)`.

    resources: what one attempt may use. retry: when a failed attempt is tried again (a number means attempts in all).
    timeout: seconds or a timedelta for one attempt. queue_timeout: for a ready node until it starts. start_timeout: for an attempt on its host until
    its body begins. heartbeat_timeout: for the body between two `mwfs.heartbeat()`. Whatever takes too long counts as a failed try. priority: higher runs first inside its team.
    preemptible: an attempt may be stopped to make room for others; False: never. pure: equal inputs give equal outputs, so results may be shared. on_failure: what becomes of the rest of the run when it has failed for good (`mwfs.failure_policies`).
    """
    if isinstance(function, staticmethod):
        function = function.__func__
    if function is not None and not callable(function):
        raise BadOption(f"@mwfs.operator was given {function!r}.", "Name its options: @mwfs.operator(resources=…).")
    tries = _retry(retry)
    first, later = _resources(Resources() if resources is None else resources, tries.attempts)
    options = Options(
        resources=first,
        later_resources=later,
        cache=cache,
        requirements=(requirements,) if isinstance(requirements, str) else tuple(requirements),
        retry=tries,
        timeout=0.0 if timeout is None else seconds_of(timeout),
        queue_timeout=0.0 if queue_timeout is None else seconds_of(queue_timeout),
        start_timeout=0.0 if start_timeout is None else seconds_of(start_timeout),
        heartbeat_timeout=0.0 if heartbeat_timeout is None else seconds_of(heartbeat_timeout),
        priority=priority,
        preemptible=preemptible,
        pure=pure,
        on_failure=on_failure,
    )
    if function is not None:
        return Operator(function, options)
    return lambda decorated: Operator(decorated.__func__ if isinstance(decorated, staticmethod) else decorated, options)
