"""Fixtures for all tests. Integration tests ask for `database` or `databases`; see `fixtures/postgres.py`."""

import os
import shutil
import signal
import tempfile
from collections.abc import Generator

import pytest
from fixtures.memory import folder_in_memory
from fixtures.postgres import database, databases, postgres_server

__all__ = ["database", "databases", "postgres_server"]


def pytest_configure(config: pytest.Config) -> None:
    """A shell that runs the tests in the background lets them ignore Ctrl-C, and they would hand that on to what they start."""
    _keep_files_in_memory(config)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _keep_files_in_memory(config: pytest.Config) -> None:
    """All that this process and those below it make, until it ends. Other test processes find it chosen."""
    folder = folder_in_memory()
    if folder is not None:
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
        # As root, databases are not in the homes of platforms.
        os.environ["MWFS_DATABASE_ROOT"] = str(folder / "databases")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


@pytest.hookimpl(wrapper=True)
def pytest_report_teststatus(
    report: pytest.TestReport,
) -> Generator[None, pytest.TestShortLogReport, pytest.TestShortLogReport]:
    """A failure is named when it happens: the suite goes on for minutes, and whoever stops it then still knows which test it was."""
    status = yield
    if isinstance(report, pytest.TestReport) and report.failed and status[0] in ("failed", "error"):
        return pytest.TestShortLogReport(status[0], f"{status[1]}({report.nodeid})", status[2])
    return status
