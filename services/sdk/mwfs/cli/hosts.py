"""`mwfs hosts`: the machines that run operators, what they have, and what of it is in use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from mwfs.cli.options import Home, Output
from mwfs.cli.screen import Format, Screen

if TYPE_CHECKING:
    from mwfs_api.dags.v1 import dag_pb2
    from mwfs_api.scheduler.v1 import scheduler_pb2

_EXAMPLES = """Examples:

$ mwfs hosts

$ mwfs hosts --output json"""
_COLUMNS = ["HOST", "ADDRESS", "CPUS", "MEMORY", "GPUS", "ALSO", "LABELS"]


def register(app: typer.Typer) -> None:
    app.command(epilog=_EXAMPLES)(hosts)


def hosts(home: Home = None, output: Output = Format.TEXT) -> None:
    """List the hosts that are connected, and what is in use there. With the labels that nodes can ask for."""
    from mwfs.client import BlockingClient

    screen = Screen(output)
    with BlockingClient(home) as client:
        found = client.hosts()
    if screen.json:
        screen.document({"hosts": [_document(host) for host in found]})
    elif found:
        screen.table(_COLUMNS, [_row(host) for host in found])
    else:
        screen.print("No host is connected.")


def _row(host: scheduler_pb2.Host) -> tuple[str, ...]:
    from mwfs.cli import words

    has, used = host.capacity, host.in_use
    in_use = {one.name: one.amount for one in used.custom}
    gpus = f"{used.gpus} of {has.gpus}{f' {has.gpu_type}' if has.gpu_type else ''}" if has.gpus else ""
    return (
        host.host,
        host.address,
        f"{used.cpu_millis / 1000:g} of {has.cpu_millis / 1000:g}",
        f"{words.size(used.memory_bytes)} of {words.size(has.memory_bytes)}",
        gpus,
        ", ".join(f"{one.name} {in_use.get(one.name, 0)} of {one.amount}" for one in has.custom),
        ", ".join(f"{label.key}={'|'.join(label.values)}" for label in has.labels),
    )


def _document(host: scheduler_pb2.Host) -> dict[str, Any]:
    return {
        "host": host.host,
        "address": host.address,
        "capacity": _amounts(host.capacity),
        "in_use": _amounts(host.in_use),
        "labels": {label.key: label.values[0] for label in host.capacity.labels},
    }


def _amounts(resources: dag_pb2.Resources) -> dict[str, Any]:
    return {
        "cpu": resources.cpu_millis / 1000,
        "memory_bytes": resources.memory_bytes,
        "gpu": resources.gpus,
        "gpu_type": resources.gpu_type,
        "custom": {one.name: one.amount for one in resources.custom},
    }
