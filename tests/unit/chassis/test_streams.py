"""A stream is begun again however it ended, and stops when it is told to."""

import asyncio
from collections.abc import Callable

import pytest

from mwfs_chassis import streams
from mwfs_chassis.streams import keep_open


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_RETRY_S", 0)


def talk_that_ends_with(*endings: BaseException | None) -> tuple[Callable[[], "asyncio.Future[None]"], asyncio.Event]:
    """Ends as told, one time after another, and then stays."""
    left = list(endings)
    stays = asyncio.Event()

    async def talk() -> None:
        if left:
            ending = left.pop(0)
            if ending is not None:
                raise ending
            return
        stays.set()
        await asyncio.Event().wait()

    return talk, stays  # type: ignore[return-value]


async def test_it_is_begun_again_after_every_kind_of_end() -> None:
    talk, stays = talk_that_ends_with(
        None, asyncio.InvalidStateError(), asyncio.CancelledError(), ValueError("a defect of ours")
    )
    ends: list[int] = []
    failures: list[str] = []
    task = asyncio.create_task(keep_open("s", talk, ended=lambda: ends.append(1), failed=failures.append))
    await stays.wait()
    assert len(ends) == 4
    assert failures == ["s: ValueError('a defect of ours')"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_call_that_swallows_a_cancellation_is_not_begun_again() -> None:
    """As grpc.aio does when the call ends in that moment."""
    begun, calls = asyncio.Event(), 0

    async def talk() -> None:
        nonlocal calls
        calls += 1
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise asyncio.InvalidStateError from None

    task = asyncio.create_task(keep_open("s", talk))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert calls == 1
