"""No GPU is handed out twice."""

import pytest

from mwfs_action_service.gpus import GpuSlots


def test_gpus_are_taken_lowest_first_and_given_back() -> None:
    slots = GpuSlots(3)
    assert slots.take(2) == (0, 1)
    assert slots.take(2) is None
    assert slots.take(1) == (2,)
    slots.give_back((0, 1))
    assert slots.take(1) == (0,)
    assert slots.free == 1


def test_giving_back_twice_is_a_defect() -> None:
    slots = GpuSlots(1)
    slots.give_back(slots.take(1) or ())
    with pytest.raises(AssertionError):
        slots.give_back((0,))
