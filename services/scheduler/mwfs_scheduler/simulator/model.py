"""What is simulated: machines, jobs of teams, and how far each job has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from mwfs_scheduler.fair_share.model import Selector

#: Parts of a unit of any resource: fractional GPUs, and the decayed memory of use, are whole numbers of these.
PARTS: Final = 10**6
#: An amount for each resource of a workload, in parts.
Amounts = tuple[int, ...]


class BadTrace(ValueError):
    """Which trace, where in it, what was expected and what was found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A host."""

    id: str
    amounts: Amounts
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A row of a trace. Times are seconds."""

    id: str
    team: str
    submit: int
    #: How long it runs when nothing stops it.
    duration: int
    #: Of one member.
    amounts: Amounts
    #: A job wider than a host is a gang: so many equal members start together.
    members: int = 1
    selector: Selector = ()

    @property
    def total(self) -> Amounts:
        """Of all members."""
        return tuple(amount * self.members for amount in self.amounts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Jobs in order of submission, and the machines they want."""

    name: str
    resources: tuple[str, ...]
    machines: Sequence[Machine]
    jobs: Sequence[Job]
    #: Jobs submitted before this time run, but are not counted.
    counted_from: int
    #: When the last job has been submitted.
    until: int

    @property
    def gpu(self) -> int:
        """Which of the resources is GPUs."""
        return self.resources.index("gpu")

    @property
    def kinds(self) -> Sequence[int]:
        """Which of the resources are GPUs of a type; GPUs, when types do not count."""
        return [at for at, name in enumerate(self.resources) if name.startswith("gpu:")] or [self.gpu]

    @property
    def pools(self) -> Amounts:
        """Of all machines."""
        return tuple(sum(machine.amounts[at] for machine in self.machines) for at in range(len(self.resources)))

    @property
    def teams(self) -> list[str]:
        """The teams that have a job."""
        return sorted({job.team for job in self.jobs})


@dataclass(slots=True, kw_only=True, eq=False)
class Work:
    """A job and how far it has come. Changes in place as the clock runs."""

    job: Job
    #: How much longer it must run.
    remaining: int
    #: Since when it runs; None while it waits.
    started: int | None = None
    #: When it was told to leave.
    told: int | None = None
    #: Counts starts, so that the end of an attempt that was cut short is known as void.
    attempt: int = 0
    #: Since when it waits, and how long it has waited before.
    waits_since: int = 0
    waited: int = 0
    evictions: int = 0
    #: Seconds that ran in vain.
    lost: int = 0
    #: Whether its team was within its guarantee with it when it first started.
    within: bool | None = None
    finished: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoints:
    """What an evicted job keeps of what it did.

    `interval`: what it had done at the last full interval since it started. `notice`: all that it had done when it was told
    to leave, or the same as `interval` when it was told to leave at once. `none`: nothing.
    """

    rule: str = "interval"
    every_s: int = 1800

    def kept(self, started: int, told: int | None, left: int) -> int:
        """Seconds of the attempt that need not run again."""
        if self.rule == "none":
            return 0
        if self.rule == "notice" and told is not None and told < left:
            return told - started
        return (left - started) // self.every_s * self.every_s
