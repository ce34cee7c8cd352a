"""The platform of a home: up, what happens to it when something dies, and down."""

import contextlib
import json
import os
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from mwfs_chassis.postgres import open_pool
from mwfs_stack import stopping
from mwfs_stack.detach import start_detached
from mwfs_stack.errors import CannotStart, HomeUnusable, PortTaken
from mwfs_stack.health import HealthProbe
from mwfs_stack.home_files import AlreadyRunning, supervisor_of
from mwfs_stack.processes import has_ended, wait_ended
from mwfs_stack.services import Capacity, ServiceSpec
from mwfs_stack.states import states_of
from mwfs_stack.supervisor import Plan

Plans = Callable[..., Plan]


def endpoints(plan: Plan) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((plan.home / "endpoints.json").read_text())
    return document


def process_of(plan: Plan, service: str) -> psutil.Process:
    return psutil.Process(endpoints(plan)["services"][service]["pid"])


async def serving(plan: Plan, service: str) -> None:
    """Wait until it answers."""
    address = endpoints(plan)["services"][service]["address"]
    async with HealthProbe(address, (plan.home / "token").read_text().strip()) as probe:
        assert await probe.is_serving(timeout_s=30)


def all_processes(plan: Plan) -> list[psutil.Process]:
    supervisor = psutil.Process(endpoints(plan)["pid"])
    return [supervisor, *supervisor.children(recursive=True)]


async def test_up_reports_every_service_and_down_ends_every_process(plan: Plans) -> None:
    ours = plan()
    ready = start_detached(ours)
    assert set(ready["services"]) == {"postgres", "orchestrator", "scheduler"}
    assert {service["state"] for service in ready["services"].values()} == {"SERVING"}
    states = await states_of(ours.home)
    assert states is not None
    assert {state.name: state.state for state in states} == dict.fromkeys(ready["services"], "SERVING")
    processes = all_processes(ours)
    assert stopping.stop(ours.home)
    assert all(wait_ended(process, 60) for process in processes)
    assert not (ours.home / "endpoints.json").exists()
    assert await states_of(ours.home) is None
    assert not stopping.stop(ours.home)


async def test_services_are_told_what_they_need_and_secrets_stay_secret(plan: Plans) -> None:
    offered = {"custom": {"licenses": 4, "fpga": 1}, "labels": {"zone": "a"}}
    ours = plan(capacity=Capacity(cpus=2, memory_bytes=2**30, gpus=0, **offered))
    start_detached(ours)
    told = process_of(ours, "orchestrator").environ()
    ports = json.loads((ours.home / "ports.json").read_text())
    assert told["MWFS_HOME"] == str(ours.home)
    assert told["MWFS_LISTEN"] == told["MWFS_ORCHESTRATOR_ADDRESS"] == f"127.0.0.1:{ports['orchestrator']}"
    assert told["MWFS_METRICS_LISTEN"] == f"127.0.0.1:{ports['orchestrator_metrics']}"
    assert (told["MWFS_CPUS"], told["MWFS_MEMORY_BYTES"], told["MWFS_GPUS"]) == ("2", str(2**30), "0")
    assert (told["MWFS_RESOURCES"], told["MWFS_LABELS"]) == ("licenses=4,fpga=1", "zone=a")
    assert len(told["MWFS_SHARD_DSNS"].split()) == 2
    for dsn in (told["MWFS_CATALOGUE_DSN"], told["MWFS_OBSERVABILITY_DSN"], *told["MWFS_SHARD_DSNS"].split()):
        await (await asyncpg.connect(dsn, timeout=120)).close()

    token, password = told["MWFS_TOKEN"], (ours.home / "postgres-password").read_text().strip()
    for name in ("token", "postgres-password"):
        assert stat.S_IMODE((ours.home / name).stat().st_mode) == 0o600
    for file in [*(ours.home / "logs").iterdir(), ours.home / "endpoints.json"]:
        assert token not in file.read_text()
        assert password not in file.read_text()
    for process in all_processes(ours):
        with contextlib.suppress(psutil.NoSuchProcess):  # PostgreSQL ends processes, and starts others
            words = " ".join(process.cmdline())
            assert token not in words
            assert password not in words


async def test_a_killed_service_is_back_at_the_same_address(plan: Plans) -> None:
    ours = plan()
    before = start_detached(ours)
    for _ in range(2):
        victim = process_of(ours, "scheduler")
        victim.kill()
        assert wait_ended(victim, 10)
        await serving(ours, "scheduler")
    after = endpoints(ours)["services"]
    assert after["scheduler"]["address"] == before["services"]["scheduler"]["address"]
    assert after["scheduler"]["pid"] != before["services"]["scheduler"]["pid"]
    assert after["scheduler"]["deaths"] == 2
    assert after["orchestrator"]["pid"] == before["services"]["orchestrator"]["pid"]


async def test_a_killed_postgresql_is_back_with_everything_in_it(plan: Plans) -> None:
    ours = plan()
    start_detached(ours)
    dsn = process_of(ours, "orchestrator").environ()["MWFS_CATALOGUE_DSN"]
    connection = await asyncpg.connect(dsn, timeout=120)
    await connection.execute("CREATE TABLE kept (id int)")
    await connection.close()
    victim = process_of(ours, "postgres")
    victim.kill()
    assert wait_ended(victim, 10)
    pool = await open_pool(dsn)  # waits until it is there
    assert await pool.fetchval("SELECT count(*) FROM kept") == 0
    await pool.close()


