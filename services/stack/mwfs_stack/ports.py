"""The loopback ports of a home: chosen once, recorded, used again, and held while the platform runs."""

import random
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from mwfs_stack.errors import BadOption, PortTaken
from mwfs_stack.home_files import read_json, write_json

_FILE = "ports.json"
_FIXED = "fixed"
#: Below the range from which the kernel takes ports for outgoing connections, so that a restart finds its port free.
_RANGE = range(20_000, 30_000)
#: FIN_WAIT1, FIN_WAIT2, TIME_WAIT, LAST_ACK and CLOSING, as /proc/net/tcp writes them.
_ENDED_CONNECTIONS = frozenset({"04", "05", "06", "09", "0B"})


def choose_ports(
    home: Path,
    names: Sequence[str],
    hold: Callable[[socket.socket], object],
    *,
    fixed: tuple[str, int] | None = None,
) -> dict[str, int]:
    """A free port for each name. `fixed` gives one of them by hand; it is kept, and never replaced in silence.

    A recorded port that somebody else uses now is replaced by another one. `hold` is given a socket for each port: until
    it is closed no other platform chooses the port, also while the service that listens there is starting or dead.
    """
    if fixed and not 1 <= fixed[1] <= 65_535:
        raise BadOption(f"--port {fixed[1]} is not a port.", "Give a number between 1 and 65535.")
    document = read_json(home / _FILE)
    recorded = {name: port for name, port in document.items() if name in names and isinstance(port, int)}
    fixed_name = fixed[0] if fixed else document.get(_FIXED)
    if fixed:
        recorded = {name: port for name, port in recorded.items() if port != fixed[1]} | dict([fixed])
    ports: dict[str, int] = {}
    for name in names:
        port = recorded.get(name)
        holder = None if port is None else _held(port, again=True)
        if port is None or holder is None:
            if port is not None and name == fixed_name:
                raise PortTaken(
                    f"Port {port} of 127.0.0.1, which the {name} is to use, is taken by another program.",
                    "Stop that program, or choose another port with --port.",
                )
            port, holder = _free_port({*recorded.values(), *ports.values()})
        hold(holder)
        ports[name] = port
    write_json(home / _FILE, ports | ({_FIXED: fixed_name} if fixed_name else {}))
    return ports


def _free_port(avoid: set[int]) -> tuple[int, socket.socket]:
    for _ in range(1000):
        port = random.choice(_RANGE)
        if port not in avoid and (holder := _held(port, again=False)):
            return port, holder
    raise PortTaken(f"No free port between {_RANGE.start} and {_RANGE.stop} was found.", "Stop some programs.")


def _held(port: int, *, again: bool) -> socket.socket | None:
    """A socket that is bound to the port and does not listen; None when somebody else has the port.

    Servers bind with SO_REUSEADDR, so they can listen beside it. `again`: connections of the last life may linger, which
    that option overlooks too; but it would also overlook another platform that holds the port and does not listen yet.
    """
    holder = _bound(port, reuse=False)
    if holder is None and again and _connections_linger(port):
        holder = _bound(port, reuse=True)
    if holder is not None:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
    return holder


def _bound(port: int, *, reuse: bool) -> socket.socket | None:
    made = socket.socket()
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        made.bind(("127.0.0.1", port))
    except OSError:
        made.close()
        return None
    return made


def _connections_linger(port: int) -> bool:
    """Whether the kernel still keeps ended connections of this port."""
    try:
        lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return True  # not Linux: in doubt the port is ours, as recorded
    return any(
        local.endswith(f":{port:04X}") and state in _ENDED_CONNECTIONS
        for _, local, _, state, *_ in (line.split() for line in lines)
    )
