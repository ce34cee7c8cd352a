"""Outputs of attempts stay within bounds, and their ends can be read."""

import os
from pathlib import Path

from mwfs_action_service import logs
from mwfs_action_service.api import _after_trim
from mwfs_action_service.journal import LogRange


def test_a_long_output_keeps_its_beginning_and_its_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    fd = logs.open_log(path)
    os.write(fd, b"before")
    os.write(fd, b"H" * 10 + b"m" * 50 + b"T" * 10)
    end, dropped = logs.trim(fd, 6, 76, head=10, tail=10)
    os.write(fd, b"after")
    os.close(fd)
    data = path.read_bytes()
    assert dropped == 50
    assert data[:end] == b"before" + b"H" * 10 + b"\n... 50 bytes of output were dropped here ...\n" + b"T" * 10
    assert data[end:] == b"after"


def test_a_short_output_is_left_alone(tmp_path: Path) -> None:
    fd = logs.open_log(tmp_path / "log")
    os.write(fd, b"x" * 20)
    assert logs.trim(fd, 0, 20, head=10, tail=10) == (20, 0)
    os.close(fd)


def test_the_last_lines_are_those_of_this_attempt_only(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"other\none\ntwo\nthree\xff\n")
    assert logs.last_lines(path, 6, 21, lines=2) == "two\nthree\ufffd"
    assert logs.last_lines(tmp_path / "missing", 0, 10) == ""


def test_a_reader_goes_on_after_the_middle_was_cut_out() -> None:
    place = LogRange(worker="w", number=0, start=0, stop=2 * logs.KEEP_HEAD, dropped=1000)
    assert _after_trim(5, place) == 5
    assert _after_trim(logs.KEEP_HEAD + 500, place) == logs.KEEP_HEAD
    assert _after_trim(2 * logs.KEEP_HEAD + 1000, place) == 2 * logs.KEEP_HEAD
