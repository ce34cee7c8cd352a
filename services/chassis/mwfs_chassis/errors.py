"""The errors a service raises on purpose, and the one place where an error gets its gRPC code.

ServiceError
├── InvalidArgument      the request is wrong, whatever the state: correct it
├── NotFound             no such thing (or not for this team): look it up
├── AlreadyExists        the id is taken by something else: choose another
├── FailedPrecondition   right request, wrong state: change the state first
├── Aborted              lost a race: read again, then repeat
├── PermissionDenied     known caller, not allowed
├── Unauthenticated      unknown caller
├── ResourceExhausted    over a limit: ask for less, or later
├── OutOfRange           from before what is kept: begin anew
├── Unavailable          repeat after a moment
├── DataLoss             stored bytes do not verify
└── PeerError            another replica answered so in our stead
"""

from dataclasses import dataclass

import grpc

from mwfs_chassis.postgres import is_transient
from mwfs_types.errors import TypeSystemError


class ServiceError(Exception):
    """Says what was expected and found, and what to do next; ids, never secrets."""

    code: grpc.StatusCode = grpc.StatusCode.UNKNOWN

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(f"{message} {next_step}".rstrip())
        self.message = message
        self.next_step = next_step


class InvalidArgument(ServiceError):
    code = grpc.StatusCode.INVALID_ARGUMENT


class NotFound(ServiceError):
    code = grpc.StatusCode.NOT_FOUND


class AlreadyExists(ServiceError):
    code = grpc.StatusCode.ALREADY_EXISTS


class FailedPrecondition(ServiceError):
    code = grpc.StatusCode.FAILED_PRECONDITION


class Aborted(ServiceError):
    code = grpc.StatusCode.ABORTED


class PermissionDenied(ServiceError):
    code = grpc.StatusCode.PERMISSION_DENIED


class Unauthenticated(ServiceError):
    code = grpc.StatusCode.UNAUTHENTICATED


class ResourceExhausted(ServiceError):
    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class Overloaded(ResourceExhausted):
    """There is no room now; there may be after `retry_after_s` seconds."""

    def __init__(self, message: str, next_step: str = "", *, retry_after_s: float) -> None:
        super().__init__(message, next_step)
        self.retry_after_s = retry_after_s


class OutOfRange(ServiceError):
    code = grpc.StatusCode.OUT_OF_RANGE


class Unavailable(ServiceError):
    code = grpc.StatusCode.UNAVAILABLE


class DataLoss(ServiceError):
    code = grpc.StatusCode.DATA_LOSS


class PeerError(ServiceError):
    """The code and message are those of the other replica."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class WireError:
    """What the caller is told."""

    code: grpc.StatusCode
    message: str


def wire_error(error: BaseException) -> WireError | None:
    """The code and message of an error that callers may see; None: it is a defect, and its text stays in the log."""
    if isinstance(error, ServiceError):
        return WireError(code=error.code, message=str(error))
    if isinstance(error, TypeSystemError):
        return WireError(code=grpc.StatusCode.INVALID_ARGUMENT, message=str(error))
    if is_transient(error) or isinstance(error, TimeoutError):  # one that stands still says nothing
        return WireError(code=grpc.StatusCode.UNAVAILABLE, message="The database is away. Try again in a moment.")
    if isinstance(error, grpc.aio.AioRpcError) and error.code() == grpc.StatusCode.UNAVAILABLE:
        return WireError(
            code=grpc.StatusCode.UNAVAILABLE, message="A service behind this one is away. Try again in a moment."
        )
    return None
