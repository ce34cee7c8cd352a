"""A failure as a value: what a fallback is given."""

from __future__ import annotations

from typing import NamedTuple


class Failure(NamedTuple):
    """Why something failed. `error_type` is the class as its author knows it: "ValueError"."""

    error_type: str
    message: str
    #: The user's line; empty and 0 when not known.
    file: str
    line: int
    traceback: str
