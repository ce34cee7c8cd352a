"""Who is calling: set by the auth interceptor, read by servicers."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The authenticated caller of the current RPC."""

    principal: str
    #: The team in whose name the call is made; empty for health checks and reflection only.
    team: str


_current: ContextVar[Caller] = ContextVar("mwfs_caller")


def current_caller() -> Caller:
    """The caller of the RPC that is being served; LookupError outside of one."""
    return _current.get()


def set_caller(caller: Caller) -> None:
    """For the auth interceptor, and for tests that call a servicer directly."""
    _current.set(caller)
