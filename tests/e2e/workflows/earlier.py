"""One workflow makes things, others take them from its runs."""

from typing import NamedTuple

import mwfs
from mwfs import File


class Made(NamedTuple):
    note: File
    score: float
    numbers: list[int]


@mwfs.operator
def write(n: int) -> File:
    return File.from_text(f"note {n}", "note.txt")


@mwfs.operator
def count(n: int) -> list[int]:
    return list(range(n))


@mwfs.operator
def mean(numbers: list[int]) -> float:
    return sum(numbers) / len(numbers)


@mwfs.operator
def tell(notes: list[File], score: float, numbers: list[int]) -> str:
    return f"{' + '.join(note.read_text() for note in notes)}: {score} of {len(numbers)}"


@mwfs.workflow
def make(n: int) -> Made:
    numbers = count(n)
    return Made(write(n), mean(numbers), numbers)


@mwfs.workflow
def use(note: File, score: float = 0.5, numbers: list[int] = [1]) -> str:  # noqa: B006
    return tell([note], score, numbers)


@mwfs.workflow
def use_all(notes: list[File]) -> str:
    return tell(notes, 0.0, [])
