"""What is done to a Dag once it is recorded: each pass has a name, says what it did, can be switched off, and changes no result."""

from mwfs.passes.pipeline import NAMES, PassReport, Report, chosen, off, only, run_passes

__all__ = ["NAMES", "PassReport", "Report", "chosen", "off", "only", "run_passes"]
