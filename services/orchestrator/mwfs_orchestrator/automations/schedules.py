"""Occasions of schedules that have come become commands; the cursor moves with them."""

import logging
from typing import Final
from uuid import UUID

from mwfs_api.orchestrator.v1 import automations_pb2 as pb
from mwfs_chassis.clock import Clock
from mwfs_chassis.errors import InvalidArgument
from mwfs_chassis.postgres import is_transient
from mwfs_orchestrator.catalogue.store import CatalogueStore

from .cron import Cron
from .due import due
from .facts import MomentFacts
from .model import ACTIVE, PAUSED, Automation
from .runs_to_start import occasion_of
from .store import AutomationStore
from .wire import moment_text

log = logging.getLogger(__name__)

_BATCH: Final = 100
#: What schedules and triggers did longer ago is forgotten: 90 days.
KEPT_US: Final = 90 * 24 * 3_600_000_000


class Schedules:
    """Looks for schedules that are due."""

    def __init__(self, *, store: AutomationStore, versions: CatalogueStore, clock: Clock) -> None:
        self._store = store
        self._versions = versions
        self._clock = clock

    async def fire(self) -> bool:
        """Whether any was due."""
        found = False
        stuck: set[UUID] = set()
        while True:
            now = self._clock.now_us()
            schedules = await self._store.due_schedules(now, _BATCH)
            new = [schedule for schedule in schedules if schedule.automation_id not in stuck]
            if not new:
                return found
            for schedule in new:
                try:
                    await self._fire(schedule, now)
                    found = True
                except InvalidArgument as error:
                    # Such as a time zone that the tz database has no more.
                    await self._store.move(schedule.automation_id, PAUSED, of=[ACTIVE], message=str(error))
                except Exception as error:
                    if is_transient(error) or isinstance(error, (TimeoutError, OSError)):
                        raise
                    log.exception("a schedule could not fire", extra={"schedule": schedule.name})
                    stuck.add(schedule.automation_id)

    async def _fire(self, schedule: Automation, now: int) -> None:
        content = schedule.message_of_content.schedule
        cron = Cron(content.cron, content.time_zone)
        assert schedule.next_us is not None, "only schedules with an occasion are due"
        found = due(cron.after, schedule.next_us, now, content.catch_up)
        version = None
        if found.fire:
            template = content.run
            version = await self._versions.get_version(schedule.team, template.workflow, template.version_digest)
        occasions = [
            occasion_of(
                schedule,
                moment_text(moment),
                moment,
                content.run,
                version,
                MomentFacts(moment_us=moment, zone=cron.zone),
            )
            for moment in found.fire
        ]
        if found.skipped:
            log.warning("occasions were missed", extra={"schedule": schedule.name, "skipped": found.skipped})
        await self._store.fire(schedule, found.next_us, found.skipped, occasions, now - KEPT_US)


def first_occasion(schedule: pb.Schedule, now_us: int) -> int | None:
    """When a schedule that begins now is due for the first time."""
    return Cron(schedule.cron, schedule.time_zone).after(now_us)
