"""Commits to rows. Pure, and cheap on purpose: a batch is stored as it came; looking into it waits until somebody asks."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mwfs_api.events.v1 import events_pb2 as pb
from mwfs_observability.fold import RUN_STATE_AFTER

_RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MAX_BIGINT = 1 << 62
_RUN_KINDS = frozenset(RUN_STATE_AFTER) | {pb.EVENT_KIND_RUN_REVIVED, pb.EVENT_KIND_RUN_RESUMED}


@dataclass(slots=True)
class RunRow:
    """The little that is known of a run without folding its events."""

    team: str = ""
    workflow: str = ""
    accept_us: int = 0
    #: Number of `EventKind` of the last event of the run itself, and that event's number.
    last_kind: int = 0
    last_number: int = 0


@dataclass(slots=True)
class Batch:
    """What one transaction will store. Grows commit by commit."""

    #: Stream → last position that has arrived.
    positions: dict[str, int]
    #: How far this batch moves each stream. Its own copy: `positions` goes on while the batch is being stored.
    moved: dict[str, int] = field(default_factory=dict)
    # One row per (commit, run), as columns.
    run_ids: list[str] = field(default_factory=list)
    first_numbers: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    runs: dict[str, RunRow] = field(default_factory=dict)
    commits: int = 0
    events: int = 0
    size: int = 0
    #: When the newest event in it was committed.
    newest_us: int = 0
    duplicates: int = 0
    gaps: int = 0
    malformed: int = 0

    def add(self, commit: pb.Commit) -> None:
        """Add a commit, unless it is stored already."""
        if not commit.stream or "\0" in commit.stream or not 0 < commit.position < _MAX_BIGINT:
            self.malformed += 1
            return
        before = self.positions.get(commit.stream)
        if before is not None and commit.position <= before:
            self.duplicates += 1
            return
        if before is not None and commit.position != before + 1:
            self.gaps += 1
        self.positions[commit.stream] = commit.position
        self.moved[commit.stream] = commit.position
        self.commits += 1
        for run in commit.runs:
            self._add_run(run)

    def _add_run(self, run: pb.RunEvents) -> None:
        count = len(run.kind)
        if (
            not count
            or not 0 < run.first_number < _MAX_BIGINT
            or not _RUN_ID.fullmatch(run.run_id)
            or len(run.time_us) != count
        ):
            self.malformed += 1
            return
        payload = run.SerializeToString()
        self.run_ids.append(run.run_id)
        self.first_numbers.append(run.first_number)
        self.counts.append(count)
        self.payloads.append(payload)
        self.events += count
        self.size += len(payload)
        self.newest_us = max(self.newest_us, run.time_us[-1])
        kinds: list[int] = list(run.kind)
        if not _RUN_KINDS.isdisjoint(kinds):
            self._note_run(run, kinds)

    def _note_run(self, run: pb.RunEvents, kinds: list[int]) -> None:
        row = self.runs.setdefault(run.run_id, RunRow())
        if run.first_number == 1:
            row.accept_us = run.time_us[0]
            for detail in run.details:
                if detail.HasField("accepted"):
                    row.team = detail.accepted.team.replace("\0", "")
                    row.workflow = detail.accepted.workflow.replace("\0", "")
        last = max(index for index, kind in enumerate(kinds) if kind in _RUN_KINDS)
        if run.first_number + last > row.last_number:
            row.last_kind, row.last_number = kinds[last], run.first_number + last
