"""Pictures to protos, and page tokens."""

from __future__ import annotations

import re

from mwfs_api.observability.v1 import observability_pb2 as pb
from mwfs_chassis.errors import InvalidArgument
from mwfs_observability.fold import Picture

_TOKEN = re.compile(r"([1-9][0-9]{0,17})\.([0-9]{1,10})")
_RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

MAX_PAGE = 100_000
DEFAULT_PAGE = 10_000


def run_id_from(text: str) -> str:
    """A whole run id. Raises InvalidArgument."""
    if not _RUN_ID.fullmatch(text):
        raise InvalidArgument(
            f"{text[:64]!r} is not a run id.",
            "Send the whole id, 36 characters in lower case, as `runs list` shows it.",
        )
    return text


def page_size_from(size: int) -> int:
    """How many attempts to send. Raises InvalidArgument."""
    if size > MAX_PAGE:
        raise InvalidArgument(f"A page of {size} attempts is too large.", f"Ask for 1 to {MAX_PAGE:,}, or 0.")
    return size or DEFAULT_PAGE


def page_token_from(token: str) -> tuple[int, int]:
    """(number of the last event in the picture, offset); (0, 0) for the first page. Raises InvalidArgument."""
    if not token:
        return 0, 0
    found = _TOKEN.fullmatch(token)
    if not found:
        raise InvalidArgument(f"{token[:64]!r} is not a page token.", "Send the token that the last page came with.")
    return int(found[1]), int(found[2])


def timeline_to(picture: Picture, offset: int, size: int) -> pb.GetTimelineResponse:
    """One page of a picture."""
    total = len(picture.attempts.node)
    end = min(total, offset + size)
    return pb.GetTimelineResponse(
        state=picture.state,
        facts=picture.facts,
        accept_time_us=picture.accept_us,
        start_time_us=picture.start_us,
        end_time_us=picture.end_us,
        attempts=_spans(picture, slice(offset, end)),
        next_page_token=f"{picture.last_event}.{end}" if end < total else "",
        last_event_number=picture.last_event,
    )


def _spans(picture: Picture, part: slice) -> list[pb.AttemptSpan]:
    attempts = picture.attempts
    columns = (
        attempts.node,
        attempts.attempt,
        attempts.state,
        attempts.ready_us,
        attempts.commit_us,
        attempts.body_start_us,
        attempts.body_end_us,
        attempts.end_us,
        attempts.place,
    )
    places, operator_of = picture.places, picture.operator_of
    spans = [
        pb.AttemptSpan(
            node=node,
            attempt=attempt,
            operator=operator_of(node),
            state=state,
            ready_time_us=ready,
            commit_time_us=commit,
            body_start_time_us=body_start,
            body_end_time_us=body_end,
            end_time_us=end,
            place=places[place] if place >= 0 else "",
        )
        for node, attempt, state, ready, commit, body_start, body_end, end, place in zip(
            *(column[part].tolist() for column in columns), strict=True
        )
    ]
    for position, failure in attempts.failures.items():
        if part.start <= position < part.stop:
            spans[position - part.start].failure.CopyFrom(failure)
    return spans
