"""A timeline drawn with characters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mwfs.cli import words

if TYPE_CHECKING:
    from rich.table import Table

    from mwfs_api.observability.v1 import observability_pb2

#: Waiting for a worker; the body runs.
_WAITING, _RUNNING = "·", "█"
_WIDEST = 140


def draw(spans: Sequence[observability_pb2.AttemptSpan], start_us: int, end_us: int, *, width: int) -> Table:
    """One row an attempt."""
    from rich.table import Table
    from rich.text import Text

    bars = max(min(width, _WIDEST) - 62, 20)
    table = Table.grid(padding=(0, 1))
    for justify in ("right", "left", "left", "right", "left"):
        table.add_column(justify=justify, no_wrap=True)
    scale = f"{'0':<{bars // 2}}{words.duration((end_us - start_us) / 1e6):>{bars - bars // 2}}"
    table.add_row("", "", Text(scale, style="dim"), "", "")
    for span in spans:
        state = words.attempt_state(span.state)
        operator = words.operator_name(span.operator) or ("compile" if span.node < 0 else "")
        name = f"{operator[:24]}#{span.attempt}" if span.attempt > 1 else operator[:26]
        body_end = span.body_end_time_us or span.end_time_us or end_us
        took = words.duration((body_end - span.body_start_time_us) / 1e6) if span.body_start_time_us else ""
        note = span.place if state in ("SUCCEEDED", "RUNNING") else state
        bar = Text(bar_of(span, start_us, end_us, bars), style=words.COLOURS.get(state, ""))
        table.add_row(str(span.node), name, bar, took, Text(note[:24], style="dim"))
    return table


def bar_of(span: observability_pb2.AttemptSpan, start_us: int, end_us: int, width: int) -> str:
    """The bar of one attempt: at least one cell once its body began, so that short ones are seen."""
    length = max(end_us - start_us, 1)

    def cell(time_us: int) -> int:
        return min(max(int((time_us - start_us) * width / length), 0), width - 1)

    ready = cell(span.ready_time_us or span.commit_time_us or end_us)
    last = cell(span.end_time_us or end_us)
    if not span.body_start_time_us:
        return " " * ready + _WAITING * (last - ready + 1)
    begun = max(cell(span.body_start_time_us), ready)
    ended = max(cell(span.body_end_time_us or span.end_time_us or end_us), begun)
    return " " * ready + _WAITING * (begun - ready) + _RUNNING * (ended - begun + 1)
