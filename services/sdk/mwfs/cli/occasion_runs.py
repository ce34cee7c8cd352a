"""What the commands for schedules, triggers and backfills share: their options, the run that they start, and how they are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mwfs.cli.screen import Format, Screen

if TYPE_CHECKING:
    from mwfs.client import BlockingClient
    from mwfs.client.automations import EncodedRun
    from mwfs.client.blocking_automations import BlockingAutomations
    from mwfs_api.orchestrator.v1 import automations_pb2

Name = Annotated[str, typer.Argument(metavar="NAME", help="Its name.", show_default=False)]
Pin = Annotated[
    bool, typer.Option("--pin", help="Always run the code as it is now. [default: the newest registered version]")
]
Paused = Annotated[bool, typer.Option("--paused", help="Start nothing before it is resumed.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", metavar="NAME=VALUE", help="Of its runs. Repeat it.")]
Limit = Annotated[int, typer.Option(min=1, help="At most so many.")]


def encoded_run(
    workflow: str,
    given: Iterable[str],
    inputs_file: str | None,
    fills: dict[str, str],
    *,
    home: str | None,
    pinned: bool = False,
    priority: int = 0,
    tags: Iterable[str] = (),
) -> EncodedRun:
    """The run that an occasion starts, from what was typed. Raises InvalidInput."""
    from mwfs.cli.inputs import read_inputs
    from mwfs.cli.run import read_tags
    from mwfs.client.automations import EncodedRun
    from mwfs.invoke import load_workflow

    loaded = load_workflow(workflow)
    typed = read_inputs(loaded, given, inputs_file, home=home)
    return EncodedRun(
        workflow=loaded,
        values=typed.values,
        files=typed.files.paths,
        fills=fills,
        pinned=pinned,
        priority=priority,
        tags=read_tags(tags),
    )


def read_fills(pairs: Iterable[str], option: str) -> dict[str, str]:
    """From `day=day-1`. Raises InvalidInput."""
    from mwfs.errors import InvalidInput

    fills: dict[str, str] = {}
    for pair in pairs:
        name, equals, what = pair.partition("=")
        if not equals or not name or not what:
            raise InvalidInput(f"`{option} {pair}` is not NAME=WHAT.", f"Write {option} day=day.")
        if name in fills:
            raise InvalidInput(f"`{option}` names the input `{name}` twice.", "Name it once.")
        fills[name] = what
    return fills


def automation_document(automation: automations_pb2.Automation) -> dict[str, Any]:
    """A schedule, trigger or backfill, for JSON."""
    from mwfs.cli import words
    from mwfs_api.orchestrator.v1 import automations_pb2 as pb

    document: dict[str, Any] = {
        "name": automation.name,
        "id": automation.automation_id,
        "state": state_word(automation.state),
        "message": automation.message,
        "principal": automation.principal,
        "create_time": words.iso_time(automation.create_time_us),
        "counts": {occasion_word(each.state): each.count for each in automation.counts},
    }
    match automation.WhichOneof("content"):
        case "schedule":
            schedule = automation.schedule
            document |= {
                "cron": schedule.cron,
                "time_zone": schedule.time_zone or "UTC",
                "catch_up": pb.CatchUp.Name(schedule.catch_up or pb.CATCH_UP_LATEST).removeprefix("CATCH_UP_").lower(),
                "next_time": words.iso_time(automation.next_time_us),
                "skipped": automation.skipped,
                "run": _template_document(schedule.run),
            }
        case "trigger":
            trigger = automation.trigger
            document |= {
                "on": trigger.workflow or None,
                "states": [words.run_state(state) for state in trigger.states] or ["SUCCEEDED"],
                "tags": dict(trigger.tags),
                "output": trigger.output or None,
                "output_type": trigger.output_type or None,
                "run": _template_document(trigger.run),
            }
        case "backfill":
            backfill = automation.backfill
            document |= {
                "max_parallel": backfill.max_parallel,
                "range": [backfill.range.first, backfill.range.last] if backfill.HasField("range") else None,
                "run": _template_document(backfill.run),
                "join": _template_document(backfill.join) if backfill.HasField("join") else None,
                "join_run": occasion_document(automation.join) if automation.HasField("join") else None,
            }
    return document


def occasion_document(occasion: automations_pb2.Occasion) -> dict[str, Any]:
    """One occasion, for JSON."""
    from mwfs.cli import words

    return {
        "occasion": occasion.occasion or "join",
        "state": occasion_word(occasion.state),
        "run_id": occasion.run_id or None,
        "message": occasion.message,
        "time": words.iso_time(occasion.time_us),
        "turn": occasion.turn,
    }


def _template_document(template: automations_pb2.RunTemplate) -> dict[str, Any]:
    return {
        "workflow": template.workflow,
        "version": template.version_digest or None,
        "inputs": sorted(template.inputs),
        "fills": {fill.input: fill_words(fill) for fill in template.fills},
        "priority": template.priority,
        "tags": dict(template.tags),
    }


def fill_words(fill: automations_pb2.Fill) -> str:
    """As it is typed."""
    from mwfs_api.orchestrator.v1 import automations_pb2 as pb

    source = pb.FillSource.Name(fill.source).removeprefix("FILL_SOURCE_").lower()
    if fill.source == pb.FILL_SOURCE_OUTPUT:
        return f"output:{fill.output}"
    if fill.source == pb.FILL_SOURCE_TIME and fill.grain:
        grain = pb.Grain.Name(fill.grain).removeprefix("GRAIN_").lower()
        return f"{grain}{fill.shift:+}" if fill.shift else grain
    return source


def state_word(state: int) -> str:
    from mwfs_api.orchestrator.v1 import automations_pb2 as pb

    return pb.AutomationState.Name(state).removeprefix("AUTOMATION_STATE_")  # type: ignore[arg-type]


def occasion_word(state: int) -> str:
    from mwfs_api.orchestrator.v1 import automations_pb2 as pb

    return pb.OccasionState.Name(state).removeprefix("OCCASION_STATE_")  # type: ignore[arg-type]


def show_automation(screen: Screen, automation: automations_pb2.Automation) -> None:
    """One of them, for people or as a document."""
    document = automation_document(automation)
    if screen.json:
        screen.document(document)
        return
    run = document["run"]
    facts: dict[str, object] = {
        "Name": document["name"],
        "State": document["state"] + (f": {document['message']}" if document["message"] else ""),
        "Runs": run["workflow"] + (f" {run['version']}" if run["version"] else " (newest version)"),
        "Inputs": ", ".join([*run["inputs"], *(f"{name}={what}" for name, what in run["fills"].items())]),
    }
    match automation.WhichOneof("content"):
        case "schedule":
            facts |= {
                "When": f"{document['cron']} ({document['time_zone']})",
                "Catch-up": document["catch_up"] + (f", {document['skipped']} skipped" if document["skipped"] else ""),
                "Next": document["next_time"] if document["state"] == "ACTIVE" else None,
            }
        case "trigger":
            output = " ".join(each for each in (document["output"], document["output_type"]) if each)
            facts |= {
                "After": f"{document['on'] or 'any workflow'} {' or '.join(document['states'])}",
                "Output": output,
                "Tags": ", ".join(f"{name}={value}" for name, value in document["tags"].items()),
            }
        case "backfill":
            join = document["join_run"]
            facts |= {
                "Partitions": _progress(document["counts"]),
                "At a time": document["max_parallel"],
                "Join": document["join"]
                and f"{document['join']['workflow']} {join['state'] + ' ' + (join['run_id'] or join['message']) if join else ''}",
            }
    facts["Created"] = f"{document['create_time']} by {document['principal']}"
    if automation.WhichOneof("content") != "backfill":
        facts["Occasions"] = _progress(document["counts"])
    for name, fact in facts.items():
        if fact:
            screen.print(f"{name + ':':<11} {fact}".rstrip())


def _progress(counts: dict[str, int]) -> str:
    total = sum(counts.values())
    return f"{total}: " + ", ".join(f"{count} {state.lower()}" for state, count in counts.items()) if total else ""


def show_list(
    screen: Screen,
    key: str,
    automations: Sequence[automations_pb2.Automation],
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
) -> None:
    """All of one kind."""
    if screen.json:
        screen.document({key: [automation_document(each) for each in automations]})
    elif not automations:
        screen.print(f"No {key}.")
    else:
        screen.table(headings, rows)


def show_occasions(screen: Screen, heading: str, occasions: Sequence[automations_pb2.Occasion]) -> None:
    """A table of occasions."""
    if screen.json:
        screen.document({"occasions": [occasion_document(each) for each in occasions]})
    elif not occasions:
        screen.print("Nothing yet.")
    else:
        screen.table(
            [heading, "STATE", "RUN", ""],
            [(each.occasion, occasion_word(each.state), each.run_id[:8], each.message) for each in occasions],
        )


def show_result(
    home: str | None, output: Format, call: Callable[[BlockingAutomations], automations_pb2.Automation]
) -> None:
    """The schedule, trigger or backfill that a call gives."""
    from mwfs.client import BlockingClient

    with BlockingClient(home) as client:
        show_automation(Screen(output), call(client.automations))


def delete_one(home: str | None, output: Format, kind: automations_pb2.AutomationKind.ValueType, name: str) -> None:
    from mwfs.client import BlockingClient

    screen = Screen(output)
    with BlockingClient(home) as client:
        client.automations.delete(kind, name)
    if screen.json:
        screen.document({"deleted": name})
    else:
        screen.print(f"Deleted {name}.")


def show_created(screen: Screen, client: BlockingClient, response: automations_pb2.CreateAutomationResponse) -> None:
    """What came of creating one."""
    if not screen.json and not response.created:
        screen.note("It is there already, with the same content.")
    show_automation(screen, response.automation)
