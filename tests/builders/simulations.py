"""Small workloads for the simulator, and what a policy makes of them."""

from __future__ import annotations

from collections.abc import Sequence

from mwfs_scheduler.simulator.entitlements import entitlements
from mwfs_scheduler.simulator.fragments import Fragments
from mwfs_scheduler.simulator.ledger import Ledger
from mwfs_scheduler.simulator.model import PARTS, Checkpoints, Job, Machine, Workload
from mwfs_scheduler.simulator.replay import Replay
from mwfs_scheduler.simulator.settings import read
from mwfs_scheduler.simulator.simulate import build_policy
from mwfs_scheduler.simulator.traces import split


def workload(*rows: tuple[str, str, int, int, int], hosts: int = 1, per_host: int = 4) -> Workload:
    """Rows are (job, team, submitted, duration, GPUs)."""
    jobs = []
    for id, team, submit, duration, gpus in rows:
        members, each = split(gpus * 1000, per_host * 1000)
        amounts = (each * PARTS // 1000,)
        jobs.append(Job(id=id, team=team, submit=submit, duration=duration, amounts=amounts, members=members))
    jobs.sort(key=lambda job: (job.submit, job.id))
    machines = [Machine(id=f"host-{at}", amounts=(per_host * PARTS,)) for at in range(hosts)]
    return Workload(
        name="test", resources=("gpu",), machines=machines, jobs=jobs, counted_from=0, until=jobs[-1].submit
    )


class Outcome:
    """A finished run."""

    def __init__(self, replay: Replay, ledger: Ledger) -> None:
        self.replay = replay
        self.ledger = ledger
        self.works = replay.works

    @property
    def ends(self) -> dict[str, int | None]:
        return {id: work.finished for id, work in self.works.items()}

    @property
    def waits(self) -> dict[str, int]:
        return {id: work.waited for id, work in self.works.items()}


def run(
    workload: Workload,
    policy: str,
    *,
    interval_s: int = 0,
    checkpoints: Checkpoints | None = None,
    rule: str = "equal",
    shared: Sequence[str] = (),
) -> Outcome:
    """The workload under `NAME:setting=value,…`; decisions at once and durations known, unless it says otherwise."""
    guarantees = entitlements(workload, rule)
    ledger = Ledger(workload, guarantees, Fragments(workload))
    replay = Replay(
        workload,
        build_policy(read(policy, shared=shared, durations="known"), workload, guarantees),
        ledger,
        interval_s=interval_s,
        checkpoints=checkpoints or Checkpoints(),
        cpu=lambda: 0.0,
    )
    replay.run()
    return Outcome(replay, ledger)
