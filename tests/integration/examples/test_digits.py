"""The PyTorch example, compiled and run in this process."""

from types import ModuleType

import pytest

pytestmark = pytest.mark.heavy


@pytest.fixture
def digits() -> ModuleType:
    """The example; PyTorch comes with the extra `torch`, which `tests/run --all` installs."""
    pytest.importorskip("torch", reason="the extra `torch` is not installed; tests/run --all installs it")
    from mwfs.examples import digits

    return digits


def test_networks_learn_to_read_digits(digits):
    trained = digits.train.run_local(widths=[16, 64], epochs=8)
    assert trained.metrics["accuracy"] > 0.85
    assert trained.metrics["width"] in (16, 64)
    rows = list(trained.predictions.rows())
    assert len(rows) == trained.metrics["images_held_back"]
    assert set(rows[0]) == {"digit", "predicted_digit"}


def test_training_asks_for_a_gpu_of_its_own(digits):
    dag = digits.train.compile(widths=[16, 64]).proto
    asked = {operator.qualname: operator.resources.gpus for operator in dag.operators}
    assert asked["fit"] == 1
    assert {gpus for operator, gpus in asked.items() if operator != "fit"} == {0}


def test_the_same_seed_gives_the_same_network(digits):
    first, second = (digits.train.run_local(widths=[16], epochs=2) for _ in range(2))
    assert dict(first.metrics) == dict(second.metrics)
