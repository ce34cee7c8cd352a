"""Where a platform lives on this machine: its home folder, its token, and the addresses of its services.

`mwfs up` writes `<home>/endpoints.json` and `<home>/token`; everything else only reads them.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mwfs.errors import Unavailable

HOME_VARIABLE = "MWFS_HOME"
ENDPOINTS_FILE = "endpoints.json"
TOKEN_FILE = "token"


class NotRunning(Unavailable):
    """No platform runs in this home, as far as its files tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One process of the platform."""

    address: str
    #: Empty for processes without metrics, such as PostgreSQL.
    metrics_address: str
    #: 0 when it is not known.
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """All processes of the platform that runs in one home."""

    home: Path
    #: The supervisor, `mwfs up`.
    pid: int
    #: By name: orchestrator, scheduler, action_service, observability, postgres.
    services: Mapping[str, Endpoint]

    @property
    def supervised(self) -> bool:
        """Whether the supervisor lives."""
        if self.pid <= 0:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True  # somebody else's, and alive
        return True

    def address_of(self, service: str) -> str:
        """Where a service answers, any of its replicas; raises `NotRunning` when the file does not name it."""
        replicas = [
            endpoint.address
            for name, endpoint in self.services.items()
            if name.partition("-")[0] == service and endpoint.address
        ]
        if not replicas:
            raise NotRunning(
                f"The platform in {self.home} has no {service} yet.",
                f"Wait for it to be ready, or restart it with `{up_command(self.home)}`.",
            )
        return any_of(replicas)


def any_of(addresses: Sequence[str]) -> str:
    """A target that gRPC connects to whichever of these answers. They are IPv4 addresses with ports, unless there is just one."""
    return addresses[0] if len(addresses) == 1 else "ipv4:" + ",".join(addresses)


def resolve_home(flag: str | os.PathLike[str] | None = None) -> Path:
    """The home folder as an absolute path: the flag, else $MWFS_HOME, else ~/.mwfs. It need not exist."""
    chosen = flag or os.environ.get(HOME_VARIABLE) or Path("~/.mwfs")
    return Path(os.path.abspath(Path(chosen).expanduser()))


def up_command(home: Path) -> str:
    """The command that starts the platform of this home, as a user would type it."""
    return f"mwfs up{home_option(home)}"


def home_option(home: Path) -> str:
    """What a command needs to find this home: nothing where it is the default one, else ` --home …`."""
    return "" if home == resolve_home() else f" --home {shlex.quote(str(home))}"


def read_token(home: Path) -> str:
    """The token that every call to this platform carries. Raises `NotRunning` when there is none."""
    path = home / TOKEN_FILE
    try:
        token = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise _not_running(home) from None
    except (OSError, UnicodeDecodeError) as error:
        raise NotRunning(
            f"The platform's token {path} cannot be read ({_reason(error)}).",
            "Run as the user that started it, or choose another home with --home.",
        ) from None
    if not token:
        raise NotRunning(f"The platform's token {path} is empty.", f"Start it again with `{up_command(home)}`.")
    return token


def read_endpoints(home: Path) -> Endpoints:
    """Which processes run, and where they listen. Raises `NotRunning` when nothing does."""
    path = home / ENDPOINTS_FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        services = {
            name: Endpoint(
                address=str(entry.get("address") or ""),
                metrics_address=str(entry.get("metrics_address") or ""),
                pid=int(entry.get("pid") or 0),
            )
            for name, entry in document["services"].items()
        }
        return Endpoints(home=home, pid=int(document.get("pid") or 0), services=services)
    except FileNotFoundError:
        raise _not_running(home) from None
    except OSError as error:
        raise NotRunning(
            f"{path} cannot be read ({_reason(error)}).",
            "Run as the user that started the platform, or choose another home with --home.",
        ) from None
    except (ValueError, KeyError, AttributeError, TypeError):
        raise NotRunning(f"{path} is damaged.", f"Start the platform again with `{up_command(home)}`.") from None


def _not_running(home: Path) -> NotRunning:
    return NotRunning(f"The platform is not running in {home}.", f"Start it with `{up_command(home)}`.")


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
