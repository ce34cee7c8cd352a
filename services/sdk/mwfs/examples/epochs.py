"""Fits a line in epochs, keeps a checkpoint after each, and goes on from there when it had to make room.

mwfs run mwfs.examples.epochs:train --input epochs=60 --input seconds=0.5 --watch
"""

import random
import time
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import mwfs
from mwfs import ctx
from mwfs_types.constraints import Doc, Range


@dataclass
class State:
    """All that an epoch needs of those before it."""

    epoch: int
    slope: float
    offset: float
    losses: list[float]
    #: The order of the examples goes on as well, so that an interrupted training gives what an undisturbed one does.
    dice: random.Random


class Fit(NamedTuple):
    """The line, how far off it was after each epoch, and which epochs were computed by the attempt that ended last."""

    slope: float
    offset: float
    losses: list[float]
    first_epoch_here: int


def examples(count: int) -> list[tuple[float, float]]:
    """Points around the line 2x + 1."""
    dice = random.Random(7)
    return [(x, 2 * x + 1 + dice.gauss(0, 0.1)) for x in (dice.uniform(-1, 1) for _ in range(count))]


def run_epoch(state: State, points: list[tuple[float, float]], rate: float) -> None:
    """One pass of stochastic gradient descent, in plain Python."""
    order = list(points)
    state.dice.shuffle(order)
    for x, y in order:
        error = state.slope * x + state.offset - y
        state.slope -= rate * error * x
        state.offset -= rate * error
    state.epoch += 1
    state.losses.append(sum((state.slope * x + state.offset - y) ** 2 for x, y in points) / len(points))


@mwfs.operator(resources=mwfs.Resources(cpu=1))
def fit(epochs: int, seconds: float, rate: float) -> Fit:
    """Trains; each epoch takes so many seconds at least. Needs nothing but `ctx` to be interrupted at any time."""
    resumed = ctx.resume_from
    state = State(0, 0.0, 0.0, [], random.Random(0)) if resumed is None else resumed.value_as(State)
    first, points = state.epoch, examples(200)
    while state.epoch < epochs:
        until = time.monotonic() + seconds
        run_epoch(state, points, rate)
        while time.monotonic() < until and not ctx.preempted:  # so long a real one would take
            time.sleep(min(0.05, max(0.0, until - time.monotonic())))
        print(f"epoch {state.epoch}: loss {state.losses[-1]:.5f}", flush=True)
        ctx.checkpoint(state, step=state.epoch)
    return Fit(state.slope, state.offset, state.losses, first)


@mwfs.workflow
def train(
    epochs: Annotated[int, Range(1, 100_000)] = 20,
    seconds: Annotated[float, Range(0, 3600), Doc("How long an epoch takes at least.")] = 0.0,
    rate: Annotated[float, Range(0.0001, 1)] = 0.05,
) -> Fit:
    """Fits a line to points around 2x + 1."""
    return fit(epochs, seconds, rate)
