"""Fixtures for all tests. Integration tests ask for `database` or `databases`; see `fixtures/postgres.py`."""

from fixtures.postgres import database, databases, postgres_server

__all__ = ["database", "databases", "postgres_server"]
