"""`mwfs bench`: is my platform healthy, and how fast?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mwfs.cli.options import Home, NoHome, Output
from mwfs.cli.screen import Format, Screen

if TYPE_CHECKING:
    from mwfs.bench.runner import Bench

Count = Annotated[int, typer.Option("--n", "-n", min=1, help="How many.")]
Repeat = Annotated[int, typer.Option(min=1, help="Measure so many times and report the median.")]
WarmUp = Annotated[bool, typer.Option("--warm-up/--no-warm-up", help="Run a small workload first.")]


_COMPILE_EXAMPLES = """Examples:

$ mwfs bench compile --n 100000

$ mwfs bench compile --n 100000 --linear-to 1000000"""


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Measure a platform with operators that do nothing.")
    group.command(epilog="Examples:\n\n$ mwfs bench fanout --n 10000")(fanout)
    group.command(epilog="Examples:\n\n$ mwfs bench chain --n 500 --output json")(chain)
    group.command(epilog="Examples:\n\n$ mwfs bench swarm --n 1000 --repeat 3")(swarm)
    group.command(name="compile", epilog=_COMPILE_EXAMPLES)(compile_nodes)
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
    linear_to: Annotated[
        int | None,
        typer.Option(
            "--linear-to",
            min=30,
            metavar="NODES",
            help="Also compile a tenth, a third and all of so many nodes, and compare what a node costs.",
            show_default=False,
        ),
    ] = None,
    home: NoHome = None,
    output: Output = Format.TEXT,
) -> None:
    """Measure how fast a workflow of N nodes is made and read. Defines and serialises it, reads and validates it as the server does, imports the SDK; needs no platform."""
    from mwfs.bench.compiling import bench_compile, bench_linear
    from mwfs.bench.runner import median_of

    screen = Screen(output)
    with screen.waiting("Compiling"):
        report = median_of([bench_compile(n) for _ in range(repeat)], "seconds")
        linear = bench_linear(linear_to) if linear_to else None
    if screen.json:
        screen.document(report | ({"linear": linear} if linear else {}))
        return
    _show(screen, report, "seconds")
    screen.print(f"  {'server_libraries':<22} {', '.join(report['server_libraries']) or 'none loaded by import mwfs'}")
    if linear:
        _show_linear(screen, linear)


def _show_linear(screen: Screen, linear: dict[str, Any]) -> None:
    from mwfs.cli import words

    screen.table(
        ["NODES", "COMPILE AND SERIALISE", "A NODE", "PEAK", "READ AND VALIDATE"],
        [
            (
                f"{each['nodes']:,}",
                words.duration(each["seconds"]),
                f"{each['seconds'] / each['nodes'] * 1e6:.1f} µs",
                words.size(each["peak_memory_bytes"]),
                words.duration(each["decode_seconds"] + each["validate_seconds"]),
            )
            for each in linear["sizes"]
        ],
        right=("NODES", "COMPILE AND SERIALISE", "A NODE", "PEAK", "READ AND VALIDATE"),
    )
    time, memory = linear["cost_of_a_node"], linear["memory_of_a_node"]
    screen.print(
        f"a further node costs {time:.2f} times the time and {memory:.2f} times the memory in the upper part (1: linear)"
    )


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
