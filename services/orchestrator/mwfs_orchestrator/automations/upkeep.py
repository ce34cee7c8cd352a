"""Creating, pausing, resuming, cancelling and deleting automations: what is asked is checked, and said to the shards, before it is stored."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Final
from uuid import UUID

from mwfs_api.events.v1 import events_pb2
from mwfs_api.orchestrator.v1 import automations_pb2 as pb
from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_chassis.caller import Caller
from mwfs_chassis.clock import Clock
from mwfs_chassis.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
from mwfs_chassis.ids import Ids
from mwfs_orchestrator.catalogue.store import CatalogueStore
from mwfs_orchestrator.names import check_tags, check_workflow
from mwfs_orchestrator.states import RUN_ENDED

from .cron import Cron
from .facts import EndFacts, Facts, JoinFacts, MomentFacts, Output, PartitionFacts
from .model import (
    ACTIVE,
    BACKFILL,
    CANCELLED,
    CANCELLING,
    DEFAULT_PARALLEL,
    FAILED,
    MAX_AUTOMATIONS,
    MAX_PARALLEL,
    PAUSED,
    SCHEDULE,
    SUCCEEDED,
    TRIGGER,
    Automation,
)
from .partitions import partitions_of
from .runs_to_start import check_template, header_of
from .store import AutomationStore
from .watches import Watches

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_MAX_OUTPUT: Final = 256
_ENDED: Final = frozenset(int(state) for state in RUN_ENDED)
_NO_RUN: Final = UUID(int=0)
KINDS: Final = {"schedule": SCHEDULE, "trigger": TRIGGER, "backfill": BACKFILL}
WORDS: Final[dict[int, str]] = {kind: word for word, kind in KINDS.items()}


class Upkeep:
    """The automations of all teams, as their users change them."""

    def __init__(
        self,
        *,
        store: AutomationStore,
        versions: CatalogueStore,
        watches: Watches,
        changed: Callable[[], None],
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._store = store
        self._versions = versions
        self._watches = watches
        self._changed = changed
        self._clock = clock
        self._ids = ids

    async def create(self, caller: Caller, request: pb.CreateAutomationRequest) -> tuple[Automation, bool]:
        """The automation, and whether it is new. Raises InvalidArgument, AlreadyExists, NotFound, ResourceExhausted."""
        word = request.WhichOneof("content")
        if word is None:
            raise InvalidArgument("The request has no content.", "Send a schedule, a trigger or a backfill.")
        if not _NAME.fullmatch(request.name):
            raise InvalidArgument(
                f"{request.name[:80]!r} is no name for a {word}.",
                "Use letters, digits, '.', '_' and '-', at most 128, beginning with a letter or digit.",
            )
        kind = KINDS[word]
        content: pb.Schedule | pb.Trigger | pb.Backfill = getattr(request, word)
        digest = sha256(content.SerializeToString(deterministic=True)).digest()
        known = await self._known(caller.team, kind, request.name, digest)
        if known is not None:
            return known, False
        if await self._store.count(caller.team, kind) >= MAX_AUTOMATIONS:
            raise ResourceExhausted(
                f"Team {caller.team} has {MAX_AUTOMATIONS:,} {word}s, which is as many as there may be.", "Delete some."
            )
        made = Automation(
            automation_id=UUID(self._ids.new_id()),
            team=caller.team,
            kind=kind,
            name=request.name,
            principal=caller.principal,
            state=PAUSED if request.paused else ACTIVE,
            content=b"",
            create_us=self._clock.now_us(),
        )
        partitions: list[str] = []
        if kind == SCHEDULE:
            made = await self._schedule(made, request.schedule)
        elif kind == TRIGGER:
            made = await self._trigger(made, request.trigger)
        else:
            made, partitions = await self._backfill(made, request.backfill)
        await self._watches.begin(made)
        if not await self._store.insert(made, digest, partitions):
            await self._watches.end(made)
            known = await self._known(caller.team, kind, request.name, digest)
            if known is None:
                raise AlreadyExists(f"The {word} {request.name} was made and deleted meanwhile.", "Try again.")
            return known, False
        self._changed()
        return made, True

    async def _known(self, team: str, kind: int, name: str, digest: bytes) -> Automation | None:
        known = await self._store.get(team, kind, name)
        if known is None:
            return None
        if known[1] != digest:
            raise AlreadyExists(
                f"There is another {WORDS[kind]} {name}.", "Choose another name, or delete that one first."
            )
        return known[0]

    async def _schedule(self, made: Automation, content: pb.Schedule) -> Automation:
        cron = Cron(content.cron, content.time_zone)
        if content.catch_up not in pb.CatchUp.values():
            raise InvalidArgument(f"{content.catch_up} is no catch-up policy.", "Choose all, latest or none.")
        next_us = cron.after(made.create_us)
        if next_us is None:
            raise InvalidArgument(
                f"{content.cron!r} is never due within the next 50 years.", "Write a day that exists."
            )
        facts = MomentFacts(moment_us=next_us, zone=cron.zone)
        await self._check(made.team, content.run, facts)
        return replace(made, next_us=next_us, content=pb.Automation(schedule=content).SerializeToString())

    async def _trigger(self, made: Automation, content: pb.Trigger) -> Automation:
        outputs: dict[str, Output] | None = None
        if content.workflow:
            check_workflow(content.workflow)
            source = await self._versions.get_version(made.team, content.workflow, "")
            if source is not None:
                outputs = {each.name: (each.type, None, "") for each in source.outputs}
        check_tags(content.tags)
        for state in content.states:
            if int(state) not in _ENDED:
                raise InvalidArgument(
                    f"A run does not end in state {_state_word(state)}.", "Choose SUCCEEDED, FAILED or CANCELLED."
                )
        asks_output = bool(content.output or content.output_type)
        if len(content.output) > _MAX_OUTPUT or len(content.output_type) > _MAX_OUTPUT:
            raise InvalidArgument(f"Names of outputs and types have at most {_MAX_OUTPUT} characters.")
        needs_output = asks_output or any(fill.source == pb.FILL_SOURCE_OUTPUT for fill in content.run.fills)
        if needs_output and any(state != events_pb2.RUN_STATE_SUCCEEDED for state in content.states):
            raise InvalidArgument("Only a run that has SUCCEEDED has outputs.", "Leave out the other states.")
        if outputs is not None and content.output and content.output not in outputs:
            raise InvalidArgument(
                f"The workflow {content.workflow} has no output {content.output!r}; it has {', '.join(outputs) or 'none'}."
            )
        await self._check(
            made.team,
            content.run,
            EndFacts(run_id=_NO_RUN, state=events_pb2.RUN_STATE_SUCCEEDED, outputs=outputs),
        )
        return replace(made, content=pb.Automation(trigger=content).SerializeToString())

    async def _backfill(self, made: Automation, content: pb.Backfill) -> tuple[Automation, list[str]]:
        if content.max_parallel > MAX_PARALLEL:
            raise InvalidArgument(f"At most {MAX_PARALLEL:,} runs go on at a time, not {content.max_parallel:,}.")
        partitions = partitions_of(content)
        if not any(fill.source == pb.FILL_SOURCE_PARTITION for fill in content.run.fills):
            raise InvalidArgument("No input takes the partition.", "Name one with --partition-input.")
        kept = pb.Backfill()
        kept.CopyFrom(content)
        kept.ClearField("keys")
        kept.max_parallel = content.max_parallel or DEFAULT_PARALLEL
        version = await self._check(made.team, content.run, PartitionFacts(partition=partitions[0]))
        kept.run.version_digest = version.digest
        # All partitions are checked while whoever typed them is there to see what is wrong.
        await asyncio.to_thread(_check_partitions, content.run, version, partitions)
        if content.HasField("join"):
            outputs = [{each.name: (each.type, None, "") for each in version.outputs}]
            facts = JoinFacts(partitions=partitions[:1], run_ids=[_NO_RUN], outputs=outputs)
            kept.join.version_digest = (await self._check(made.team, content.join, facts)).digest
        made = replace(
            made,
            content=pb.Automation(backfill=kept).SerializeToString(),
            max_parallel=kept.max_parallel,
        )
        return made, partitions

    async def _check(self, team: str, template: pb.RunTemplate, facts: Facts) -> orchestrator_pb2.WorkflowVersion:
        """Whether runs could be made from the template; the version that they would be made from."""
        check_template(template)
        version = await self._versions.get_version(team, template.workflow, template.version_digest)
        if version is None:
            raise NotFound(
                f"Team {team} has no workflow {template.workflow} {template.version_digest}".rstrip() + ".",
                "Register it with `mwfs register`.",
            )
        header_of(template, version, facts, request_id="", tags={})
        return version

    async def find(self, team: str, kind: int, name: str) -> Automation:
        """Raises InvalidArgument, NotFound."""
        if kind not in WORDS:
            raise InvalidArgument("The request names no kind.", "Ask for schedules, triggers or backfills.")
        found = await self._store.get(team, kind, name)
        if found is None:
            raise NotFound(
                f"Team {team} has no {WORDS[kind]} {name[:128]}.", f"List them with `mwfs {_command(kind)} list`."
            )
        return found[0]

    async def pause(self, team: str, kind: int, name: str) -> Automation:
        found = await self.find(team, kind, name)
        if found.state != PAUSED and not await self._store.move(found.automation_id, PAUSED, of=[ACTIVE]):
            raise _wrong_state(found, "paused")
        return await self.find(team, kind, name)

    async def resume(self, team: str, kind: int, name: str) -> Automation:
        found = await self.find(team, kind, name)
        if found.state == PAUSED:
            next_us = None
            if kind == SCHEDULE:
                content = found.message_of_content.schedule
                next_us = Cron(content.cron, content.time_zone).after(self._clock.now_us())
            await self._store.move(found.automation_id, ACTIVE, of=[PAUSED], next_us=next_us)
        elif found.state in (FAILED, CANCELLED):
            await self._watches.begin(replace(found, turn=found.turn + 1))
            await self._store.begin_turn(found)
        elif found.state != ACTIVE:
            raise _wrong_state(found, "resumed")
        self._changed()
        return await self.find(team, kind, name)

    async def cancel(self, team: str, kind: int, name: str) -> Automation:
        found = await self.find(team, kind, name)
        if kind != BACKFILL:
            raise FailedPrecondition(f"A {WORDS[kind]} cannot be cancelled.", "Pause it, or delete it.")
        await self._store.move(found.automation_id, CANCELLING, of=[ACTIVE, PAUSED])
        self._changed()
        return await self.find(team, kind, name)

    async def delete(self, team: str, kind: int, name: str) -> None:
        found = await self.find(team, kind, name)
        if not await self._store.delete(found.automation_id):
            raise FailedPrecondition(f"The backfill {name} has not ended.", "Cancel it first.")
        await self._watches.end(found)
        self._changed()  # ends that were kept for it are to be removed


def _check_partitions(
    template: pb.RunTemplate, version: orchestrator_pb2.WorkflowVersion, partitions: list[str]
) -> None:
    for partition in partitions:
        header_of(template, version, PartitionFacts(partition=partition), request_id="", tags={})


def _wrong_state(found: Automation, done: str) -> FailedPrecondition:
    state = pb.AutomationState.Name(found.state).removeprefix("AUTOMATION_STATE_")  # type: ignore[arg-type]
    again = "Make another one." if found.state in (SUCCEEDED, FAILED, CANCELLED) else "Wait for its end."
    return FailedPrecondition(f"The {WORDS[found.kind]} {found.name} is {state} and cannot be {done}.", again)


def _state_word(state: int) -> str:
    try:
        return events_pb2.RunState.Name(state).removeprefix("RUN_STATE_")  # type: ignore[arg-type]
    except ValueError:
        return str(state)


def _command(kind: int) -> str:
    return "backfill" if kind == BACKFILL else f"{WORDS[kind]}s"
