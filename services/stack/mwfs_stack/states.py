"""What runs in a home, seen from outside: recorded processes, and what each answers now."""

import asyncio
import socket
import struct
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mwfs_stack.child import RESTARTING, SERVING, STARTING
from mwfs_stack.home_files import ENDPOINTS_FILE, TOKEN_FILE, read_json, supervisor_of
from mwfs_stack.processes import same_process

NOT_ANSWERING = "NOT_ANSWERING"
_PATIENCE_S = 5.0
#: The first message of a PostgreSQL client that would like TLS. The kernel lets us connect to a server that stands still; only one that works answers this.
_WOULD_LIKE_TLS = struct.pack("!ii", 8, 80877103)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceState:
    """One line of `mwfs status`."""

    name: str
    pid: int
    address: str
    #: Where Prometheus finds its metrics; empty when it has none.
    metrics_address: str
    #: STARTING, SERVING, RESTARTING, or NOT_ANSWERING: it runs, but does not answer within five seconds.
    state: str
    #: How often it died since `up`.
    deaths: int


def token_of(home: Path) -> str:
    """The token of the platform in this home; empty when there is none."""
    try:
        return (home / TOKEN_FILE).read_text(encoding="ascii").strip()
    except OSError:
        return ""


async def states_of(home: Path) -> list[ServiceState] | None:
    """The state of each service of the platform in this home; None when no supervisor runs."""
    if supervisor_of(home) is None:
        return None
    token = token_of(home)
    services: dict[str, dict[str, Any]] = read_json(home / ENDPOINTS_FILE).get("services", {})
    return list(await asyncio.gather(*(_state_of(name, entry, token) for name, entry in services.items())))


async def _state_of(name: str, entry: dict[str, Any], token: str) -> ServiceState:
    pid, address, recorded = int(entry["pid"]), str(entry["address"]), str(entry["state"])
    if same_process(pid, float(entry["made_at"])) is None:
        state = RESTARTING
    elif recorded == SERVING:
        state = SERVING if await _answers(name, address, token) else NOT_ANSWERING
    else:
        state = STARTING
    return ServiceState(
        name=name,
        pid=pid,
        address=address,
        metrics_address=str(entry["metrics_address"]),
        state=state,
        deaths=int(entry["deaths"]),
    )


async def _answers(name: str, address: str, token: str) -> bool:
    if name != "postgres":
        from mwfs_stack.health import HealthProbe

        async with HealthProbe(address, token) as probe:
            return await probe.is_serving(timeout_s=_PATIENCE_S)
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(_PATIENCE_S):
            reader, writer = await asyncio.open_connection(host, int(port), family=socket.AF_INET)
            with closing(writer):
                writer.write(_WOULD_LIKE_TLS)
                return bool(await reader.read(1))
    except (OSError, TimeoutError):
        return False
