"""How a shard's database is written down, found and shown. (pure)"""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from mwfs_chassis.errors import InvalidArgument

_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_SCHEMES: Final = ("postgresql", "postgres")
_MAX_DSN: Final = 2_000


def is_name(database: str) -> bool:
    """Whether it is the name of a database on the catalogue's server, not a DSN."""
    return _NAME.fullmatch(database) is not None


def check_database(database: str) -> None:
    """Raises InvalidArgument for what is neither a name nor a DSN that names a database."""
    if is_name(database):
        return
    parts = _split(database)
    if (
        parts is None
        or len(database) > _MAX_DSN
        or parts.scheme not in _SCHEMES
        or not parts.path.strip("/")
        or not database.isprintable()
        or " " in database
    ):
        raise InvalidArgument(
            "This is neither a DSN nor the name of a database.",
            "Write postgresql://USER@HOST:PORT/DATABASE, or a name of lower-case letters, digits and _ for a database beside the catalogue.",
        )


def dsn_of(database: str, catalogue_dsn: str) -> str:
    if not is_name(database):
        return database
    parts = urlsplit(catalogue_dsn)
    return urlunsplit(parts._replace(path=f"/{database}"))


def written(dsn: str, catalogue_dsn: str) -> str:
    """What the catalogue keeps: the name alone when the database is on its own server, wherever that will be next time."""
    name = urlsplit(dsn).path.strip("/")
    return name if is_name(name) and dsn == dsn_of(name, catalogue_dsn) else dsn


def shown(database: str) -> str:
    """For people: without user, password and options."""
    if is_name(database):
        return database
    parts = urlsplit(database)
    place = parts.netloc.rpartition("@")[2]
    return f"{place}{parts.path}"


def same_place(dsns: Iterable[str], database: str, catalogue_dsn: str) -> str | None:
    """That of the DSNs which names the same host, port and database: it may know a newer password."""
    wanted = shown(dsn_of(database, catalogue_dsn))
    return next((dsn for dsn in dsns if shown(dsn) == wanted), None)


def name_of(dsn: str) -> str:
    """Of the database itself."""
    return unquote(urlsplit(dsn).path.strip("/"))


def _split(dsn: str) -> SplitResult | None:
    try:
        parts = urlsplit(dsn)
        _ = parts.port
    except ValueError:
        return None
    return parts
