"""Mistakes in a test file, found by the mark at the end of their line, and the errors that must name that line."""

from pathlib import Path
from typing import Any

import pytest

import mwfs
from mwfs.errors import CompileError


class Marked:
    """A file whose lines may end with `# HERE mark`."""

    def __init__(self, file: str) -> None:
        self.file = Path(file)
        self._lines = self.file.read_text().splitlines()

    def line_of(self, mark: str) -> int:
        """The line that ends with `# HERE mark`."""
        return next(number for number, text in enumerate(self._lines, 1) if text.endswith(f"# HERE {mark}"))

    def error_of(self, workflow: Any, mark: str, kind: type[CompileError], **inputs: Any) -> CompileError:
        """The error of compiling, which must be of this kind and name the marked line of this file."""
        with pytest.raises(kind) as caught:
            mwfs.compile(workflow, **inputs)
        error = caught.value
        assert type(error) is kind
        assert (Path(error.file).name, error.line) == (self.file.name, self.line_of(mark)), error
        assert "^" in error.excerpt
        assert error.fix
        return error


def pointed_at(error: CompileError) -> str:
    """The source text above the carets."""
    source, carets = error.excerpt.splitlines()
    return source[carets.index("^") : carets.rindex("^") + 1]
