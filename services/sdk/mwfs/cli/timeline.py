"""`mwfs timeline`: when each attempt of a run waited and ran, as bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mwfs.cli.options import Home, Output, RunArgument
from mwfs.cli.screen import Format, Screen

if TYPE_CHECKING:
    from mwfs_api.observability.v1 import observability_pb2

_EXAMPLES = """Examples:

$ mwfs timeline 1a2b3c4d

$ mwfs timeline 1a2b3c4d --output json"""


def register(app: typer.Typer) -> None:
    app.command(epilog=_EXAMPLES)(timeline)


def timeline(
    run: RunArgument,
    limit: Annotated[int, typer.Option(min=1, help="At most so many attempts, by start.")] = 60,
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """Show a run as a timeline with a bar per attempt. A bar is light while the attempt waits for a worker, full while its body runs."""
    from mwfs.cli import words
    from mwfs.cli.documents import attempt_document
    from mwfs.client import BlockingClient

    screen = Screen(output)
    with BlockingClient(home) as client:
        found = client.get_run(run)
        picture = client.timeline(found.run_id, complete_to=found.last_event_number)
    if picture.last_event_number < found.last_event_number:
        screen.note(
            f"The timeline is behind: it has events up to {picture.last_event_number} of {found.last_event_number}."
        )
    if screen.json:
        screen.document(
            {
                "run_id": found.run_id,
                "workflow": found.workflow,
                "state": words.run_state(picture.state),
                "accept_time": words.iso_time(picture.accept_time_us),
                "start_time": words.iso_time(picture.start_time_us),
                "end_time": words.iso_time(picture.end_time_us),
                "attempts": [attempt_document(span) for span in picture.attempts],
            }
        )
        return
    _show(screen, found.run_id, picture, limit)


def _show(screen: Screen, run_id: str, picture: observability_pb2.GetTimelineResponse, limit: int) -> None:
    import time

    from mwfs.cli import words
    from mwfs.cli.gantt import draw

    end = picture.end_time_us or int(time.time() * 1e6)
    took = words.duration(max(end - picture.accept_time_us, 0) / 1e6)
    screen.print(
        f"Run {run_id[:8]} {words.run_state(picture.state)}, {took} from submission, {len(picture.attempts)} attempts"
    )
    if picture.attempts:
        screen.print(draw(list(picture.attempts)[:limit], picture.accept_time_us, end, width=screen.stdout.width))
    if len(picture.attempts) > limit:
        screen.note(f"The first {limit} attempts; more with --limit.")
