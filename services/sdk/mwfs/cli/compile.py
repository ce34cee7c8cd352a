"""`mwfs compile`: what a workflow becomes, without any platform."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mwfs.cli.options import Home, Input, Inputs, NoPass, Output, WorkflowArgument
from mwfs.cli.screen import Format, Screen

if TYPE_CHECKING:
    from mwfs.dag import Dag

_EXAMPLES = """Examples:

$ mwfs compile flows:train --input labeled=iris.csv

$ mwfs compile flows:train --inputs inputs.json --save train.dag --output json

$ mwfs compile flows:train --input labeled=iris.csv --explain --no-pass share"""

_SHOWN_NODES = 50


def register(app: typer.Typer) -> None:
    app.command(name="compile", epilog=_EXAMPLES)(compile_workflow)


def compile_workflow(
    workflow: WorkflowArgument,
    input: Input = None,
    inputs: Inputs = None,
    explain: Annotated[bool, typer.Option("--explain", help="Also say what each pass over the Dag did.")] = False,
    no_pass: NoPass = None,
    save: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the serialised Dag there.", show_default=False)
    ] = None,
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """Compile a workflow here and show its Dag. That is its nodes, edges, and where each argument comes from.

    Needs no platform; with --explain a platform that runs is asked for earlier results and durations.
    """
    from mwfs import passes
    from mwfs.cli.dags import compiled, compiled_with_history

    screen = Screen(output)
    begun = time.perf_counter()
    with screen.waiting("Compiling"), passes.off(*(no_pass or ())):
        dag = (compiled_with_history if explain else compiled)(workflow, input or [], inputs, home=home)
        data = dag.serialize()
    seconds = time.perf_counter() - begun
    if save is not None:
        Path(save).write_bytes(data)
        screen.note(f"Wrote {save}.")
    if screen.json:
        screen.document(_document(dag, len(data), seconds) | (_passes_document(dag) if explain else {}))
    else:
        from mwfs.cli.words import duration, size

        screen.print(dag.describe(_SHOWN_NODES))
        if explain and dag.report is not None:
            screen.print(f"\n{dag.report.describe()}")
            if not dag.report.asked:
                screen.note("No platform is running here, so no earlier result and no history was asked for.")
        screen.note(f"Compiled in {duration(seconds)}: {dag.node_count} nodes, {size(len(data))}, {dag.digest[:19]}…")


def _passes_document(dag: Dag) -> dict[str, Any]:
    from dataclasses import asdict

    return {"passes": [asdict(each) for each in dag.report.passes] if dag.report is not None else []}


def _document(dag: Dag, size: int, seconds: float) -> dict[str, Any]:
    proto = dag.proto
    calls = Counter(proto.node_operator)
    return {
        "workflow": proto.workflow,
        "node_count": dag.node_count,
        "edge_count": len(dag.edges),
        "operators": [
            {
                "operator": f"{each.module}:{each.qualname}",
                "nodes": calls[index],
                "cpu": each.resources.cpu_millis / 1000,
                "memory_bytes": each.resources.memory_bytes,
                "gpu": each.resources.gpus,
                "custom": {one.name: one.amount for one in each.resources.custom},
                "labels": {label.key: list(label.values) for label in each.resources.labels},
            }
            for index, each in enumerate(proto.operators)
        ],
        "outputs": dag.outputs,
        "digest": dag.digest,
        "size": size,
        "seconds": seconds,
    }
