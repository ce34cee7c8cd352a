"""Length-prefixed frames from a worker: four bytes, little-endian, then the message."""

import os
import struct

_LENGTH = struct.Struct("<I")

#: A frame that claims to be larger is a defect, not data.
MAX_FRAME = 1 << 30


class FrameError(Exception):
    """The bytes are not frames: the worker wrote something else into its result pipe."""


def write_frame(fd: int, message: bytes) -> None:
    """Write all of it to a blocking pipe."""
    data = memoryview(_LENGTH.pack(len(message)) + message)
    while data:
        data = data[os.write(fd, data) :]


class FrameReader:
    """Cuts what was read from the pipe into messages."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete now."""
        if self._rest:
            data = self._rest + data
        messages = []
        position, end = 0, len(data)
        while end - position >= 4:
            (length,) = _LENGTH.unpack_from(data, position)
            if length > MAX_FRAME:
                raise FrameError(f"a frame of {length} bytes")
            stop = position + 4 + length
            if stop > end:
                break
            messages.append(data[position + 4 : stop])
            position = stop
        self._rest = data[position:]
        return messages
