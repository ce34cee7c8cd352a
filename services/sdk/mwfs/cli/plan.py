"""`mwfs plan`: what a run would do, before it is started."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from mwfs.cli.options import Home, Input, Inputs, Output, WorkflowArgument
from mwfs.cli.screen import Format, Screen, Waiting

if TYPE_CHECKING:
    from mwfs.dag import Dag
    from mwfs.dag_diff import Change
    from mwfs.local_files import LocalFiles
    from mwfs.planning import OperatorPlan, Plan

_EXAMPLES = """Examples:

$ mwfs plan flows:train --input labeled=iris.csv

$ mwfs plan flows:train --inputs inputs.json --output json"""


def register(app: typer.Typer) -> None:
    app.command(epilog=_EXAMPLES)(plan)


def plan(
    workflow: WorkflowArgument,
    input: Input = None,
    inputs: Inputs = None,
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """Show what a run would do and take, without running it. The nodes by operator, earlier results that would be taken, resources in total and at once, and how long by history.

    Earlier results also tell how the run grows; "+" is where only the run will know. Without a platform there is neither history nor results.
    """
    from dataclasses import asdict

    from mwfs.cli.inputs import read_inputs
    from mwfs.compiler import compile_values
    from mwfs.invoke import load_workflow

    screen = Screen(output)
    loaded = load_workflow(workflow)
    typed = read_inputs(loaded, input or [], inputs, home=home)
    with screen.waiting("Compiling") as waiting:
        dag = compile_values(loaded, typed.values, typed.files, typed.sources)
        found, changes, platform = _planned(dag, typed.files, home, waiting)
    if screen.json:
        document = asdict(found) | {
            "platform": platform,
            "changes": None if changes is None else [asdict(change) for change in changes],
        }
        screen.document(document)
        return
    _show(screen, found)
    if not platform:
        screen.note(
            "No platform is running here, so there is no history and no earlier result. Start one: mwfs up --detach"
        )
    elif changes is not None:
        screen.note(
            "Against the last run: " + ("; ".join(_words(change) for change in changes[:10]) or "no differences") + "."
        )


def _words(change: Change) -> str:
    return f"{change.kind} of {change.what}: {change.before or 'none'} → {change.after or 'none'}"


def _planned(dag: Dag, files: LocalFiles, home: str | None, waiting: Waiting) -> tuple[Plan, list[Change] | None, bool]:
    """The plan, what differs from the last run, and whether a platform answered."""
    from mwfs.client import BlockingClient
    from mwfs.client.results_cache import PlatformResults, read_through
    from mwfs.dag import Dag
    from mwfs.dag_diff import diff
    from mwfs.errors import Unavailable
    from mwfs.planning import plan as plan_of

    try:
        with BlockingClient(home) as client:
            waiting.say("Asking for earlier results")
            read_through(client, files)
            seconds = client.history(dag.proto.workflow)
            found = plan_of(dag.proto, results=PlatformResults(client), seconds=seconds, store=files)
            waiting.say("Comparing with the last run")
            last = next((run for run in client.runs(workflow=dag.proto.workflow, limit=5) if run.node_count), None)
            changes = None if last is None else diff(Dag(client.dag(last.run_id)), dag)
            return found, changes, True
    except Unavailable:
        return plan_of(dag.proto, store=files), None, False


def _show(screen: Screen, plan: Plan) -> None:
    from mwfs.cli import words

    rows = []
    also = any(one.custom or one.labels for one in plan.operators)
    for one in plan.operators:
        name = words.operator_name(one.operator) + (" (grows at run time)" if one.grows else "")
        memory = words.size(one.memory_bytes) if one.memory_bytes else ""
        seconds = words.duration(one.seconds) if one.seconds is not None else ""
        gpus = str(one.gpus) if one.gpus else ""
        nodes = f"{one.nodes}{'+' if one.more else ''}"
        row = [name, nodes, str(one.hits or ""), str(one.maybe or ""), f"{one.cpu:g}", memory, gpus, seconds]
        rows.append([*row, _also(one)] if also else row)
    screen.table(
        ["OPERATOR", "NODES", "FROM CACHE", "PERHAPS", "CPU", "MEMORY", "GPUS", "USUALLY", *(["ALSO"] if also else [])],
        rows,
        right=("NODES", "FROM CACHE", "PERHAPS", "CPU", "GPUS"),
    )
    known = ", without what the run adds" if plan.more else ""
    for name, demand in ((f"total{known}", plan.total), (f"at once{known}", plan.peak)):
        memory = f", {words.size(demand.memory_bytes)} of memory" if demand.memory_bytes else ""
        gpus = f", {demand.gpus} GPUs" if demand.gpus else ""
        custom = "".join(f", {amount} × {what}" for what, amount in demand.custom.items())
        screen.print(f"{name}: {demand.cpu:g} CPUs{memory}{gpus}{custom}")
    path = " → ".join(words.operator_name(name) for name in plan.critical[:8]) + (" → …" if plan.longest > 8 else "")
    took = (
        f"{words.duration(plan.seconds)} by history"
        if plan.seconds is not None
        else f"{words.counted(plan.longest, 'node')}, no history of all of them"
    )
    screen.print(f"critical path: {took}: {path}" if plan.longest else "critical path: nothing would run")
    screen.print(_summary(plan))
    if plan.more:
        screen.note("+ The run adds nodes: how many, only its results say.")
    if plan.maybe:
        screen.note("PERHAPS: cached calls whose inputs only the run will know; they are taken or run.")


def _also(one: OperatorPlan) -> str:
    custom = [f"{amount} × {name}" for name, amount in one.custom.items()]
    return ", ".join(custom + [f"on {key}={'|'.join(values)}" for key, values in one.labels.items()])


def _summary(plan: Plan) -> str:
    from mwfs.cli.words import counted

    run = plan.nodes - plan.hits - plan.maybe
    would = f"{run} to {run + plan.maybe}" if plan.maybe and not plan.more else str(run)
    at_least = "at least " if plan.more else ""
    taken = f"{counted(plan.hits, 'earlier result')} {'is' if plan.hits == 1 else 'are'} taken"
    return f"{at_least}{counted(plan.nodes, 'node')}, {taken}, {at_least}{would} would run"
