"""Frames survive any way of cutting the bytes."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwfs_action_service.frames import FrameError, FrameReader, write_frame


@given(st.lists(st.binary(max_size=300), max_size=20), st.data())
def test_messages_come_out_as_they_went_in(messages: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(len(message).to_bytes(4, "little") + message for message in messages)
    reader, out, position = FrameReader(), [], 0
    while position < len(stream):
        step = data.draw(st.integers(1, len(stream) - position))
        out += reader.feed(stream[position : position + step])
        position += step
    assert out == messages


def test_a_written_frame_is_read_back() -> None:
    read_end, write_end = os.pipe()
    write_frame(write_end, b"hello")
    assert FrameReader().feed(os.read(read_end, 100)) == [b"hello"]
    os.close(read_end)
    os.close(write_end)


def test_garbage_is_an_error() -> None:
    with pytest.raises(FrameError):
        FrameReader().feed(b"\xff\xff\xff\xff" + b"x" * 100)
