"""A fake platform, and clients of it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mwfs.client import Client

from .fake_platform import FakePlatform


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[FakePlatform]:
    fake = FakePlatform(tmp_path / "home")
    fake.start()
    yield fake
    fake.stop()


@pytest.fixture
async def client(platform: FakePlatform) -> AsyncIterator[Client]:
    async with Client(platform.home) as connected:
        yield connected
