"""WhatIfService over gRPC: unpack, imagine, pack."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from mwfs_api.scheduler.v1 import scheduler_pb2, what_if_pb2_grpc
from mwfs_api.scheduler.v1 import what_if_pb2 as pb
from mwfs_chassis.errors import InvalidArgument
from mwfs_scheduler.explain import Explanation
from mwfs_scheduler.ledger import Ledger
from mwfs_scheduler.model import Notice
from mwfs_scheduler.team_quotas.wire import quota_from
from mwfs_scheduler.what_if.imagine import Answer, Imagined, Question, answer, prepare
from mwfs_scheduler.wire import capacity_from, need_from, resources_of
from mwfs_types.limits import MAX_PRIORITY

SERVICE: Final = "mwfs_api.scheduler.v1.WhatIfService"


class WhatIfServicer(what_if_pb2_grpc.WhatIfServiceServicer):
    """Promises and codes: what_if.proto. One question at a time, decided in a thread: the copy is made in one go, and belongs to nobody else."""

    def __init__(self, ledger: Callable[[], Ledger]) -> None:
        self._ledger = ledger
        self._one_at_a_time = asyncio.Lock()

    async def WhatIf(self, request: pb.WhatIfRequest, context: Any) -> pb.WhatIfResponse:
        question = _question(request)
        async with self._one_at_a_time:
            now, make = prepare(self._ledger(), question)
            return _response(await asyncio.to_thread(answer, now, make, question))


def _question(request: pb.WhatIfRequest) -> Question:
    """Raises InvalidArgument."""
    if not request.run_id:
        raise InvalidArgument("A question is about a run.", "Name one.")
    if request.HasField("priority") and abs(request.priority) > MAX_PRIORITY:
        raise InvalidArgument(
            f"A priority is between -{MAX_PRIORITY:,} and {MAX_PRIORITY:,}; found {request.priority:,}.",
            "Give another.",
        )
    return Question(
        run_id=request.run_id,
        group_id=request.group_id,
        set_quotas=tuple(quota_from(quota) for quota in request.quotas),
        removed_quotas=tuple(request.removed_quotas),
        priority=request.priority if request.HasField("priority") else None,
        need=need_from(request.resources) if request.HasField("resources") else None,
        hosts=tuple((capacity_from(hosts.capacity), hosts.count or 1) for hosts in request.hosts),
    )


def _response(found: Answer) -> pb.WhatIfResponse:
    return pb.WhatIfResponse(
        groups=[_group(each) for each in found.groups],
        others_start=found.others_start,
        others_told_to_leave=found.others_told_to_leave,
    )


def _group(found: Imagined) -> pb.ImaginedGroup:
    about = found.now.group.about
    message = pb.ImaginedGroup(
        group_id=about.group_id,
        team=about.team,
        waiting=found.waiting,
        reason_now=_reason(found.now),
        message_now=found.now.message,
        starts=found.starts,
        hosts=sorted(found.hosts),
        starts_after_others_left=found.starts_later,
        victims=[_victim(notice) for notice in found.victims],
        still_waiting=max(0, found.waiting - found.starts - found.starts_later),
    )
    if found.then is not None:
        message.reason = _reason(found.then)
        message.message, message.permanent = found.then.message, found.then.permanent
        message.estimate = found.then.estimate
        if found.then.starts_in_s is not None:
            message.starts_in_s = found.then.starts_in_s
    return message


def _reason(explanation: Explanation) -> scheduler_pb2.WaitingReason.ValueType:
    return scheduler_pb2.WaitingReason.Value(f"WAITING_REASON_{explanation.reason.name}")


def _victim(notice: Notice) -> pb.ImaginedVictim:
    holding = notice.holding
    return pb.ImaginedVictim(
        team=holding.team,
        nodes=notice.count,
        resources=resources_of(holding.need),
        host=holding.host,
        grace_s=notice.grace_s,
    )
