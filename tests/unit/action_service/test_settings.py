"""What a host offers is what its environment says."""

from __future__ import annotations

import pytest

from mwfs_action_service.settings import ActionSettings
from mwfs_api.dags.v1 import dag_pb2
from mwfs_chassis.errors import FailedPrecondition

NEEDED = {
    "MWFS_HOME": "/nowhere",
    "MWFS_LISTEN": "127.0.0.1:0",
    "MWFS_METRICS_LISTEN": "127.0.0.1:0",
    "MWFS_TOKEN": "token",
    "MWFS_SCHEDULER_ADDRESS": "127.0.0.1:1",
    "MWFS_ARTIFACTS": "/nowhere/artifacts",
    "MWFS_CPUS": "2",
    "MWFS_MEMORY_BYTES": "1024",
}


def offered(monkeypatch: pytest.MonkeyPatch, **given: str) -> dag_pb2.Resources:
    for name, value in {**NEEDED, **given}.items():
        monkeypatch.setenv(name, value)
    return ActionSettings.from_env().capacity


def test_cores_and_memory_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = dag_pb2.Resources(cpu_millis=2000, memory_bytes=1024)
    assert offered(monkeypatch) == plain
    assert offered(monkeypatch, MWFS_GPU_TYPE="h100", MWFS_RESOURCES=" ", MWFS_LABELS="") == plain


def test_gpus_custom_resources_and_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    found = offered(
        monkeypatch,
        MWFS_GPUS="2",
        MWFS_GPU_TYPE="h100",
        MWFS_RESOURCES="licenses=4, fpga=1,none=0",
        MWFS_LABELS="zone=a,disk=ssd",
    )
    assert (found.gpus, found.gpu_type) == (2, "h100")
    assert [(one.name, one.amount) for one in found.custom] == [("fpga", 1), ("licenses", 4)]
    assert [(one.key, list(one.values)) for one in found.labels] == [("disk", ["ssd"]), ("zone", ["a"])]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("MWFS_RESOURCES", "licenses", "'licenses' has no ="),
        ("MWFS_RESOURCES", "licenses=nan", "'nan' is not an amount of licenses"),
        ("MWFS_RESOURCES", "licenses=1,licenses=2", "licenses is there twice"),
        ("MWFS_RESOURCES", "gpu=1", "'gpu' cannot be the name of a custom resource"),
        ("MWFS_LABELS", "zone=a b", "'a b' cannot be the key or the value of a label"),
        ("MWFS_LABELS", "zone=a,zone=b", "a host has one value of each"),
    ],
)
def test_what_cannot_be_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, says: str
) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        offered(monkeypatch, **{name: text})
    assert name in caught.value.message
    assert says in caught.value.message
    assert "Write such as" in caught.value.next_step
