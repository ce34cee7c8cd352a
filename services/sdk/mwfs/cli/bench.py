"""`mwfs bench`: is my platform healthy, and how fast?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mwfs.cli.options import Home, Output
from mwfs.cli.screen import Format, Screen

if TYPE_CHECKING:
    from mwfs.bench.runner import Bench

Count = Annotated[int, typer.Option("--n", "-n", min=1, help="How many.")]
Repeat = Annotated[int, typer.Option(min=1, help="Measure so many times and report the median.")]
WarmUp = Annotated[bool, typer.Option("--warm-up/--no-warm-up", help="Run a small workload first.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Measure a platform with operators that do nothing.")
    group.command(epilog="Examples:\n\n$ mwfs bench fanout --n 10000")(fanout)
    group.command(epilog="Examples:\n\n$ mwfs bench chain --n 500 --output json")(chain)
    group.command(epilog="Examples:\n\n$ mwfs bench swarm --n 1000 --repeat 3")(swarm)
    group.command(name="compile", epilog="Examples:\n\n$ mwfs bench compile --n 100000")(compile_nodes)
    app.add_typer(group, name="bench")


def fanout(
    n: Count = 10_000, repeat: Repeat = 1, warm_up: WarmUp = True, home: Home = None, output: Output = Format.TEXT
) -> None:
    """1 → N → 1: operators per second."""
    _measure("ops_per_s", lambda bench: bench.fanout(n), repeat, warm_up, home, output)


def chain(
    n: Count = 500, repeat: Repeat = 1, warm_up: WarmUp = True, home: Home = None, output: Output = Format.TEXT
) -> None:
    """N operators in a row: milliseconds a hop (median)."""
    _measure("ms_per_hop", lambda bench: bench.chain(n), repeat, warm_up, home, output)


def swarm(
    n: Count = 1_000, repeat: Repeat = 1, warm_up: WarmUp = True, home: Home = None, output: Output = Format.TEXT
) -> None:
    """N workflows of three operators: workflows per second."""
    _measure("workflows_per_s", lambda bench: bench.swarm(n), repeat, warm_up, home, output)


def compile_nodes(
    n: Count = 100_000,
    repeat: Repeat = 1,
    home: Annotated[str | None, typer.Option(hidden=True)] = None,
    output: Output = Format.TEXT,
) -> None:
    """Define and serialise a workflow of N nodes: seconds. Needs no platform."""
    from mwfs.bench.runner import bench_compile, median_of

    _show(Screen(output), median_of([bench_compile(n) for _ in range(repeat)], "seconds"), "seconds")


def _measure(
    figure: str,
    workload: Callable[[Bench], Awaitable[dict[str, Any]]],
    repeat: int,
    warm_up: bool,
    home: str | None,
    output: Format,
) -> None:
    import asyncio

    from mwfs.bench.runner import Bench, median_of
    from mwfs.client import Client
    from mwfs.home import read_endpoints, resolve_home

    endpoints = read_endpoints(resolve_home(home))
    pids = {name: service.pid for name, service in endpoints.services.items()} | {"supervisor": endpoints.pid}

    async def main() -> dict[str, Any]:
        async with Client(home) as client:
            bench = Bench(client, pids=pids)
            if warm_up:
                await bench.warm_up()
            return median_of([await workload(bench) for _ in range(repeat)], figure)

    _show(Screen(output), asyncio.run(main()), figure)


def _show(screen: Screen, report: dict[str, Any], figure: str) -> None:
    from mwfs.cli import words

    if screen.json:
        screen.document(report)
        return
    screen.print(f"{report['bench']} n={report['n']}: {figure} {report[figure]:,.2f}")
    for name, value in report.items():
        if isinstance(value, float) and name != figure:
            screen.print(f"  {name:<22} {value:,.3f}")
        elif isinstance(value, dict) and value:
            for part, shown in value.items() if isinstance(next(iter(value.values())), dict) else [("", value)]:
                figures = "  ".join(f"{each} {number:,.2f}" for each, number in shown.items())
                screen.print(f"  {part or name:<22} {figures}")
        elif name.endswith("_bytes"):
            screen.print(f"  {name:<22} {words.size(value)}")
        elif name == "repeats":
            screen.print(f"  {name:<22} {', '.join(f'{each:,.2f}' for each in value)}")
    if report.get("services"):
        screen.table(
            ["PROCESS", "CPU s", "CPU ms/op", "PEAK", "CHILDREN", "PROCESSES"],
            [
                (
                    each["name"],
                    f"{each['cpu_seconds']:.2f}",
                    f"{each['cpu_ms_per_op']:.3f}",
                    words.size(each["peak_memory_bytes"]),
                    words.size(each["children_peak_memory_bytes"]) if each["processes"] > 1 else "",
                    str(each["processes"]),
                )
                for each in report["services"]
            ],
            right=("CPU s", "CPU ms/op", "PEAK", "CHILDREN", "PROCESSES"),
        )
