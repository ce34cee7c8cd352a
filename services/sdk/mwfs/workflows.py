"""`@mwfs.workflow`: a typed function that calls operators. Compiled, run here, or run as plain Python."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast, overload

from mwfs.failure_policies import OnFailure, run_options
from mwfs.graph import active_graph
from mwfs.resources import BadOption
from mwfs.signatures import Output, Parameter, Signature, check_decorated, import_name, read_signature
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.types.v1 import types_pb2

if TYPE_CHECKING:
    from mwfs.dag import Dag

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowInput:
    """One input of a workflow, as forms, flags and registrations need it."""

    name: str
    type: types_pb2.Type
    #: None: the input is required.
    default: types_pb2.Value | None
    doc: str


class Workflow(Generic[P, R]):
    """A typed function whose body calls operators."""

    __name__: str
    __qualname__: str

    def __init__(self, function: Callable[P, R], options: dag_pb2.RunOptions | None = None) -> None:
        check_decorated(function, "workflow")
        functools.update_wrapper(self, function)
        self.function = function
        #: How its runs go about their nodes; a submission may say otherwise.
        self.options = options or dag_pb2.RunOptions()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs the body: as plain Python outside of compiling, as a part of the calling workflow inside."""
        graph = active_graph.get()
        if graph is None:
            return self.function(*args, **kwargs)
        from mwfs.structure.nesting import call_inside

        return cast(R, call_inside(self, graph, args, kwargs))

    def __repr__(self) -> str:
        return f"<workflow {self.ref}>"

    @property
    def fix_as_argument(self) -> str:
        """What to write when the workflow itself is given where its result is meant."""
        return f"call it: `{self.__name__}(…)`"

    def __reduce__(self) -> str:
        return self.__qualname__

    @property
    def module(self) -> str:
        return import_name(self.function)[0]

    @property
    def qualname(self) -> str:
        return self.function.__qualname__

    @property
    def ref(self) -> str:
        """`module:qualname`."""
        return ":".join(import_name(self.function))

    @property
    def doc(self) -> str:
        return self.function.__doc__ or ""

    @cached_property
    def signature(self) -> Signature:
        """Parameters and outputs. Raises BadDefinition."""
        return read_signature(self.function, f"workflow `{self.__name__}`")

    @property
    def inputs(self) -> tuple[WorkflowInput, ...]:
        """The inputs in the order of the parameters, defaults encoded. Raises BadDefinition."""
        from mwfs.inputs import encode_default

        return tuple(
            WorkflowInput(
                name=parameter.name, type=parameter.type, default=encode_default(self, parameter), doc=parameter.doc
            )
            for parameter in self.parameters
        )

    def input_schema(self) -> dict[str, Any]:
        """The JSON Schema (2020-12) of the inputs as one object: what forms show and what `--inputs` files hold. Raises BadDefinition."""
        from mwfs_types.json_schema import inputs_schema

        return {
            **inputs_schema((each.name, each.type, each.default, each.doc) for each in self.inputs),
            "title": self.__name__,
            "description": self.doc,
        }

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return self.signature.parameters

    @property
    def outputs(self) -> tuple[Output, ...]:
        """Named outputs: the fields of a NamedTuple or dataclass, or the one output "result". A workflow that returns None has none."""
        return () if self.signature.returns in (None, type(None)) else self.signature.outputs

    def compile(self, **inputs: Any) -> Dag:
        """See `mwfs.compile`."""
        from mwfs.compiler import compile

        return compile(self, **inputs)

    def run_local(self, **inputs: Any) -> R:
        """Compiles the workflow and runs its Dag in this process, node after node. Needs no platform.

        Raises CompileError, InvalidInput, and RunFailed when an operator fails; its cause is the operator's own error.
        """
        from mwfs.local_run import run_local

        result: R = run_local(self, inputs)
        return result


@overload
def workflow(function: Callable[P, R], /) -> Workflow[P, R]: ...


@overload
def workflow(
    *, on_failure: OnFailure | None = None, max_parallel: int | None = None
) -> Callable[[Callable[P, R]], Workflow[P, R]]: ...


def workflow(
    function: Callable[P, R] | None = None,
    /,
    *,
    on_failure: OnFailure | None = None,
    max_parallel: int | None = None,
) -> Workflow[P, R] | Callable[[Callable[P, R]], Workflow[P, R]]:
    """Makes a typed function a workflow. Works bare, `@mwfs.workflow`, and called, `@mwfs.workflow(max_parallel=10)`.

    on_failure: for operators that do not say what becomes of the rest of the run when they have failed for good (`mwfs.failure_policies`).
    max_parallel: most attempts of a run at the same time.
    """
    if function is None:
        options = run_options(on_failure, max_parallel)
        return lambda decorated: Workflow(decorated, options)
    if not callable(function):
        raise BadOption(f"@mwfs.workflow was given {function!r}.", "Put it above the workflow's `def`.")
    return Workflow(function)
