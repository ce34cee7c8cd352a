"""`mwfs explain` and `mwfs what-if`: why nodes wait, and what would let them start. No part of the service."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mwfs.cli.options import Home, Output, RunArgument
from mwfs.cli.screen import Format, Screen
from mwfs.errors import InvalidInput
from mwfs_scheduler.team_quotas.commands import as_user_error
from mwfs_types.limits import MAX_PRIORITY

if TYPE_CHECKING:
    from mwfs.client import BlockingClient
    from mwfs_api.dags.v1 import dag_pb2
    from mwfs_api.scheduler.v1 import scheduler_pb2
    from mwfs_api.scheduler.v1 import what_if_pb2 as pb

#: Who asks why something waits is told what is away, and does not wait for it as other commands do.
_PATIENCE_S: Final = 1.0
#: Of those that run, so many are looked at for when one of them ends.
_MOST_RUNNING: Final = 1_000
_AMOUNTS: Final = "RESOURCE=AMOUNT,…"
_TIMES: Final = re.compile(r"(?:([1-9]\d{0,5})x:)?(.*)", re.DOTALL)


def register(app: typer.Typer) -> None:
    app.command(epilog="Examples:\n\n$ mwfs explain 1a2b3c4d\n\n$ mwfs explain 1a2b3c4d 17 --output json")(explain)
    app.command(
        name="what-if",
        epilog="Examples:\n\n$ mwfs what-if 1a2b3c4d --team vision --guarantee gpu=8,cpu=64,memory=512GiB\n\n"
        "$ mwfs what-if 1a2b3c4d --priority 10\n\n$ mwfs what-if 1a2b3c4d --needs gpu:a100=1,cpu=4\n\n"
        "$ mwfs what-if 1a2b3c4d --add-host 2x:cpu=64,memory=512GiB,gpu:h100=8",
    )(what_if)


def explain(
    run: RunArgument,
    node: Annotated[
        int | None, typer.Argument(metavar="NODE", min=0, help="Only this node.", show_default=False)
    ] = None,
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """Say why nodes of a run do not start, and when they will. The reason with its numbers, who is ahead, and when they start if that is known. `mwfs what-if` says what would help."""
    from mwfs.client import BlockingClient
    from mwfs_api.events.v1 import events_pb2
    from mwfs_scheduler.what_if import screens
    from mwfs_scheduler.what_if.likely import likely_end

    screen = Screen(output)
    with BlockingClient(home, patience_s=_PATIENCE_S) as client:
        found = client.get_run(run)
        groups = list(client.explain_waiting(found.run_id))
        # While nothing at all is granted that is why each of them waits, and the database that nodes are read from is away.
        of_node = None if node is None or _all_paused(groups) else client.node(found.run_id, node)
        if of_node is not None:
            groups = [group for group in groups if group.group_id == of_node.waiting_group]
        likely = None
        if any(_unknown(group) for group in groups):
            running = client.nodes(found.run_id, states=[events_pb2.NODE_STATE_RUNNING], limit=_MOST_RUNNING)
            likely = likely_end(list(running), client.history(found.workflow), time.time())
    guesses = [likely if _unknown(group) else None for group in groups]
    if screen.json:
        about = None if node is None else {"node": node, "state": screens.state_of(of_node) if of_node else None}
        waiting = [screens.group_document(group, guess) for group, guess in zip(groups, guesses, strict=True)]
        screen.document({"run_id": found.run_id, "node": about, "waiting": waiting})
    elif not groups:
        screen.print(screens.not_waiting(of_node) if of_node else "Nothing of this run waits for room.")
    else:
        for group, guess in zip(groups, guesses, strict=True):
            screens.show_group(screen, group, guess)


def what_if(
    run: RunArgument,
    team: Annotated[
        str,
        typer.Option(
            metavar="TEAM", help="The team whose quota would differ, with one of the next three.", show_default=False
        ),
    ] = "",
    guarantee: Annotated[
        str | None, typer.Option(metavar=_AMOUNTS, help="What the team would be promised.", show_default=False)
    ] = None,
    burst: Annotated[
        str | None,
        typer.Option(metavar=_AMOUNTS, help="What the team might use at most; gpu=none: no limit.", show_default=False),
    ] = None,
    weight: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="The weight that the team would have.", show_default=False)
    ] = None,
    priority: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=-MAX_PRIORITY,
            max=MAX_PRIORITY,
            help="The priority that the waiting nodes of the run would have.",
            show_default=False,
        ),
    ] = None,
    needs: Annotated[
        str | None,
        typer.Option(
            metavar=_AMOUNTS, help="What one of these nodes would need; gpu:TYPE for a type.", show_default=False
        ),
    ] = None,
    add_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[Nx:]" + _AMOUNTS, help="Machines that would be there as well. Repeat it.", show_default=False
        ),
    ] = None,
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """Say what would let the waiting nodes of a run start. With another quota, priority or need, or with more machines; nothing is changed."""
    from mwfs.client import BlockingClient
    from mwfs_api.scheduler.v1 import what_if_pb2 as pb
    from mwfs_scheduler.what_if import screens

    request = pb.WhatIfRequest(priority=priority)
    of_team = guarantee is not None or burst is not None or weight is not None
    if of_team != bool(team):
        raise InvalidInput("A quota belongs to a team.", "Give --team with --guarantee, --burst or --weight.")
    if not (of_team or priority is not None or needs or add_host):
        raise InvalidInput("Nothing would be different.", "Give a quota, --priority, --needs or --add-host.")
    with as_user_error():
        if needs:
            request.resources.CopyFrom(_resources(needs))
        for text in add_host or ():
            found = _TIMES.fullmatch(text)
            assert found is not None
            request.hosts.add(capacity=_resources(found[2]), count=int(found[1] or 1))
    with BlockingClient(home) as client:
        request.run_id = client.get_run(run).run_id
        if team:
            _add_quota(client, request, team, guarantee, burst, weight)
        response = client.what_if(request)
    screen = Screen(output)
    if screen.json:
        screen.document(screens.document(response))
    else:
        screens.show(screen, response)


# --- explain ----------------------------------------------------------------------------------------------------------


def _unknown(group: scheduler_pb2.WaitingGroup) -> bool:
    """Whether the scheduler has no estimate, and what runs could give one."""
    return not group.permanent and not _all_paused([group]) and not group.HasField("starts_in_s")


def _all_paused(groups: list[scheduler_pb2.WaitingGroup]) -> bool:
    from mwfs_api.scheduler.v1 import scheduler_pb2

    return bool(groups) and all(group.reason == scheduler_pb2.WAITING_REASON_PAUSED for group in groups)


# --- what-if ----------------------------------------------------------------------------------------------------------


def _resources(text: str) -> dag_pb2.Resources:
    """Raises BadQuotas."""
    from mwfs_api.dags.v1 import dag_pb2
    from mwfs_scheduler.quotas import BadQuotas
    from mwfs_scheduler.team_quotas.amounts import parse
    from mwfs_types.resource_names import custom_rows

    found, custom = dag_pb2.Resources(), dict[str, int]()
    for name, amount in parse(text).items():
        kind, _, gpu_type = name.partition(":")
        if amount is None or (kind == "gpu" and found.gpus) or amount >= 1 << (64 if kind == "memory" else 32):
            raise BadQuotas(
                f"{text[:100]!r} is not what a machine has or a node needs.", "Name one kind of GPU at most."
            )
        if kind == "gpu":
            found.gpus, found.gpu_type = amount, gpu_type
        elif kind == "cpu":
            found.cpu_millis = amount
        elif kind == "memory":
            found.memory_bytes = amount
        else:
            custom[name] = amount
    found.custom.extend(custom_rows(custom))
    return found


def _add_quota(
    client: BlockingClient,
    request: pb.WhatIfRequest,
    team: str,
    guarantee: str | None,
    burst: str | None,
    weight: str | None,
) -> None:
    from mwfs_scheduler.team_quotas.amounts import parse, weight_of
    from mwfs_scheduler.team_quotas.commands import put_amounts, quota_of

    quota = quota_of(client.quotas.teams(), team)
    with as_user_error():
        if guarantee is not None:
            quota.guaranteed.SetInParent()
            put_amounts(quota.guaranteed, parse(guarantee))
        if burst is not None:
            put_amounts(quota.burst, parse(burst))
        if weight is not None:
            quota.weight = float(weight_of(weight))
    request.quotas.append(quota)
