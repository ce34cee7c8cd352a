"""Automations and occasions as messages."""

from collections.abc import Mapping
from datetime import UTC, datetime

from mwfs_api.orchestrator.v1 import automations_pb2 as pb

from .model import BACKFILL, Automation, Occasion


def moment_text(moment_us: int) -> str:
    """How an occasion of a schedule is called: "2026-03-29T04:00:00Z"."""
    return datetime.fromtimestamp(moment_us // 1_000_000, UTC).isoformat().replace("+00:00", "Z")


def automation_message(
    automation: Automation, counts: Mapping[pb.OccasionState.ValueType, int] | None = None, join: Occasion | None = None
) -> pb.Automation:
    message = automation.message_of_content
    message.kind = automation.kind  # type: ignore[assignment]
    message.name = automation.name
    message.automation_id = str(automation.automation_id)
    message.state = automation.state  # type: ignore[assignment]
    message.principal = automation.principal
    message.create_time_us = automation.create_us
    message.next_time_us = automation.next_us or 0
    message.skipped = automation.skipped
    message.message = automation.message
    for state, count in sorted((counts or {}).items()):
        message.counts.add(state=state, count=count)
    if join is not None:
        message.join.CopyFrom(occasion_message(automation, join))
    return message


def occasion_message(automation: Automation, occasion: Occasion) -> pb.Occasion:
    return pb.Occasion(
        occasion=occasion.occasion,
        state=occasion.state,  # type: ignore[arg-type]
        run_id=str(occasion.run_id) if occasion.run_id is not None else "",
        message=occasion.message,
        time_us=0 if automation.kind == BACKFILL else occasion.number,
        turn=occasion.turn,
    )
