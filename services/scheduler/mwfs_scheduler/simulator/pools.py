"""Policies made of several that each have hosts of their own: a static partition, and shards under a splitter of guarantees."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mwfs_scheduler.fair_share.model import Host, Knobs, Shape
from mwfs_scheduler.simulator.entitlements import of_gpus, shared_out
from mwfs_scheduler.simulator.model import PARTS, Amounts, Machine, Work, Workload
from mwfs_scheduler.simulator.policies import Contract, Moves, Policy, Queue, build_cluster, needs_of


class Parts:
    """Several policies side by side. Only those for which something has happened decide."""

    def __init__(self, parts: Sequence[Policy]) -> None:
        self._parts = parts
        self._stirred: set[int] = set()
        self._wakes: dict[int, int] = {}
        self._where: dict[str, int] = {}

    def _submit_to(self, at: int, work: Work) -> bool:
        self._where[work.job.id] = at
        self._stirred.add(at)
        return self._parts[at].submit(work)

    def finish(self, job_id: str) -> None:
        at = self._where.pop(job_id)
        self._parts[at].finish(job_id)
        self._stirred.add(at)

    def decide(self, now: int) -> Moves:
        all_ = Moves()
        due = {at for at, wake in self._wakes.items() if wake <= now}
        for at in sorted(self._stirred | due):
            moves = self._parts[at].decide(now)
            all_.started += moves.started
            all_.told += moves.told
            all_.left += moves.left
            self._wakes.pop(at, None)
            if moves.wake is not None:
                self._wakes[at] = moves.wake
        self._stirred.clear()
        all_.wake = min(self._wakes.values(), default=None)
        return all_

    def hosts(self) -> Iterable[Host]:
        for part in self._parts:
            yield from part.hosts()


class Static(Parts):
    """Each team alone on hosts of the size of its guarantee; inside a team FIFO, and who does not fit is passed by."""

    def __init__(self, workload: Workload, guarantees: Mapping[str, Amounts], durations: str) -> None:
        machines = partition(workload, guarantees)
        self._at = {team: at for at, team in enumerate(guarantees)}
        super().__init__(
            [
                Queue(
                    build_cluster(workload.resources, machines[team], {team: guarantees[team]}, Knobs()),
                    "fifo-skip",
                    durations,
                )
                for team in guarantees
            ]
        )

    def submit(self, work: Work) -> bool:
        return self._submit_to(self._at[work.job.team], work)


def partition(workload: Workload, guarantees: Mapping[str, Amounts]) -> dict[str, list[Machine]]:
    """Whole hosts for each team, and a part of a host for what is left of its guarantee.

    Hosts with GPUs, of each type where types count, are handed out in their order; where one is cut, all its resources are cut
    in the same proportion.
    """
    found: dict[str, list[Machine]] = {team: [] for team in guarantees}
    for kind in workload.kinds:
        _hand_out(workload.machines, kind, {team: amounts[kind] for team, amounts in guarantees.items()}, found)
    return found


def _hand_out(machines: Sequence[Machine], kind: int, wanted: dict[str, int], found: dict[str, list[Machine]]) -> None:
    """The hosts that have some of the resource, to those who want it."""
    having = (machine for machine in machines if machine.amounts[kind])
    rest = sorted(having, key=lambda machine: (-machine.amounts[kind], machine.id))
    for team in wanted:
        while rest and rest[0].amounts[kind] <= wanted[team]:
            machine = rest.pop(0)
            found[team].append(machine)
            wanted[team] -= machine.amounts[kind]
    for team in wanted:
        while rest and wanted[team] > 0:
            machine = rest.pop(0)
            part = min(wanted[team], machine.amounts[kind])
            taken = tuple(amount * part // machine.amounts[kind] for amount in machine.amounts)
            found[team].append(Machine(id=f"{machine.id}/{team}", amounts=taken, labels=machine.labels))
            wanted[team] -= part
            if part < machine.amounts[kind]:
                left = tuple(amount - less for amount, less in zip(machine.amounts, taken, strict=True))
                rest.insert(0, Machine(id=machine.id, amounts=left, labels=machine.labels))


class Shards(Parts):
    """Pools of hosts, each with an engine of its own. A job stays in the pool that it was sent to.

    Every `splitter_s` seconds the splitter looks at all pools, and shares out each team's guarantee by where the team wants
    GPUs. In between it only counts what it sends where, and sends a job to the pool with the least work per GPU.
    """

    def __init__(
        self,
        workload: Workload,
        guarantees: Mapping[str, Amounts],
        knobs: Knobs,
        durations: str,
        *,
        shards: int,
        splitter_s: int,
    ) -> None:
        self._workload = workload
        self._splitter_s = splitter_s
        self._split_at = splitter_s
        gpu = workload.gpu
        machines = [workload.machines[at::shards] for at in range(shards)]
        self._pools = [sum(machine.amounts[gpu] for machine in pool) // PARTS for pool in machines]
        self._gpus = {team: amounts[gpu] // PARTS for team, amounts in guarantees.items()}
        nothing = {team: dict.fromkeys(range(shards), 0) for team in guarantees}
        first = split_guarantees(self._gpus, nothing, self._pools)
        self._engines = [
            Contract(
                build_cluster(
                    workload.resources,
                    machines[at],
                    {team: of_gpus(workload, parts[at]) for team, parts in first.items()},
                    knobs,
                ),
                durations,
            )
            for at in range(shards)
        ]
        super().__init__(self._engines)
        #: GPUs that are wanted in each pool, in parts: at the last split, and sent there since.
        self._load = [0] * shards
        self._waits: dict[str, Work] = {}

    def submit(self, work: Work) -> bool:
        before = self._where.get(work.job.id)
        if before is not None:
            # It has left, and waits again where it was.
            at = before
        else:
            gpus = work.job.total[self._workload.gpu]
            shape = Shape(needs_of(work.job), work.job.members, work.job.selector)
            able = [at for at, engine in enumerate(self._engines) if engine.cluster.hosts.never(shape) is None]
            if not able:
                return False
            at = min(able, key=lambda at: ((self._load[at] + gpus) / self._pools[at], at))
            self._load[at] += gpus
        self._waits[work.job.id] = work
        return self._submit_to(at, work)

    def decide(self, now: int) -> Moves:
        if now >= self._split_at:
            self._split()
            self._split_at = now // self._splitter_s * self._splitter_s + self._splitter_s
        moves = super().decide(now)
        for job_id in moves.started:
            self._waits.pop(job_id, None)
        if self._waits:
            moves.wake = self._split_at if moves.wake is None else min(moves.wake, self._split_at)
        return moves

    def _split(self) -> None:
        gpu = self._workload.gpu
        wanted = {
            team: {at: engine.cluster.teams[team].usage[gpu] for at, engine in enumerate(self._engines)}
            for team in self._gpus
        }
        for work in self._waits.values():
            wanted[work.job.team][self._where[work.job.id]] += work.job.total[gpu]
        self._load = [sum(by_pool[at] for by_pool in wanted.values()) for at in range(len(self._pools))]
        for team, parts in split_guarantees(self._gpus, wanted, self._pools).items():
            for at, gpus in parts.items():
                self._engines[at].cluster.teams[team].guaranteed = list(of_gpus(self._workload, gpus))
        for at, engine in enumerate(self._engines):
            engine.cluster.settle()
            self._stirred.add(at)


def split_guarantees(
    gpus: Mapping[str, int], wanted: Mapping[str, Mapping[int, int]], pools: Sequence[int]
) -> dict[str, dict[int, int]]:
    """How many of its guaranteed GPUs each team has in each pool: no pool promises more than it has.

    Teams that want no more than their guarantee come first, and get it where they want it. What the others want is more than
    they can have, so theirs goes by what they want to where there is room; and so does what nobody wants.
    """
    whole = {team: {at: -(-amount // PARTS) for at, amount in by_pool.items()} for team, by_pool in wanted.items()}
    modest = {team for team, by_pool in whole.items() if sum(by_pool.values()) <= gpus[team]}
    found = {team: shared_out(min(gpus[team], sum(by_pool.values())), by_pool) for team, by_pool in whole.items()}
    for at, pool in enumerate(pools):
        room = pool
        for these in (modest, found.keys() - modest):
            promised = {team: found[team][at] for team in sorted(these)}
            if sum(promised.values()) > room:
                promised = shared_out(room, promised)
                for team, less in promised.items():
                    found[team][at] = less
            room -= sum(promised.values())
    for team, guaranteed in gpus.items():
        free = {at: pool - sum(parts[at] for parts in found.values()) for at, pool in enumerate(pools)}
        rest = min(guaranteed - sum(found[team].values()), sum(free.values()))
        for at, more in shared_out(rest, free).items():
            found[team][at] += more
    return found
