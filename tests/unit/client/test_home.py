"""Finding the platform's home, token and addresses."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from mwfs.home import Endpoints, NotRunning, read_endpoints, read_token, resolve_home


def test_flag_wins_over_the_environment_and_the_environment_over_the_default(monkeypatch, tmp_path):
    monkeypatch.setenv("MWFS_HOME", str(tmp_path / "environment"))
    assert resolve_home(str(tmp_path / "flag")) == tmp_path / "flag"
    assert resolve_home() == tmp_path / "environment"
    monkeypatch.delenv("MWFS_HOME")
    assert resolve_home() == Path.home() / ".mwfs"


def test_a_relative_home_becomes_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert resolve_home("here") == tmp_path / "here"


def test_reads_addresses_and_token(tmp_path):
    (tmp_path / "endpoints.json").write_text(
        '{"pid": 7, "services": {"orchestrator": {"address": "127.0.0.1:1", "metrics_address": "", "pid": 8}}}'
    )
    (tmp_path / "token").write_text("secret\n")
    endpoints = read_endpoints(tmp_path)
    assert endpoints.address_of("orchestrator") == "127.0.0.1:1"
    assert endpoints.services["orchestrator"].pid == 8
    assert read_token(tmp_path) == "secret"
    with pytest.raises(NotRunning, match="has no scheduler"):
        endpoints.address_of("scheduler")


def test_replicas_of_a_service_are_one_target(tmp_path: Path) -> None:
    entries = {
        f"orchestrator{name}": {"address": f"127.0.0.1:{port}"} for name, port in (("", 1), ("-1", 2), ("-2", 3))
    }
    (tmp_path / "endpoints.json").write_text(json.dumps({"pid": 7, "services": entries}))
    assert read_endpoints(tmp_path).address_of("orchestrator") == "ipv4:127.0.0.1:1,127.0.0.1:2,127.0.0.1:3"


def test_an_empty_home_says_how_to_start_the_platform(tmp_path):
    for read in (read_endpoints, read_token):
        with pytest.raises(NotRunning, match=r"Start it with `mwfs up --home .*`"):
            read(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"services": 3}', '{"services": {"a": 3}}', '{"pid": 1}'])
def test_a_damaged_endpoints_file_is_said_to_be_damaged(tmp_path, text):
    (tmp_path / "endpoints.json").write_text(text)
    with pytest.raises(NotRunning, match="is damaged"):
        read_endpoints(tmp_path)


def test_a_supervisor_is_known_to_live_or_not(tmp_path: Path) -> None:
    def endpoints(pid: int) -> Endpoints:
        return Endpoints(home=tmp_path, pid=pid, services={})

    assert endpoints(os.getpid()).supervised
    assert not endpoints(0).supervised
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert not endpoints(ended.pid).supervised
