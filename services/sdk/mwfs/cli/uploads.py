"""A progress bar for uploads that take longer than two seconds."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from mwfs.cli.screen import Screen

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_PATIENCE_S = 2.0


class UploadBar:
    """`report` is called with (bytes sent, bytes in all); nothing is shown for quick uploads."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._begun: float | None = None
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.stop()

    def report(self, sent: int, total: int) -> None:
        now = time.monotonic()
        if self._begun is None or sent == 0:
            self._begun = now
        if self._progress is None and now - self._begun > _PATIENCE_S and self._screen.stderr.is_terminal:
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

            self._progress = Progress(
                TextColumn("Uploading"),
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                console=self._screen.stderr,
            )
            self._progress.start()
            self._task = self._progress.add_task("Uploading", total=total)
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=sent, total=total)