async def test_after_kill_9_of_the_supervisor_nothing_is_left_and_up_works(plan: Plans) -> None:
    ours = plan()
    before = start_detached(ours)
    supervisor, *others = all_processes(ours)
    supervisor.kill()
    assert all(wait_ended(process, 60) for process in others)
    assert supervisor_of(ours.home) is None
    after = start_detached(ours)
    addresses = [{n: s["address"] for n, s in up["services"].items()} for up in (before, after)]
    assert addresses[0] == addresses[1]


async def test_a_service_that_hung_when_its_supervisor_was_killed_is_ended_by_the_next_up(plan: Plans) -> None:
    ours = plan()
    start_detached(ours)
    hung = process_of(ours, "scheduler")
    supervisor, *others = all_processes(ours)
    hung.suspend()
    supervisor.kill()
    assert all(wait_ended(process, 60) for process in others if process != hung)
    assert not has_ended(hung)
    start_detached(ours)
    assert wait_ended(hung, 60)


async def test_up_a_second_time_says_that_it_runs(plan: Plans) -> None:
    ours = plan()
    start_detached(ours)
    before = endpoints(ours)
    with pytest.raises(AlreadyRunning):
        start_detached(ours)
    assert endpoints(ours) == before


async def test_two_homes_run_side_by_side(plan: Plans) -> None:
    one, two = plan("one"), plan("two")
    start_detached(one)
    start_detached(two)
    addresses = [s["address"] for ours in (one, two) for s in endpoints(ours)["services"].values()]
    assert len(set(addresses)) == len(addresses)
    async with HealthProbe(
        endpoints(two)["services"]["scheduler"]["address"], (one.home / "token").read_text().strip()
    ) as probe:
        assert not await probe.is_serving()
    assert stopping.stop(one.home)
    await serving(two, "scheduler")


def test_a_service_that_cannot_start_is_shown_with_the_end_of_its_log(plan: Plans) -> None:
    broken = ServiceSpec(name="action_service", command=(sys.executable, "-c", "raise SystemExit('no such disk')"))
    ours = plan(services=(*plan().services, broken))
    with pytest.raises(CannotStart, match="The action service ends as soon as it is started") as failure:
        start_detached(ours)
    assert "  no such disk\n" in str(failure.value)
    assert str(ours.home / "logs" / "action_service.log") in str(failure.value)
    assert supervisor_of(ours.home) is None
    assert not (ours.home / "endpoints.json").exists()


def test_a_port_asked_for_is_used_and_a_taken_one_is_refused(plan: Plans) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port: int = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"Port {port} of 127.0.0.1, which the orchestrator is to use, is taken"):
            start_detached(plan(port=port))
    ready = start_detached(plan(port=port))
    assert ready["services"]["orchestrator"]["address"] == f"127.0.0.1:{port}"
    stopping.stop(plan().home)
    assert start_detached(plan())["services"]["orchestrator"]["address"] == f"127.0.0.1:{port}"


def test_a_recorded_port_that_others_took_meanwhile_is_replaced(plan: Plans) -> None:
    ours = plan()
    before = start_detached(ours)["services"]["scheduler"]["address"]
    stopping.stop(ours.home)
    with socket.create_server(("127.0.0.1", int(before.rpartition(":")[2]))):
        after = start_detached(ours)["services"]["scheduler"]["address"]
    assert after != before


def test_a_home_that_cannot_be_written_is_refused(plan: Plans, folder: Path) -> None:
    (folder / "file").touch()
    with pytest.raises(HomeUnusable, match="cannot be written: Not a directory"):
        start_detached(plan("file/home"))


def test_a_folder_with_other_files_is_not_taken_over(plan: Plans, folder: Path) -> None:
    (folder / "project").mkdir()
    (folder / "project" / "thesis.tex").write_text("…")
    with pytest.raises(HomeUnusable, match=r"holds other files \(thesis.tex\)"):
        start_detached(plan("project"))


def test_purge_removes_the_home_and_its_database(plan: Plans, folder: Path) -> None:
    ours = plan()
    start_detached(ours)
    directory = Path(json.loads((ours.home / "home.json").read_text())["database_directory"])
    if os.geteuid() == 0:
        assert directory.is_relative_to(folder / "databases")
    else:
        assert directory == Path("postgres")
    stopping.stop(ours.home)
    assert stopping.purge(ours.home)
    assert not ours.home.exists()
    assert not directory.exists()
    assert not stopping.purge(ours.home)


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's database is inside the home")
def test_a_home_removed_by_hand_does_not_cost_the_next_one_its_start(plan: Plans) -> None:
    ours = plan()
    start_detached(ours)
    stopping.stop(ours.home)
    for file in (ours.home / "home.json", ours.home / "postgres-password", ours.home / "ports.json"):
        file.unlink()
    assert start_detached(ours)["services"]["postgres"]["state"] == "SERVING"
