"""From an exception to a Failure: the kind, the user's own line, and a traceback without our frames."""

from __future__ import annotations

import traceback
from collections.abc import Iterator

from mwfs.errors import BadResult, CompileError, InvalidInput, MwfsError, NotLoadable
from mwfs.locations import is_ours, recorded_file, site_of_error
from mwfs_api.events.v1 import events_pb2

FailureKind = events_pb2.FailureKind
Failure = events_pb2.Failure

#: Longer texts are cut in the middle.
MAX_MESSAGE = 8 * 1024
MAX_TRACEBACK = 32 * 1024


def describe_exception(error: BaseException) -> Failure:
    """The Failure of an attempt that ended with this exception. Never raises."""
    failure = Failure(
        kind=_kind(error),
        error_type=_class_name(type(error)),
        message=_cut(_message(error), MAX_MESSAGE),
        traceback=_cut(_traceback(error), MAX_TRACEBACK),
        node=-1,
        error_classes=[f"{cls.__module__}.{cls.__qualname__}" for cls in type(error).__mro__[:-1]][:32],
    )
    if isinstance(error, MwfsError):
        failure.next_step = _clean(error.next_step)
    if isinstance(error, SystemExit):
        failure.next_step = "Let the operator return or raise instead of exiting the process."
    if isinstance(error, BadResult) and error.expected_type is not None:
        failure.expected_type.CopyFrom(error.expected_type)
    file, line = _line(error)
    failure.file, failure.line = _clean(file), line
    return failure


def _kind(error: BaseException) -> events_pb2.FailureKind.ValueType:
    if isinstance(error, (CompileError, InvalidInput)):
        return FailureKind.FAILURE_KIND_COMPILE
    if isinstance(error, BadResult):
        return FailureKind.FAILURE_KIND_BAD_RESULT
    if isinstance(error, NotLoadable):
        return FailureKind.FAILURE_KIND_NOT_LOADABLE
    if isinstance(error, SystemExit):
        return FailureKind.FAILURE_KIND_EXITED
    return FailureKind.FAILURE_KIND_RAISED


def _class_name(cls: type[BaseException]) -> str:
    return cls.__qualname__ if cls.__module__ in ("builtins", "__main__") else f"{cls.__module__}.{cls.__qualname__}"


def _message(error: BaseException) -> str:
    if isinstance(error, CompileError):
        details = [
            f"expected {error.expected}" if error.expected else "",
            f"found {error.found}" if error.found else "",
        ]
        return "; ".join([error.message, *filter(None, details)])
    if isinstance(error, MwfsError):
        return error.message
    if isinstance(error, SystemExit):
        return f"The operator called sys.exit({error.code!r})."
    try:
        return str(error)
    except Exception as nested:
        return f"(its message cannot be shown: str() raised {type(nested).__name__})"


def _line(error: BaseException) -> tuple[str, int]:
    site = error.site if isinstance(error, (CompileError, BadResult)) else site_of_error(error)
    # A site names its file for a terminal; a Failure travels, so it names it as the Dag does.
    return (recorded_file(site.file), site.line) if site else ("", 0)


def _traceback(error: BaseException) -> str:
    """The user's traceback, innermost last; for compile errors, the source line with its caret."""
    if isinstance(error, CompileError):
        return error.excerpt
    if isinstance(error, (BadResult, NotLoadable)) and error.__cause__ is None:
        return ""
    try:
        described = traceback.TracebackException.from_exception(error)
        for part in _chain(described):
            part.stack = traceback.StackSummary.from_list(_own(part.stack))
        return "".join(described.format())
    except Exception as nested:
        return f"(the traceback cannot be shown: {type(nested).__name__})"


def _own(stack: traceback.StackSummary) -> list[traceback.FrameSummary]:
    """What happened inside the operator: frames after the last call of ours that led to it, without any of ours."""
    frames = list(stack)
    starts = [index for index, frame in enumerate(frames) if is_ours(frame.filename)]
    if starts and starts[-1] + 1 < len(frames):
        frames = frames[starts[0] :]
    own = [frame for frame in frames if not is_ours(frame.filename)]
    for frame in own:
        _ = frame.line  # read while the file has its full name
        frame.filename = recorded_file(frame.filename)
    return own


def _chain(described: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    waiting = [described]
    seen: set[int] = set()
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        waiting.extend(one for one in (part.__cause__, part.__context__) if one is not None)
        waiting.extend(part.exceptions or ())


def _cut(text: str, limit: int) -> str:
    text = _clean(text)
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"


def _clean(text: str) -> str:
    """Text that protobuf takes: lone surrogates become question marks."""
    return text.encode("utf-8", "replace").decode()


__all__ = ["FailureKind", "describe_exception"]
