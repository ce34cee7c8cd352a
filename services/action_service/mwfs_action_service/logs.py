"""Where the output of attempts lies, and how it is kept within bounds.

Each worker appends stdout and stderr to one file; an attempt is a byte range of it. Both the worker and the service (for a worker
that died) trim with the functions here: standard library only.
"""

import os
from pathlib import Path

#: What is kept of one attempt's output: this much of its beginning and this much of its end.
KEEP_HEAD = 8 * 1024 * 1024
KEEP_TAIL = 8 * 1024 * 1024

#: An attempt that writes more is stopped.
MAX_OUTPUT = 1024 * 1024 * 1024

#: Between two attempts a worker turns to a new file once its file is larger than this.
ROTATE_AT = 64 * 1024 * 1024

_COPY = 1024 * 1024


def log_path(folder: Path, worker: str, number: int) -> Path:
    return folder / f"{worker}.{number}.log"


def open_log(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def trim(fd: int, start: int, end: int, *, head: int = KEEP_HEAD, tail: int = KEEP_TAIL) -> tuple[int, int]:
    """Cut the middle out of the range at the end of the file when it is too long. Gives its new end and the bytes dropped."""
    if end - start <= head + tail:
        return end, 0
    dropped = end - start - head - tail
    marker = f"\n... {dropped} bytes of output were dropped here ...\n".encode()
    last = os.pread(fd, tail, end - tail)
    os.ftruncate(fd, start + head)
    written = memoryview(marker + last)  # the file is in append mode
    while written:
        written = written[os.write(fd, written) :]
    return start + head + len(marker) + len(last), dropped


def last_lines(path: Path, start: int, end: int, *, lines: int = 5, limit: int = 2000) -> str:
    """The end of an attempt's output, for the message of its failure."""
    begin = max(start, end - limit)
    try:
        with path.open("rb") as file:
            file.seek(begin)
            data = file.read(end - begin)
    except OSError:
        return ""
    return "\n".join(data.decode("utf-8", "replace").rstrip().splitlines()[-lines:])


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
