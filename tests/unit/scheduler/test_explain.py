"""Why a group waits, in words."""

from __future__ import annotations

from mwfs_scheduler.decide import decide
from mwfs_scheduler.explain import Reason, describe, explain_run
from mwfs_scheduler.ledger import Ledger
from mwfs_scheduler.model import Inventory, NewGroup, Shape

GIB = 1 << 30


def waiting(need: Shape, *hosts: Shape, draining: bool = False) -> Ledger:
    ledger = Ledger(epoch=1)
    ledger.hello("r", [])
    for index, capacity in enumerate(hosts):
        ledger.offer(Inventory(host=f"h{index}", address="127.0.0.1:1", capacity=capacity, draining=draining))
    ledger.describe("r", NewGroup(group_id="g", team="ads", run_id="run", shape=need))
    ledger.demand("r", "g", 3)
    return ledger


def reason(ledger: Ledger) -> tuple[Reason, str, bool]:
    [found] = explain_run(ledger, "run")
    return found.reason, found.message, found.permanent


def test_too_large_for_any_host() -> None:
    ledger = waiting(Shape(8000, GIB, 0, ""), Shape(2000, 4 * GIB, 0, ""), Shape(4000, 4 * GIB, 0, ""))
    decide(ledger)
    assert reason(ledger) == (
        Reason.NO_NODE_LARGE_ENOUGH,
        "A node needs 8 cores and 1 GiB on one host, and the largest of 2 hosts, h1, has 4 cores and 4 GiB.",
        True,
    )


def test_no_gpu_of_that_type() -> None:
    ledger = waiting(Shape(1, 0, 1, "h100"), Shape(2000, GIB, 1, "a100"))
    decide(ledger)
    assert reason(ledger) == (
        Reason.NO_SUCH_TYPE,
        "A node needs GPUs of type h100, and the hosts have a100.",
        True,
    )


def test_all_places_taken() -> None:
    ledger = waiting(Shape(1000, 0, 0, ""), Shape(2000, GIB, 0, ""))
    decide(ledger)
    assert reason(ledger) == (
        Reason.WAITING_FOR_CAPACITY,
        "A node needs 1 core; 1 host could run it and has 1 GiB free; 1 of this group wait, 2 nodes hold places.",
        False,
    )


def test_free_in_pieces() -> None:
    ledger = waiting(Shape(2000, 0, 0, ""), Shape(3000, 0, 0, ""), Shape(3000, 0, 0, ""))
    decide(ledger)
    assert reason(ledger)[0] is Reason.FRAGMENTED


def test_no_host_connected() -> None:
    kind, message, permanent = reason(waiting(Shape(1000, 0, 0, "")))
    assert (kind, permanent) == (Reason.WAITING_FOR_CAPACITY, False)
    assert message.endswith("no host is connected at present.")


def test_a_draining_host_is_not_a_permanent_reason() -> None:
    kind, _, permanent = reason(waiting(Shape(1000, 0, 0, ""), Shape(2000, 0, 0, ""), draining=True))
    assert (kind, permanent) == (Reason.WAITING_FOR_CAPACITY, False)


def test_a_scheduler_that_has_just_started_says_whom_it_waits_for() -> None:
    ledger = waiting(Shape(1000, 0, 0, ""), Shape(2000, 0, 0, ""))
    ledger.awaited = {"orchestrator-1"}
    assert "orchestrator-1" in reason(ledger)[1]


def test_an_unknown_run_has_no_reasons() -> None:
    assert explain_run(waiting(Shape(1000, 0, 0, "")), "other") == []


def test_shapes_read_as_words() -> None:
    assert describe(Shape(1500, 3 * GIB // 2, 2, "h100")) == "1.5 cores, 1.5 GiB and 2 GPUs of type h100"
    assert describe(Shape(0, 0, 0, "")) == "nothing"
