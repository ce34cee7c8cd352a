"""The ports of a home: kept, and never shared with another home."""

import socket
from pathlib import Path

from mwfs_stack.ports import choose_ports


def test_a_home_keeps_its_ports_although_ended_connections_linger(tmp_path: Path) -> None:
    held: list[socket.socket] = []
    first = choose_ports(tmp_path, ["a", "b"], held.append)
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
    server.bind(("127.0.0.1", first["a"]))
    server.listen()
    client = socket.create_connection(("127.0.0.1", first["a"]))
    accepted, _ = server.accept()
    for each in (accepted, client, server, *held):  # the server's side closes first and lingers in TIME_WAIT
        each.close()
    again: list[socket.socket] = []
    assert choose_ports(tmp_path, ["a", "b"], again.append) == first
    for each in again:
        each.close()


def test_a_port_that_another_home_took_meanwhile_is_replaced_before_anybody_listens_on_it(tmp_path: Path) -> None:
    held: list[socket.socket] = []
    first = choose_ports(tmp_path, ["a"], held.append)
    taken = held.pop()  # as if it were the other home's: bound and not listening yet
    assert choose_ports(tmp_path, ["a"], held.append) != first
    for each in (taken, *held):
        each.close()
