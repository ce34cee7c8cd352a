"""The live view of a run: counts per state, what runs now, and why nothing does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from typing import TYPE_CHECKING

from mwfs.cli import words
from mwfs.cli.screen import Screen
from mwfs.client.watching import has_ended
from mwfs.errors import MwfsError
from mwfs_api.events.v1 import events_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from mwfs.client import Client

#: Running nodes that are named.
_SHOWN = 8
#: Seconds without a running node after which the scheduler is asked for the reason, and asked again.
_QUIET_S = 1.0
_ASK_AGAIN_S = 5.0


async def follow(client: Client, screen: Screen, run_id: str, *, live: bool) -> orchestrator_pb2.Run:
    """Shows a run until it has ended; returns it. Without `live` only waits, but still says why nothing runs."""
    view = View(run_id)
    animated = live and screen.stderr.is_terminal
    async with AsyncExitStack() as stack:
        if animated:
            from rich.live import Live

            stack.enter_context(Live(view, console=screen.stderr, refresh_per_second=8, transient=False))
        asking = asyncio.create_task(_ask_why(client, screen, view, aloud=not animated))
        try:
            async with aclosing(client.watch(run_id, running_nodes=_SHOWN if live else 0)) as updates:
                async for update in updates:
                    view.update(update.run, update.running)
                    if live and not animated:
                        _say(screen, view)
        finally:
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking
    assert view.run is not None
    return view.run


class View:
    """What is known of the run, drawn anew several times a second."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.run: orchestrator_pb2.Run | None = None
        self.running: Sequence[orchestrator_pb2.Node] = ()
        #: Why nothing runs.
        self.reasons: Sequence[str] = ()
        self.quiet_since: float | None = time.monotonic()
        self.said = ("", -1)

    def update(self, run: orchestrator_pb2.Run, running: Sequence[orchestrator_pb2.Node]) -> None:
        self.run, self.running = run, running
        counts = self.counts()
        if running or counts.get("RUNNING") or counts.get("FINISHING") or has_ended(run):
            self.quiet_since, self.reasons = None, ()
        elif self.quiet_since is None:
            self.quiet_since = time.monotonic()

    def counts(self) -> dict[str, int]:
        if self.run is None:
            return {}
        return {words.node_state(each.state): each.count for each in self.run.node_counts if each.count}

    def elapsed(self) -> float:
        if self.run is None:
            return 0.0
        end = self.run.end_time_us / 1e6 if self.run.end_time_us else time.time()
        return max(end - self.run.create_time_us / 1e6, 0.0)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        run = self.run
        if run is None:
            yield Text(f"Run {self.run_id[:8]}: submitted")
            return
        state = words.run_state(run.state)
        counts = self.counts()
        line = Table.grid(padding=(0, 1))
        head = Text.assemble(
            (f"{words.operator_name(run.workflow)} ", "bold"),
            (run.run_id[:8], "dim"),
            " ",
            (state, words.COLOURS.get(state, "")),
        )
        done = sum(counts.get(each, 0) for each in ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELLED", "UPSTREAM_FAILED"))
        bar = ProgressBar(total=max(run.node_count, 1), completed=done, width=30)
        line.add_row(head, bar, f"{done}/{run.node_count}", Text(words.duration(self.elapsed()), style="dim"))
        yield line
        if counts:
            parts = [
                Text(f"{count} {name.lower()}", style=words.COLOURS.get(name, "")) for name, count in counts.items()
            ]
            yield Text("  ").append_text(Text(", ").join(parts))
        for node in self.running:
            since = f"{words.duration(max(time.time() - node.start_time_us / 1e6, 0.0))}" if node.start_time_us else ""
            attempt = f" attempt {node.attempt}" if node.attempt > 1 else ""
            yield Text(f"  ▸ [{node.node}] {words.operator_name(node.operator)}{attempt}  {since}  {node.host}")
        more = counts.get("RUNNING", 0) - len(self.running)
        if self.running and more > 0:
            yield Text(f"    and {more} more", style="dim")
        for reason in self.reasons:
            yield Text(f"  … {reason}", style="yellow")


def _say(screen: Screen, view: View) -> None:
    """A line per state and per tenth of the nodes, where lines cannot be drawn anew."""
    run = view.run
    assert run is not None
    state = words.run_state(run.state)
    counts = view.counts()
    done = sum(
        count for name, count in counts.items() if name in ("SUCCEEDED", "FAILED", "CANCELLED", "UPSTREAM_FAILED")
    )
    tenth = 10 * done // max(run.node_count, 1)
    if (state, tenth) != view.said:
        view.said = (state, tenth)
        shown = ", ".join(f"{count} {name.lower()}" for name, count in counts.items())
        screen.note(
            f"{words.duration(view.elapsed()):>8}  {state}  {done}/{run.node_count}{f'  ({shown})' if shown else ''}"
        )


async def _ask_why(client: Client, screen: Screen, view: View, *, aloud: bool) -> None:
    """While nothing runs, asks the scheduler now and then for the reason. The run itself is never polled."""
    said: set[str] = set()
    while True:
        await asyncio.sleep(_QUIET_S)
        if view.quiet_since is None or time.monotonic() - view.quiet_since < _QUIET_S:
            continue
        if view.run is not None and has_ended(view.run):
            return
        try:
            groups = await client.explain_waiting(view.run_id)
        except MwfsError:
            groups = []  # that the scheduler is away is no reason to stop watching
        reasons = list(dict.fromkeys(_reason(group.message, group.waiting, group.permanent) for group in groups))[:3]
        if not reasons and view.run is not None and view.run.state == events_pb2.RUN_STATE_COMPILING:
            reasons = ["compiling on the platform"]
        if view.quiet_since is not None:
            view.reasons = reasons
            for reason in reasons:
                if aloud and reason not in said:
                    screen.note(f"Waiting: {reason}")
                    said.add(reason)
        await asyncio.sleep(_ASK_AGAIN_S - _QUIET_S)


def _reason(message: str, waiting: int, permanent: bool) -> str:
    nodes = f"{waiting} node{'s' if waiting != 1 else ''}: " if waiting else ""
    never = " As things are it can never start." if permanent else ""
    return f"{nodes}{message}{never}"
