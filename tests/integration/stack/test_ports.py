"""Ports of a home: nobody else chooses them while its platform runs, and its services can still listen there."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mwfs_stack import ports
from mwfs_stack.ports import choose_ports


@pytest.fixture
def held() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def two_ports_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few that a second choice would be the same."""
    monkeypatch.setattr(ports, "_RANGE", range(28_771, 28_773))


def listens(port: int) -> bool:
    """Whether a server, as all of ours are, can listen on a port."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
        try:
            server.bind(("127.0.0.1", port))
            server.listen()
        except OSError:
            return False
        return True


@pytest.mark.usefixtures("two_ports_in_all")
def test_two_homes_never_choose_the_same_port(tmp_path: Path, held: ExitStack) -> None:
    first = choose_ports(tmp_path, ["a"], held.enter_context)
    (tmp_path / "other").mkdir()
    second = choose_ports(tmp_path / "other", ["a"], held.enter_context)
    assert first["a"] != second["a"]


def test_a_chosen_port_can_be_listened_on_and_again_after_a_restart(tmp_path: Path, held: ExitStack) -> None:
    port = choose_ports(tmp_path, ["a"], held.enter_context)["a"]
    assert listens(port)
    assert listens(port)


def test_a_home_keeps_its_ports(tmp_path: Path) -> None:
    with ExitStack() as first_life:
        chosen = choose_ports(tmp_path, ["a"], first_life.enter_context)
    with ExitStack() as second_life:
        assert choose_ports(tmp_path, ["a"], second_life.enter_context) == chosen


def test_a_home_keeps_its_ports_although_ended_connections_linger(tmp_path: Path) -> None:
    with ExitStack() as first_life:
        first = choose_ports(tmp_path, ["a", "b"], first_life.enter_context)
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
        server.bind(("127.0.0.1", first["a"]))
        server.listen()
        client = socket.create_connection(("127.0.0.1", first["a"]))
        accepted, _ = server.accept()
        for each in (accepted, client, server):  # the server's side closes first and lingers in TIME_WAIT
            each.close()
    with ExitStack() as second_life:
        assert choose_ports(tmp_path, ["a", "b"], second_life.enter_context) == first


def test_a_port_that_another_home_took_meanwhile_is_replaced_before_anybody_listens_on_it(
    tmp_path: Path, held: ExitStack
) -> None:
    first = choose_ports(tmp_path, ["a"], held.enter_context)  # still held, as if by another home
    assert choose_ports(tmp_path, ["a"], held.enter_context) != first
