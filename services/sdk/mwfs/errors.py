"""Everything that can go wrong for a user of the SDK, named for what they can do about it.

MwfsError                     exit code  what the user does
├── CompileError                      2  corrects the line that it names
│   ├── BadDefinition                    the operator's or workflow's own signature, options or place
│   ├── MissingArgument
│   ├── UnknownArgument
│   ├── WrongType                        a value or a future whose type does not fit
│   ├── UndeclaredOutput                 `parts.trian`: the operator declares no such output
│   ├── WrongResult                      the workflow returned something else than it declares
│   ├── FutureAsValue                    `if future:`, `len(future)`, `f"{future}"`, …
│   ├── BadOperation                     `model + 1`: arithmetic, comparison or item access that the types do not have
│   ├── BadStructure                     a map, branch, loop … that is put together wrongly
│   ├── TooLarge                          workflows that call each other without end, or too many nodes
│   ├── ForeignFuture                    a future of another workflow, or of none that is being compiled
│   └── WorkflowRaised                   the workflow's own Python code raised while compiling
├── InvalidInput                      2  corrects an input of the workflow
├── NotLoadable                       2  corrects `module:name`, or puts the code where it can be imported
├── RunFailed                         1  reads the failure; it names the node and the line
├── BadResult                         1  makes the operator return what it declares
├── OutsideOperator                   1  asks `ctx` inside of an operator
├── BadCheckpoint                     1  keeps something that can be stored
│   └── CheckpointTooLarge               keeps less
├── ArtifactMissing                   1  uploads the artifact again, or runs its producer again
├── ArtifactDamaged                   1  restores the object store
├── NotFound                          2  names a run, node or workflow that exists
├── Rejected                          2  the platform refused the request; the message says why
└── Unavailable                       3  starts the platform, or tries again
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from mwfs_api.events.v1 import events_pb2
    from mwfs_api.types.v1 import types_pb2


class MwfsError(Exception):
    """An error with a next step. `str()` gives one paragraph that can be shown as it is."""

    #: What the CLI exits with.
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(message, next_step)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message} {self.next_step}".rstrip()


@dataclass(frozen=True, slots=True)
class Site:
    """A piece of the user's source code. Lines count from 1, columns from 0."""

    file: str
    line: int
    source: str = ""
    column: int = 0
    end_column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class CompileError(MwfsError):
    """The workflow cannot be compiled. Names the user's line, what was expected, what was found, and what to write."""

    exit_code: ClassVar[int] = 2

    def __init__(
        self, message: str, *, site: Site | None = None, expected: str = "", found: str = "", fix: str = ""
    ) -> None:
        super().__init__(message, fix)
        self.site = site
        self.expected = expected
        self.found = found
        self.fix = fix

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.site, self.expected, self.found, self.fix)

    @property
    def file(self) -> str:
        """The user's file, relative to the working directory when it is below it; empty when not known."""
        return self.site.file if self.site else ""

    @property
    def line(self) -> int:
        """The user's line, from 1; 0 when not known."""
        return self.site.line if self.site else 0

    @property
    def excerpt(self) -> str:
        """The source line with a caret below it."""
        if self.site is None or not self.site.source.strip():
            return ""
        source = self.site.source.rstrip()
        indent = len(source) - len(source.lstrip())
        start = max(self.site.column - indent, 0)
        shown = source.lstrip().expandtabs(1)
        width = max(min(self.site.end_column - indent, len(shown)) - start, 1)
        margin = f"  {self.site.line} | "
        return f"{margin}{shown}\n{' ' * (len(margin) - 2)}| {' ' * start}{'^' * width}"

    def __str__(self) -> str:
        lines = [f"{self.site}: {self.message}" if self.site else self.message]
        if self.excerpt:
            lines.append(self.excerpt)
        for label, text in (("expected", self.expected), ("found", self.found), ("fix", self.fix)):
            if text:
                lines.append(f"  {label + ':':<10}{text}")
        return "\n".join(lines)


def _rebuild(
    cls: type[CompileError], message: str, site: Site | None, expected: str, found: str, fix: str
) -> CompileError:
    return cls(message, site=site, expected=expected, found=found, fix=fix)


class BadDefinition(CompileError):
    """The signature, the options or the place of an operator or workflow is wrong."""


class MissingArgument(CompileError):
    """A call leaves out an argument that has no default."""


class UnknownArgument(CompileError):
    """A call gives an argument that the operator does not have, or gives one twice."""


class WrongType(CompileError):
    """A value or a future does not have the type that the parameter declares."""


class UndeclaredOutput(CompileError, AttributeError, IndexError):
    """A future was asked for an output or field that its type does not declare."""


class WrongResult(CompileError):
    """The workflow returned something else than it declares."""


class FutureAsValue(CompileError):
    """A future was used where only a value makes sense: it has none until the run."""


class BadOperation(CompileError):
    """Arithmetic, comparison or item access that futures of these types do not have."""


class BadStructure(CompileError):
    """A map, branch, loop, race or fallback that is put together wrongly."""


class TooLarge(CompileError):
    """Workflows that call each other without end, or more nodes than one Dag may have."""


class ForeignFuture(CompileError):
    """A future was used in a workflow that did not make it."""


class WorkflowRaised(CompileError):
    """The workflow's own code raised while it was compiled; the exception is the cause."""


class InvalidInput(MwfsError):
    """An input of the workflow is missing, unknown, or has the wrong type."""

    exit_code: ClassVar[int] = 2


class NotLoadable(MwfsError):
    """`module:name` does not lead to an operator or workflow."""

    exit_code: ClassVar[int] = 2


class RunFailed(MwfsError):
    """The run ended without its outputs. `failure` says which node, line and error."""

    def __init__(self, message: str, next_step: str = "", *, failure: events_pb2.Failure | None = None) -> None:
        super().__init__(message, next_step)
        self.failure = failure


class BadResult(MwfsError):
    """An operator returned something else than it declares. `site` is its definition."""

    def __init__(
        self,
        message: str,
        next_step: str = "",
        *,
        site: Site | None = None,
        expected_type: types_pb2.Type | None = None,
    ) -> None:
        super().__init__(message, next_step)
        self.site = site
        self.expected_type = expected_type


class OutsideOperator(MwfsError, RuntimeError):
    """`ctx` was asked where no operator runs."""


class BadCheckpoint(MwfsError):
    """Something that cannot be kept as a checkpoint, or cannot be read from one."""


class CheckpointTooLarge(BadCheckpoint):
    """A checkpoint over the bound of the platform."""


class ArtifactMissing(MwfsError):
    """The object store has no such artifact."""


class ArtifactDamaged(MwfsError):
    """The bytes of an artifact do not match its digest."""


class NotFound(MwfsError):
    """No such run, node or workflow."""

    exit_code: ClassVar[int] = 2


class Rejected(MwfsError):
    """The platform refused the request."""

    exit_code: ClassVar[int] = 2


class Unavailable(MwfsError):
    """The platform cannot be reached."""

    exit_code: ClassVar[int] = 3
