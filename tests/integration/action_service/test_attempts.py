"""Attempts on real worker processes, through real gRPC: every way to succeed and to fail."""

from typing import Any

from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2

SOURCE = """
import ctypes, os, signal, sys, time
import mwfs

@mwfs.operator
def double(x: int) -> int:
    print(f"doubling {x}")
    return 2 * x

@mwfs.operator
def fail(x: int) -> int:
    raise ValueError(f"cannot use {x}")  # line 13

@mwfs.operator
def leave(code: int) -> int:
    print("about to leave")
    os._exit(code)

@mwfs.operator
def leave_politely(code: int) -> int:
    sys.exit(code)  # line 22

@mwfs.operator
def crash() -> int:
    os.kill(os.getpid(), signal.SIGSEGV)
    return 1

@mwfs.operator
def wrong() -> int:
    return "text"
"""


def integer(number: int) -> types_pb2.Value:
    return types_pb2.Value(integer=number)


async def test_an_operator_succeeds_and_its_output_comes_back(host: Any) -> None:
    host.project.write(SOURCE)
    replica = await host.attach()
    outcome = await replica.run(host.project.bundle(), f"{host.project.name}:double", integer(21))
    assert outcome.state == events_pb2.ATTEMPT_STATE_SUCCEEDED
    assert types_pb2.Value.FromString(outcome.outputs[0]).integer == 42
    assert 0 < outcome.body_started_us <= outcome.body_ended_us
    assert outcome.worker.startswith("worker-")
    key = (outcome.key.run_id, outcome.key.node, outcome.key.attempt)
    assert await host.logs(key) == b"doubling 21\n"
