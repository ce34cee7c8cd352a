"""The command line: `mwfs`. Each command group has its own module; other packages join by the entry points `mwfs.commands`."""

from __future__ import annotations


def main() -> None:
    """The console script."""
    import sys

    from mwfs.cli.app import run_cli

    sys.exit(run_cli(sys.argv[1:]))
