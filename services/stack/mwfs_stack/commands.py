"""The commands `mwfs up`, `down` and `status`; the CLI finds them through the entry-point group `mwfs.commands`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mwfs.cli.options import Home, Output
from mwfs.cli.screen import Format, Screen, error_document
from mwfs_stack.errors import BadOption, NotRunning

if TYPE_CHECKING:
    from mwfs_stack.services import Capacity
    from mwfs_stack.supervisor import Plan


def register(app: typer.Typer) -> None:
    """Add the commands to the CLI."""
    app.command(
        "up",
        epilog="Examples:\n\n$ mwfs up --detach\n\n$ mwfs up --detach --cpus 8 --memory 32Gi --gpus 1 --gpu-type h100\n\n"
        "$ mwfs up --detach --orchestrators 2 --schedulers 2 --output json",
    )(up)
    app.command("down", epilog="Examples:\n\n$ mwfs down\n\n$ mwfs down --home /tmp/trial --purge")(down)
    app.command("status", epilog="Examples:\n\n$ mwfs status\n\n$ mwfs status --output json")(status)


def up(
    home: Home = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return when the platform is ready; it runs on.")] = False,
    gpus: Annotated[
        int, typer.Option("--gpus", metavar="N", help="How many GPUs operators may use; none are looked for.")
    ] = 0,
    gpu_type: Annotated[str, typer.Option("--gpu-type", metavar="TYPE", help="What GPUs they are: h100.")] = "",
    resource: Annotated[
        list[str] | None,
        typer.Option(
            "--resource", metavar="NAME=AMOUNT", help="Whatever else operators share: licenses=4. Can be repeated."
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="KEY=VALUE", help="What this machine is: zone=a. Can be repeated."),
    ] = None,
    cpus: Annotated[
        float | None,
        typer.Option("--cpus", metavar="N", help="How many cores operators may use. [default: those of the machine]"),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option("--memory", metavar="SIZE", help="Memory for operators: 8Gi. [default: that of the machine]"),
    ] = None,
    orchestrators: Annotated[
        int,
        typer.Option(
            "--orchestrators", metavar="N", help="Replicas of the orchestrator: when one dies, the others go on."
        ),
    ] = 1,
    schedulers: Annotated[
        int,
        typer.Option(
            "--schedulers", metavar="N", help="Schedulers: one leads, and when it dies another takes over at once."
        ),
    ] = 1,
    port: Annotated[
        int | None,
        typer.Option("--port", metavar="N", help="Port of the orchestrator. [default: a free one, kept for the home]"),
    ] = None,
    output: Output = Format.TEXT,
) -> None:
    """Start the platform on this machine. An embedded PostgreSQL and all services, all on loopback."""
    from mwfs.home import resolve_home
    from mwfs_stack.detach import start_detached
    from mwfs_stack.home_files import ENDPOINTS_FILE, AlreadyRunning, read_json
    from mwfs_stack.services import MAX_ORCHESTRATORS, MAX_SCHEDULERS, services_of
    from mwfs_stack.supervisor import Plan

    screen = Screen(output)
    path = resolve_home(home)
    if not 1 <= orchestrators <= MAX_ORCHESTRATORS:
        raise BadOption(
            f"--orchestrators {orchestrators} is not a number of replicas.",
            f"Give a number between 1 and {MAX_ORCHESTRATORS}.",
        )
    if not 1 <= schedulers <= MAX_SCHEDULERS:
        raise BadOption(
            f"--schedulers {schedulers} is not a number of schedulers.",
            f"Give a number between 1 and {MAX_SCHEDULERS}.",
        )
    services = services_of(orchestrators, schedulers)
    capacity = _capacity(cpus, memory, gpus, gpu_type, resource or [], label or [])
    plan = Plan(home=path, capacity=capacity, port=port, services=services)
    try:
        if detach:
            _say_ready(path, start_detached(plan), screen, detached=True)
        else:
            _run_in_foreground(plan, screen)
    except AlreadyRunning:
        endpoints = read_json(path / ENDPOINTS_FILE) or {"services": {}, "pid": 0}
        _say_ready(path, endpoints, screen, detached=True, already=True)


def down(
    home: Home = None,
    purge: Annotated[
        bool, typer.Option("--purge", help="Also remove the home: database, artifacts, logs, everything.")
    ] = False,
    output: Output = Format.TEXT,
) -> None:
    """Stop the platform of a home. What it stored stays, unless --purge."""
    from mwfs.home import resolve_home
    from mwfs_stack import stopping

    screen = Screen(output)
    path = resolve_home(home)
    was_running = stopping.stop(path)
    purged = purge and stopping.purge(path)
    if screen.json:
        screen.document({"home": str(path), "was_running": was_running, "purged": purged})
        return
    said = f"Stopped the platform in {path}." if was_running else f"Nothing was running in {path}."
    screen.print(said + (" The home and its database are removed." if purged else ""))


def status(home: Home = None, output: Output = Format.TEXT) -> None:
    """Show the processes of the platform and whether they answer. Also which scheduler leads."""
    import asyncio
    import dataclasses

    from mwfs.cli import words
    from mwfs.home import resolve_home, up_command
    from mwfs_stack.leading import leading
    from mwfs_stack.states import states_of, token_of

    screen = Screen(output)
    path = resolve_home(home)
    states = asyncio.run(states_of(path))
    if states is None:
        error = NotRunning(f"The platform is not running in {path}.", f"Start it with `{up_command(path)}`.")
        if not screen.json:
            raise error
        # Still the document that programs expect of `status`.
        screen.note(f"Error: {error}")
        screen.document({"services": [], "scheduler": None, "home": str(path), "error": error_document(error)})
        raise typer.Exit(error.exit_code)
    leader = asyncio.run(leading(states, token_of(path)))
    if screen.json:
        said = leader and {"leads": leader.service, "epoch": leader.epoch, "since": words.iso_time(leader.since_us)}
        screen.document(
            {"services": [dataclasses.asdict(state) for state in states], "scheduler": said, "home": str(path)}
        )
        return
    screen.table(
        ["service", "state", "address", "metrics", "pid", "restarts"],
        [
            [state.name, state.state, state.address, state.metrics_address, str(state.pid), str(state.deaths)]
            for state in states
        ],
        right=["pid", "restarts"],
    )
    if leader is None:
        screen.note("No scheduler says at present which one leads: nothing new starts.")
    else:
        since = f"{words.iso_time(leader.since_us)} ({words.ago(leader.since_us)})"
        screen.print(f"{leader.service} leads since {since}, as number {leader.epoch}.")


def _run_in_foreground(plan: Plan, screen: Screen) -> None:
    import asyncio
    import logging

    from mwfs_chassis.telemetry import LineFormatter, configure_logging
    from mwfs_stack.detach import SUPERVISOR_LOG
    from mwfs_stack.home_files import Home
    from mwfs_stack.supervisor import supervise

    configure_logging("supervisor")
    logging.getLogger().handlers[0].setLevel(logging.WARNING)  # the terminal; the log file below gets all
    to_file = logging.FileHandler(Home.prepare(plan.home).logs / SUPERVISOR_LOG)
    to_file.setFormatter(LineFormatter("supervisor"))
    logging.getLogger().addHandler(to_file)
    asyncio.run(supervise(plan, on_ready=lambda endpoints: _say_ready(plan.home, endpoints, screen, detached=False)))
    if not screen.json:
        screen.print("Stopped.")


def _say_ready(path: Path, endpoints: dict[str, Any], screen: Screen, *, detached: bool, already: bool = False) -> None:
    from mwfs.home import home_option

    services = [
        {"name": name, "pid": entry["pid"], "address": entry["address"], "state": entry["state"]}
        for name, entry in endpoints["services"].items()
    ]
    if screen.json:
        screen.document({"home": str(path), "pid": endpoints["pid"], "already_running": already, "services": services})
        return
    addresses = ", ".join(f"{service['name']} {service['address']}" for service in services)
    begin = "The platform is already running" if already else "The platform is ready"
    end = f"stop it with `mwfs down{home_option(path)}`" if detached else "stop it with Ctrl-C"
    screen.print(f"{begin} in {path}: {addresses}; {end}.")


def _capacity(
    cpus: float | None, memory: str | None, gpus: int, gpu_type: str, resources: list[str], labels: list[str]
) -> Capacity:
    from mwfs_stack.services import Capacity
    from mwfs_types.resource_names import is_label, parse_amounts, parse_labels

    machine = Capacity.of_this_machine()
    if cpus is not None and not 0 < cpus <= 1_000_000:
        raise BadOption(f"--cpus {cpus:g} is not a number of cores.", "Give a number above 0, such as --cpus 2.")
    if not 0 <= gpus <= 100_000:
        raise BadOption(f"--gpus {gpus} is not a number of GPUs.", "Give a whole number, such as --gpus 1.")
    if gpu_type and (not gpus or not is_label(gpu_type)):
        raise BadOption(
            f"--gpu-type {gpu_type!r} is not a type of GPUs that are there.", "Write --gpus 1 --gpu-type h100."
        )
    try:
        custom = parse_amounts(resources)
    except ValueError as error:
        raise BadOption(f"--resource: {error}.", "Write --resource licenses=4.") from None
    try:
        labelled = parse_labels(labels)
    except ValueError as error:
        raise BadOption(f"--label: {error}.", "Write --label zone=a.") from None
    return Capacity(
        cpus=machine.cpus if cpus is None else cpus,
        memory_bytes=machine.memory_bytes if memory is None else _bytes(memory),
        gpus=gpus,
        gpu_type=gpu_type,
        custom=custom,
        labels=labelled,
    )


def _bytes(text: str) -> int:
    units = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
    units |= {f"{unit}i": 1024**power for power, unit in enumerate("KMGT", start=1)}
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]i?)?B?", text.strip())
    size = int(float(found[1]) * units[found[2] or ""]) if found else 0
    if not 0 < size < 2**63:
        raise BadOption(f"--memory {text} is not a size.", "Give bytes or a unit, such as --memory 8Gi.")
    return size
