"""What each part of an active run has in common: it knows the run."""

import weakref
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from .active_run import ActiveRun


class RunPart:
    """Decides about one subject of a run."""

    def __init__(self, run: "ActiveRun") -> None:
        self._run = run

    def loosen(self) -> None:
        """The run has ended. It and its parts hold each other no more, so they are gone with the last who asks for the run, and not with some later
        collection of cycles: under load thousands of ended runs would wait for that.
        """
        self._run = cast("ActiveRun", weakref.proxy(self._run))
