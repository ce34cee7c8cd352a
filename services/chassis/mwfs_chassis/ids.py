"""Where random ids come from."""

import uuid
from typing import Protocol


class Ids(Protocol):
    """A source of ids, passed in so that tests and the simulator can name them."""

    def new_id(self) -> str: ...


class RandomIds:
    """Ids that nobody can guess."""

    __slots__ = ()

    def new_id(self) -> str:
        return new_id()


def new_id() -> str:
    """A random UUID, such as `0b6f2c1e-7a55-4c0e-9a55-3f6a5f0b7c11`."""
    return str(uuid.uuid4())
