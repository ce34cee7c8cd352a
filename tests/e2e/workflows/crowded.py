"""Nodes that look how many of them run at the same time."""

import time
from pathlib import Path
from uuid import uuid4

import mwfs


@mwfs.operator
def count_neighbours(number: int, folder: str) -> int:
    mine = Path(folder) / uuid4().hex
    mine.touch()
    try:
        time.sleep(0.02)
        return len(list(Path(folder).iterdir()))
    finally:
        mine.unlink()


@mwfs.operator
def most(counts: list[int]) -> int:
    return max(counts)


@mwfs.workflow
def crowd(n: int, folder: str) -> int:
    return most([count_neighbours(number, folder) for number in range(n)])
