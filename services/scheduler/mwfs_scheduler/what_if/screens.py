"""Why nodes wait, and what would be, as sentences and as JSON documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mwfs.cli import words
from mwfs.cli.screen import Screen
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_api.scheduler.v1 import scheduler_pb2
from mwfs_api.scheduler.v1 import what_if_pb2 as pb
from mwfs_scheduler.team_quotas.amounts import document as amounts_document
from mwfs_scheduler.what_if.likely import Likely


def show_group(screen: Screen, group: scheduler_pb2.WaitingGroup, likely: Likely | None) -> None:
    screen.print(
        f"{group.waiting:,} waiting, team {group.team}, priority {group.priority}: {words.waiting_reason(group.reason)}"
    )
    screen.print(f"  {group.message}")
    if likely:
        screen.print(f"  In about {words.duration(likely.seconds)}: {likely.basis}")
    elif group.HasField("starts_in_s"):
        when = (
            f"In {group.starts_in_s} s at the latest" if group.at_the_latest else f"Probably in {group.starts_in_s} s"
        )
        screen.print(f"  {when}. {group.estimate}")
    else:
        screen.print(f"  {group.estimate}")


def state_of(node: orchestrator_pb2.Node) -> str:
    return words.node_state(node.state)


def not_waiting(node: orchestrator_pb2.Node) -> str:
    """Where a node is that does not wait for room."""
    state = state_of(node)
    if state == "PENDING":
        before = ", ".join(str(each) for each in node.depends_on)
        return f"Node {node.node} waits for the nodes before it ({before}), and not for room."
    if state == "READY":
        return f"Node {node.node} is ready; the scheduler has not been asked for room for it, or has just given some."
    return f"Node {node.node} does not wait for room: it is {state}."


def group_document(group: scheduler_pb2.WaitingGroup, likely: Likely | None) -> dict[str, Any]:
    return {
        "group": group.group_id,
        "team": group.team,
        "priority": group.priority,
        "waiting": group.waiting,
        "needs": _amounts(group.resources),
        "reason": words.waiting_reason(group.reason),
        "message": group.message,
        "permanent": group.permanent,
        "starts_in_s": group.starts_in_s if group.HasField("starts_in_s") else likely.seconds if likely else None,
        "at_the_latest": group.at_the_latest,
        "estimate": likely.basis if likely else group.estimate,
    }


def show(screen: Screen, response: pb.WhatIfResponse) -> None:
    for group in response.groups:
        screen.print(f"{group.waiting:,} of team {group.team} wait now: {group.message_now}")
        if group.starts:
            screen.print(f"  {group.starts:,} would start at once, on {_some(group.hosts)}.")
        if group.starts_after_others_left:
            nodes = sum(victim.nodes for victim in group.victims)
            teams = ", ".join(sorted({victim.team for victim in group.victims})) or "those who leave already"
            grace = max((victim.grace_s for victim in group.victims), default=0)
            screen.print(
                f"  {group.starts_after_others_left:,} would start once {nodes:,} of {teams} have left, after {grace} s at most."
            )
        if group.still_waiting:
            screen.print(f"  {group.still_waiting:,} would still wait: {group.message}")
            if group.HasField("starts_in_s"):
                screen.print(f"  Probably for {group.starts_in_s} s. {group.estimate}")
    if response.others_start or response.others_told_to_leave:
        screen.print(
            f"Of other runs {response.others_start:,} would start, and {response.others_told_to_leave:,} would be told to leave "
            "for others."
        )


def _some(hosts: Sequence[str]) -> str:
    named = ", ".join(hosts[:5])
    return named if len(hosts) <= 5 else f"{named} and {len(hosts) - 5:,} more"


def document(response: pb.WhatIfResponse) -> dict[str, Any]:
    return {
        "groups": [
            {
                "group": group.group_id,
                "team": group.team,
                "waiting": group.waiting,
                "now": {"reason": words.waiting_reason(group.reason_now), "message": group.message_now},
                "starts": group.starts,
                "hosts": list(group.hosts),
                "starts_after_others_left": group.starts_after_others_left,
                "victims": [
                    {
                        "team": victim.team,
                        "nodes": victim.nodes,
                        "needs": _amounts(victim.resources),
                        "host": victim.host,
                        "grace_s": victim.grace_s,
                    }
                    for victim in group.victims
                ],
                "still_waiting": group.still_waiting,
                "then": _then(group) if group.still_waiting else None,
            }
            for group in response.groups
        ],
        "others_start": response.others_start,
        "others_told_to_leave": response.others_told_to_leave,
    }


def _then(group: pb.ImaginedGroup) -> dict[str, Any]:
    return {
        "reason": words.waiting_reason(group.reason),
        "message": group.message,
        "permanent": group.permanent,
        "starts_in_s": group.starts_in_s if group.HasField("starts_in_s") else None,
        "estimate": group.estimate,
    }


def _amounts(resources: dag_pb2.Resources) -> dict[str, int | float] | None:
    gpu = f"gpu:{resources.gpu_type}" if resources.gpu_type else "gpu"
    amounts = {"cpu": resources.cpu_millis, "memory": resources.memory_bytes, gpu: resources.gpus}
    amounts |= {row.name: row.amount for row in resources.custom}
    return amounts_document({name: amount for name, amount in amounts.items() if amount})
