"""The loopback ports of a home: chosen once, recorded, and used again."""

import random
import socket
from collections.abc import Sequence
from pathlib import Path

from mwfs_stack.errors import BadOption, PortTaken
from mwfs_stack.home_files import read_json, write_json

_FILE = "ports.json"
_FIXED = "fixed"
#: Below the range from which the kernel takes ports for outgoing connections, so that a restart finds its port free.
_RANGE = range(20_000, 30_000)


def choose_ports(home: Path, names: Sequence[str], *, fixed: tuple[str, int] | None = None) -> dict[str, int]:
    """A free port for each name. `fixed` gives one of them by hand; it is kept, and never replaced in silence.

    A recorded port that somebody else uses now is replaced by another one.
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
        if port is None or not _is_free(port):
            if port is not None and name == fixed_name:
                raise PortTaken(
                    f"Port {port} of 127.0.0.1, which the {name} is to use, is taken by another program.",
                    "Stop that program, or choose another port with --port.",
                )
            port = _free_port({*recorded.values(), *ports.values()})
        ports[name] = port
    write_json(home / _FILE, ports | ({_FIXED: fixed_name} if fixed_name else {}))
    return ports


def _free_port(avoid: set[int]) -> int:
    for _ in range(1000):
        port = random.choice(_RANGE)
        if port not in avoid and _is_free(port):
            return port
    raise PortTaken(f"No free port between {_RANGE.start} and {_RANGE.stop} was found.", "Stop some programs.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do, so that connections of the last life that linger in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
