"""What a simulation measures as it goes, in the same way for every policy."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping
from heapq import heappop, heappush

from mwfs_scheduler.fair_share.model import Host
from mwfs_scheduler.simulator.fragments import Fragments
from mwfs_scheduler.simulator.model import Amounts, Work, Workload

_Place = tuple[int, str]


class Ledger:
    """Who uses and who wants what; sums over time count from `counted_from` until the last submission."""

    def __init__(self, workload: Workload, guarantees: Mapping[str, Amounts], fragments: Fragments) -> None:
        self._gpu = workload.gpu
        self._pool = workload.pools[workload.gpu]
        self._from, self._until = workload.counted_from, workload.until
        self.fragments = fragments
        self.entitled = {team: _Entitled(guaranteed) for team, guaranteed in guarantees.items()}
        self._now = 0
        self._used = 0
        self._wanted = 0
        #: GPU-seconds in parts, while counted: in use; and free while somebody waited for as many.
        self.used_s = 0
        self.idle_wanted_s = 0
        #: The same from the first to the last moment.
        self.all_used_s = 0
        #: Per team, GPU-seconds in use while counted.
        self.team_used_s = dict.fromkeys(guarantees, 0)
        #: How long requests of teams within their guarantee had to wait for that, each start once.
        self.reclaim_s: list[int] = []
        #: (time, GPUs in use by team), about hourly.
        self.use_over_time: list[tuple[int, dict[str, int]]] = []
        self._sample_at = workload.counted_from
        self._every = max(3600, (workload.until - workload.counted_from) // 500)

    def advance(self, now: int) -> None:
        """Time passes in which nothing changes."""
        passed = now - self._now
        if not passed:
            return
        self.all_used_s += self._used * passed
        counted = min(now, self._until) - max(self._now, self._from)
        if counted > 0:
            self.used_s += self._used * counted
            self.idle_wanted_s += min(self._pool - self._used, self._wanted) * counted
            for team, entitled in self.entitled.items():
                self.team_used_s[team] += entitled.used[self._gpu] * counted
        self._now = now

    def waits(self, work: Work, now: int) -> None:
        """The job waits from now on."""
        self._wanted += work.job.total[self._gpu]
        self.entitled[work.job.team].waits(work, now)

    def starts(self, work: Work, now: int) -> None:
        """A waiting job starts."""
        gpus = work.job.total[self._gpu]
        self._wanted -= gpus
        self._used += gpus
        since, within = self.entitled[work.job.team].starts(work, now)
        if work.within is None:
            work.within = within
        if since is not None and work.job.submit >= self._from:
            self.reclaim_s.append(now - since)

    def stops(self, work: Work, now: int) -> None:
        """A running job finishes, or leaves."""
        self._used -= work.job.total[self._gpu]
        self.entitled[work.job.team].stops(work, now)

    def sample(self, now: int, hosts: Callable[[], Iterable[Host]]) -> None:
        """Looks at the hosts about every hour."""
        if self._sample_at <= now <= self._until:
            self._sample_at = now + self._every
            self.fragments.look(hosts())
            self.use_over_time.append((now, {team: each.used[self._gpu] for team, each in self.entitled.items()}))


class _Entitled:
    """Of one team: which of its waiting jobs it could have at once within its guarantee, and since when.

    It is taken in the order of the line: a job is entitled while it fits into what the team does not use of its guarantee,
    less the entitled jobs before it.
    """

    def __init__(self, guaranteed: Amounts) -> None:
        self._guaranteed = guaranteed
        self.used = [0] * len(guaranteed)
        self._lines: dict[Amounts, list[_Place]] = {}
        self._since: dict[str, int] = {}

    def waits(self, work: Work, now: int) -> None:
        insort(self._lines.setdefault(work.job.total, []), (work.job.submit, work.job.id))
        self._look(now)

    def starts(self, work: Work, now: int) -> tuple[int | None, bool]:
        """(since when the team was entitled to it, whether the team is within its guarantee with it)."""
        job = work.job
        line = self._lines[job.total]
        del line[bisect_left(line, (job.submit, job.id))]
        if not line:
            del self._lines[job.total]
        since = self._since.pop(job.id, None)
        self._use(job.total, 1)
        asked = zip(job.total, self.used, self._guaranteed, strict=True)
        within = all(used <= guaranteed for amount, used, guaranteed in asked if amount)
        self._look(now)
        return since if within else None, within

    def stops(self, work: Work, now: int) -> None:
        self._use(work.job.total, -1)
        self._look(now)

    def _use(self, total: Amounts, sign: int) -> None:
        for at, amount in enumerate(total):
            self.used[at] += sign * amount

    def _look(self, now: int) -> None:
        left = [have - used for have, used in zip(self._guaranteed, self.used, strict=True)]
        heads: list[tuple[_Place, int, Amounts]] = []
        for total, line in self._lines.items():
            if _fits(total, left):
                heappush(heads, (line[0], 0, total))
        since, self._since = self._since, {}
        while heads:
            (_, job_id), at, total = heappop(heads)
            if not _fits(total, left):
                continue
            left = [have - amount for have, amount in zip(left, total, strict=True)]
            self._since[job_id] = since.get(job_id, now)
            if at + 1 < len(self._lines[total]):
                heappush(heads, (self._lines[total][at + 1], at + 1, total))


def _fits(total: Amounts, left: list[int]) -> bool:
    return all(amount <= have for amount, have in zip(total, left, strict=True) if amount)
