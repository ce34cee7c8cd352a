"""Parts start in order and stop in reverse, whatever happens between."""

import asyncio
import os
import signal

import pytest

from mwfs_chassis.lifecycle import run_parts


class Recorded:
    """A part that writes down what happens to it."""

    def __init__(self, name: str, diary: list[str], *, signal_when_started: bool = False) -> None:
        self.name = name
        self.diary = diary
        self._signal = signal_when_started

    async def start(self) -> None:
        self.diary.append(f"start {self.name}")
        if self._signal:
            os.kill(os.getpid(), signal.SIGTERM)

    async def stop(self) -> None:
        self.diary.append(f"stop {self.name}")


class FailsToStart(Recorded):
    async def start(self) -> None:
        raise ValueError("the disk is full")


class FailsToStop(Recorded):
    async def stop(self) -> None:
        raise ValueError("no")


class NeverStarts(Recorded):
    async def start(self) -> None:
        self.diary.append(f"start {self.name}")
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()


class NeverStops(Recorded):
    async def stop(self) -> None:
        await asyncio.Event().wait()


async def test_a_signal_stops_the_parts_in_reverse_order() -> None:
    diary: list[str] = []
    await run_parts([Recorded("a", diary), Recorded("b", diary, signal_when_started=True)])
    assert diary == ["start a", "start b", "stop b", "stop a"]


async def test_a_part_that_cannot_start_stops_the_others_and_says_why() -> None:
    diary: list[str] = []
    with pytest.raises(ValueError, match="the disk is full"):
        await run_parts([Recorded("a", diary), FailsToStart("b", diary), Recorded("c", diary)])
    assert diary == ["start a", "stop b", "stop a"]


async def test_a_signal_while_a_part_is_starting_stops_too() -> None:
    diary: list[str] = []
    await run_parts([Recorded("a", diary), NeverStarts("b", diary), Recorded("c", diary)])
    assert diary == ["start a", "start b", "stop b", "stop a"]


async def test_parts_that_cannot_stop_do_not_keep_the_others_from_stopping() -> None:
    diary: list[str] = []
    parts = [
        Recorded("a", diary),
        FailsToStop("b", diary),
        NeverStops("c", diary),
        Recorded("d", diary, signal_when_started=True),
    ]
    await run_parts(parts, stop_timeout_s=0.01)
    assert diary[-2:] == ["stop d", "stop a"]
