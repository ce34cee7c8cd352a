"""How many entries an answer has."""

from mwfs_chassis.errors import InvalidArgument


def page_size(asked: int, *, default: int, most: int) -> int:
    """Raises InvalidArgument when more is asked for than is given at once."""
    if asked > most:
        raise InvalidArgument(f"A page has at most {most:,} entries, not {asked:,}.")
    return asked or default
