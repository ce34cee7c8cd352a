"""From gRPC codes to errors that say what to do next. The only place that knows both."""

from __future__ import annotations

from dataclasses import dataclass

import grpc

from mwfs.errors import ArtifactDamaged, MwfsError, NotFound, Rejected, Unavailable

_ERRORS: dict[str, type[MwfsError]] = {
    "UNAVAILABLE": Unavailable,
    "DEADLINE_EXCEEDED": Unavailable,
    "CANCELLED": Unavailable,
    "NOT_FOUND": NotFound,
    "INVALID_ARGUMENT": Rejected,
    "ALREADY_EXISTS": Rejected,
    "FAILED_PRECONDITION": Rejected,
    "PERMISSION_DENIED": Rejected,
    "UNAUTHENTICATED": Rejected,
    "RESOURCE_EXHAUSTED": Rejected,
    "OUT_OF_RANGE": Rejected,
    "UNIMPLEMENTED": Rejected,
    "ABORTED": Unavailable,
    "DATA_LOSS": ArtifactDamaged,
}

#: What grpc.aio makes of a stream that ends, for whatever reason, while we write to it.
_BROKE_WHILE_WRITING = "Internal error from Core"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Whom we called, as the user knows it."""

    service: str
    address: str
    #: The command that starts this platform.
    up: str
    #: The command that shows how this platform is.
    status: str
    #: Whether somebody starts the service again when it has ended.
    supervised: bool = False


def refusal(code: str, details: str, peer: Peer) -> MwfsError:
    """The error for a gRPC code name and the server's words, which already hold the next step."""
    error = _ERRORS.get(code, MwfsError)
    if code == "UNAVAILABLE":
        if never_arrived(details) and peer.supervised:
            return error(f"The {peer.service} at {peer.address} does not answer.", f"`{peer.status}` tells how it is.")
        if never_arrived(details):
            return error(
                f"The platform is not running at {peer.address} (its {peer.service} does not answer).",
                f"Start it with `{peer.up}`.",
            )
        return error(
            details or f"The {peer.service} at {peer.address} is not ready. Try again.", f"`{peer.status}` tells more."
        )
    if code == "DEADLINE_EXCEEDED":
        return error(
            f"The {peer.service} at {peer.address} did not answer in time.",
            f"Try again; `{peer.status}` tells how it is.",
        )
    if code == "CANCELLED":
        return error(f"The {peer.service} at {peer.address} ended the call.", "Try again.")
    if code == "UNAUTHENTICATED":
        return error(
            details or f"The {peer.service} at {peer.address} does not accept this token.",
            "Name the home of the platform that runs there with --home.",
        )
    if code == "UNIMPLEMENTED":
        return error(
            f"The {peer.service} at {peer.address} does not know this call.",
            "Client and platform are of different versions: restart the platform with this version.",
        )
    if error is MwfsError:
        return error(
            f"The {peer.service} at {peer.address} failed: {details or code}.",
            f"This is a defect of the platform; its log tells more (`{peer.status}`).",
        )
    return error(details or f"The {peer.service} refused the call ({code}).")


def refusal_of(error: grpc.aio.AioRpcError, peer: Peer) -> MwfsError:
    """The error for a failed call."""
    if error.code() is grpc.StatusCode.INTERNAL and error.details() == _BROKE_WHILE_WRITING:
        return Unavailable(f"The connection to the {peer.service} at {peer.address} broke.", "Try again.")
    return refusal(error.code().name, error.details() or "", peer)


def never_arrived(details: str) -> bool:
    """gRPC's own words for connections that failed; a server's refusals are worded otherwise."""
    return any(
        words in details
        for words in (
            "failed to connect to all addresses",
            "Connection refused",
            "Connection reset",
            "Socket closed",
            "DNS resolution failed",
            "recvmsg",
            "GOAWAY",
        )
    )
