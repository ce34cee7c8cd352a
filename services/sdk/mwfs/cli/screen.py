"""What is shown where: results on stdout, everything else on stderr. With JSON, stdout is one document and nothing else."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.status import Status

    from mwfs.errors import MwfsError


#: What takes longer is seen to go on.
_PATIENCE_S = 2.0


class Format(StrEnum):
    """How results are printed."""

    TEXT = "text"
    JSON = "json"


class Waiting:
    """A spinner on a terminal, for work that takes longer than two seconds."""

    def __init__(self, screen: Screen, text: str) -> None:
        self._screen = screen
        self._text = text
        self._lock = threading.Lock()
        self._status: Status | None = None
        self._timer = threading.Timer(_PATIENCE_S, self._show)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """What follows shows itself. Ending twice is fine."""
        self._timer.cancel()
        with self._lock:
            if self._status is not None:
                self._status.stop()

    def say(self, text: str) -> None:
        """What is being done now."""
        with self._lock:
            self._text = text
            if self._status is not None:
                self._status.update(f"{text} …")

    def _show(self) -> None:
        from rich.status import Status

        with self._lock:
            self._status = Status(f"{self._text} …", console=self._screen.stderr)
            self._status.start()


class Screen:
    """Stdout and stderr of one command."""

    def __init__(self, output: Format) -> None:
        self.json = output is Format.JSON

    @cached_property
    def stdout(self) -> Console:
        return _console(sys.stdout)

    @cached_property
    def stderr(self) -> Console:
        return _console(sys.stderr)

    def document(self, document: object) -> None:
        """Prints the JSON document of the command."""
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")
        sys.stdout.flush()

    def line(self, document: object) -> None:
        """Prints one of many JSON documents, on a line of its own."""
        sys.stdout.write(json.dumps(document, ensure_ascii=False, default=str) + "\n")
        sys.stdout.flush()

    def print(self, what: RenderableType) -> None:
        """Shows a result to a person."""
        self.stdout.print(what, soft_wrap=isinstance(what, str), highlight=False, markup=False)

    def note(self, text: str) -> None:
        """Says something that is not the result."""
        print(text, file=sys.stderr, flush=True)

    def waiting(self, text: str) -> Waiting:
        """`with screen.waiting("Compiling"): …` says so when it takes longer than two seconds."""
        return Waiting(self, text)

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()) -> None:
        """Shows rows under headings. Cut to the terminal's width; whole when stdout is not a terminal."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for index, heading in enumerate(headings):
            table.add_column(
                heading, justify="right" if heading in right else "left", no_wrap=True, overflow="ellipsis", min_width=2
            )
            if index == 0:
                table.columns[0].overflow = "fold"
        for row in rows:
            table.add_row(*(Text.from_ansi(cell) for cell in row))
        self.stdout.print(table)

    def error(self, error: MwfsError) -> int:
        """Shows an error; returns the exit code. With JSON also as the document."""
        text = str(error)
        if "\n" in text:
            self.note(text)
        else:
            self.stderr.print(f"Error: {text}", style="red", markup=False, highlight=False, soft_wrap=True)
        if self.json:
            self.document({"error": error_document(error)})
        return error.exit_code


def error_document(error: MwfsError) -> dict[str, Any]:
    """An error as JSON."""
    from mwfs.errors import CompileError

    document: dict[str, Any] = {
        "type": type(error).__name__,
        "message": error.message,
        "next_step": error.next_step,
    }
    if isinstance(error, CompileError):
        document |= {"file": error.file, "line": error.line, "expected": error.expected, "found": error.found}
    return document


def _console(file: Any) -> Console:
    from rich.console import Console

    # Rich would fold at 80 columns in pipes and files; what reads those has no width.
    return Console(file=file) if file.isatty() else Console(file=file, width=10_000, color_system=None)
