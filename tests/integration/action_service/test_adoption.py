"""Attempts change hands when their run gets another owner; whoever comes late with an older claim changes nothing."""

from pathlib import Path
from typing import Any

from mwfs_api.action.v1 import action_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2

from .conftest import Replica, key_proto, new_key

SOURCE = """\
import os, time
import mwfs

@mwfs.operator
def double(x: int) -> int:
    return 2 * x

@mwfs.operator
def wait(path: str) -> str:
    while not os.path.exists(path):
        time.sleep(0.01)
    return "waited"
"""


def text(words: object) -> types_pb2.Value:
    return types_pb2.Value(text=str(words))


async def adopt(replica: Replica, key: Any, epoch: int) -> None:
    """And until that is done: messages of a stream are read in their order."""
    adoption = action_pb2.Adoption(key=key_proto(key), epoch=epoch)
    await replica.call.write(action_pb2.AttachRequest(adoptions=[adoption]))
    nobody = new_key()
    await replica.stop(nobody)
    await replica.outcome(nobody)


async def test_the_outcome_goes_to_the_newest_owner(host: Any, tmp_path: Path) -> None:
    host.project.write(SOURCE)
    first, second = await host.attach("first"), await host.attach("second")
    key = await first.launch(host.project.bundle(), f"{host.project.name}:wait", [text(tmp_path / "go")])
    await first.begun(key)
    await adopt(second, key, 7)
    await adopt(first, key, 6)  # late
    (tmp_path / "go").write_text("")
    assert (await second.outcome(key)).state == events_pb2.ATTEMPT_STATE_SUCCEEDED
    assert key not in first.outcomes


async def test_an_outcome_that_was_told_already_is_told_to_the_new_owner(host: Any) -> None:
    host.project.write(SOURCE)
    first, second = await host.attach("first"), await host.attach("second")
    key = await first.launch(host.project.bundle(), f"{host.project.name}:double", [types_pb2.Value(integer=4)])
    outcome = await first.outcome(key)
    await adopt(second, key, 2)
    assert await second.outcome(key) == outcome
    host.service.kill()
    host.service.start()
    assert (await host.attach("second")).outcomes[key] == outcome, "also after a restart"


async def test_what_is_not_known_is_lost_and_is_not_launched_later(host: Any) -> None:
    host.project.write(SOURCE)
    first, second = await host.attach("first"), await host.attach("second")
    key = new_key()
    await adopt(second, key, 2)
    assert (await second.outcome(key)).state == events_pb2.ATTEMPT_STATE_LOST
    bundle, ref = host.project.bundle(), f"{host.project.name}:double"
    await first.launch(bundle, ref, [types_pb2.Value(integer=1)], key=key)
    await first.run(bundle, ref, types_pb2.Value(integer=1))
    assert key not in first.outcomes, "its new owner was told that it is lost"


async def test_a_hello_names_what_the_replica_holds(host: Any, tmp_path: Path) -> None:
    host.project.write(SOURCE)
    first = await host.attach("first")
    key = await first.launch(host.project.bundle(), f"{host.project.name}:wait", [text(tmp_path / "go")])
    await first.begun(key)
    hello = action_pb2.AttachHello(replica="second", holds=[action_pb2.Adoption(key=key_proto(key), epoch=3)])
    second = await host.attach(hello=hello)
    assert [(live.run_id, live.node, live.attempt) for live in second.welcome.live] == [key]
    (tmp_path / "go").write_text("")
    assert (await second.outcome(key)).state == events_pb2.ATTEMPT_STATE_SUCCEEDED


async def test_outcomes_of_a_replica_that_is_gone_are_told_to_the_others(host: Any) -> None:
    host.project.write(SOURCE)
    first = await host.attach("first")
    key = await first.launch(host.project.bundle(), f"{host.project.name}:double", [types_pb2.Value(integer=4)])
    outcome = await first.outcome(key)
    host.service.kill()
    host.service.start()
    second = await host.attach("second")
    assert second.outcomes[key] == outcome
    await second.acknowledge(key)
    await adopt(second, new_key(), 1)
    assert key not in (await host.attach("third")).outcomes
