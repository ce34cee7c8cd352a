"""Fixtures for all tests. Integration tests ask for `database` or `databases`; see `fixtures/postgres.py`."""

import signal

from fixtures.postgres import database, databases, postgres_server

__all__ = ["database", "databases", "postgres_server"]


def pytest_configure() -> None:
    """A shell that runs the tests in the background lets them ignore Ctrl-C, and they would hand that on to what they start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
