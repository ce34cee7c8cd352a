"""The tables whose rows belong to runs, and so move with the slot. A test compares them with the schema."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

_SLOT_BITS: Final = 116


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTable:
    """A table with a column `run_id`."""

    name: str
    key: tuple[str, ...]
    #: Columns that differ from shard to shard.
    local: frozenset[str] = frozenset()
    #: False: rows may go at any moment, so both shards may rightly differ.
    lasting: bool = True


RUN_TABLES: Final = (
    RunTable(name="runs", key=("run_id",)),
    RunTable(name="run_tags", key=("team", "tag", "create_us", "run_id")),
    RunTable(name="dag_chunks", key=("run_id", "index")),
    RunTable(name="dag_patches", key=("run_id", "number")),
    RunTable(name="children", key=("run_id", "node", "round")),
    RunTable(name="signals", key=("run_id", "name")),
    RunTable(name="nodes", key=("run_id", "node")),
    RunTable(name="checkpoints", key=("run_id", "node")),
    RunTable(name="run_ends", key=("run_id", "round"), lasting=False),
    RunTable(name="run_events", key=("run_id", "first_number"), local=frozenset({"lease_id", "last_position"})),
    RunTable(name="removed_runs", key=("run_id",)),
)


def id_ranges(slots: list[int]) -> tuple[list[UUID], list[UUID]]:
    """First and last ids of the runs of these slots, those of neighbours together. (pure)"""
    first: list[int] = []
    last: list[int] = []
    for slot in sorted(slots):
        if last and slot == last[-1] + 1:
            last[-1] = slot
        else:
            first.append(slot)
            last.append(slot)
    return (
        [UUID(int=slot << _SLOT_BITS) for slot in first],
        [UUID(int=((slot + 1) << _SLOT_BITS) - 1) for slot in last],
    )
