"""Who runs next: one pass over what waits, until nothing that waits fits. Pure, and the same for the same ledger."""

# Teams take turns by least dominant share of what they hold (progressive filling). A turn gives as many nodes as it
# takes to bring the team just above the next one, so a pass costs a step per turn and not a step per node.

from __future__ import annotations

from heapq import heapify, heappop, heappushpop
from typing import NamedTuple

from mwfs_scheduler.ledger import Ledger
from mwfs_scheduler.model import Grant, Group, QueueKey, Shape, TeamLedger
from mwfs_scheduler.placement import best_host


class _Turn(NamedTuple):
    share: int
    priority: int
    submit_time_us: int
    team: str
    group_id: str
    replica: str
    shape: Shape


def decide(ledger: Ledger) -> list[Grant]:
    """Grant until no waiting group fits anywhere. The grants are booked in the ledger; they are returned in order."""
    ledger.wake()
    if ledger.awaited:
        return []
    open_shapes = [shape for shape in ledger.waiters if shape not in ledger.blocked]
    if not open_shapes:
        return []
    teams = dict.fromkeys(team for shape in open_shapes for team in ledger.waiters[shape])
    turns = [turn for team in teams if (turn := _turn(ledger, team)) is not None]
    heapify(turns)
    given: dict[tuple[str, str, str], Grant] = {}
    turn = heappop(turns) if turns else None
    while turn is not None:
        current = _turn(ledger, turn.team)
        if current == turn:
            _serve(ledger, turn, turns[0].share if turns else None, given)
            current = _turn(ledger, turn.team)
        if current is not None:
            turn = heappushpop(turns, current) if turns else current
        else:
            turn = heappop(turns) if turns else None
    return list(given.values())


def _turn(ledger: Ledger, name: str) -> _Turn | None:
    """The first group of a team that has not been found to fit nowhere, as its place among the teams."""
    team = ledger.teams.get(name)
    if team is None:
        return None
    head: QueueKey | None = None
    head_shape: Shape | None = None
    for shape, line in team.lines.items():
        if shape not in ledger.blocked and (head is None or line[0] < head):
            head, head_shape = line[0], shape
    if head is None or head_shape is None:
        return None
    priority, _, submit_time_us, group_id, replica = head
    return _Turn(ledger.share(team), priority, submit_time_us, name, group_id, replica, head_shape)


def _serve(ledger: Ledger, turn: _Turn, next_share: int | None, given: dict[tuple[str, str, str], Grant]) -> None:
    found = best_host(ledger.hosts.values(), turn.shape)
    if found is None:
        ledger.blocked.add(turn.shape)
        return
    host, fits = found
    group: Group = ledger.groups[turn.replica][turn.group_id]
    count = min(group.waiting, fits)
    if next_share is not None:
        count = min(count, _nodes_to_pass(ledger, ledger.teams[turn.team], turn.shape, next_share))
    key = (turn.replica, turn.group_id, host.host)
    if key in given:
        ledger.enlarge(given[key], group, count)
    else:
        given[key] = ledger.grant(group, host, count)


def _nodes_to_pass(ledger: Ledger, team: TeamLedger, shape: Shape, share: int) -> int:
    """The fewest nodes of the shape, at least one, that bring the team's share above `share`."""
    fewest = []
    for held, each in (
        (team.held_cpu * ledger.factor_cpu, shape.cpu_millis * ledger.factor_cpu),
        (team.held_memory * ledger.factor_memory, shape.memory_bytes * ledger.factor_memory),
        (team.held_gpus * ledger.factor_gpus, shape.gpus * ledger.factor_gpus),
    ):
        if each:
            fewest.append((share - held) // each + 1)
    return max(1, min(fewest, default=1))
