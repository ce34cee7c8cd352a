"""Every construct as an author writes it. Checked by mypy and pyright in strict mode, and run, by `test_static_checkers.py`."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Generic, NamedTuple, NotRequired, TypedDict, TypeVar, assert_type

import mwfs
from mwfs import Dataset, Failure, Metrics, Model, ctx, sweep

T = TypeVar("T")


class Row(NamedTuple):
    length: float
    kind: str


class Parts(NamedTuple):
    train: Dataset[Row]
    test: Dataset[Row]


@dataclass(frozen=True)
class Setting:
    depth: int
    rate: float = 0.1

    @mwfs.operator
    def scaled(self, by: int) -> int:
        return self.depth * by


class Score(NamedTuple):
    accuracy: float
    depth: int


class Search(NamedTuple):
    best: float
    tried: int


class Everything(NamedTuple):
    numbers: list[int]
    scores: dict[str, float]
    pair: tuple[int, str]
    text: str


class Span(NamedTuple, Generic[T]):
    first: T
    last: T


class Plan(TypedDict):
    part: mwfs.DatePartition
    days: NotRequired[int]


@mwfs.register_type("BookShelf", travels_as=list[str], encode=lambda shelf: shelf.books)
@dataclass(frozen=True)
class Shelf:
    books: list[str]


@mwfs.operator
def week_of(day: date) -> Span[date]:
    return Span(day, day)


@mwfs.operator(preemptible=False)
def fitted(setting: Setting, epochs: int) -> float:
    resumed = ctx.resume_from
    score = Score(0.0, setting.depth) if resumed is None else resumed.value_as(Score)
    assert_type(score, Score)
    assert_type(0 if resumed is None else resumed.step, int)
    assert_type(ctx.seconds_left, float | None)
    for epoch in range(score.depth, epochs):
        score = Score(epoch * setting.rate, epoch)
        ctx.checkpoint(score, step=epoch)
        if ctx.preempted:
            raise mwfs.Preempted
    return score.accuracy


@mwfs.operator
def planned(days: Span[date], shelf: Shelf) -> Plan:
    return {"part": mwfs.DatePartition.at(days.first), "days": len(shelf.books)}


@mwfs.operator
def split(data: Dataset[Row], fraction: Annotated[float, mwfs.Range(0.05, 0.5)] = 0.2) -> Parts:
    return Parts(data, data)


@mwfs.operator(
    resources=mwfs.Resources(cpu=1, custom={"licenses": 1}, labels={"zone": ["a", "b"], "disk": "ssd"}),
    retry=3,
    timeout=60,
)
def fit(data: Dataset[Row], *, setting: Setting) -> Model[Row, float]:
    return Model({"depth": setting.depth})


@mwfs.operator
def evaluate(model: Model[Row, float], data: Dataset[Row]) -> Score:
    return Score(0.5 + model.estimator["depth"] / 10, model.estimator["depth"])


@mwfs.operator(pure=True)
def twice(x: int) -> int:
    return 2 * x


@mwfs.operator
def add(x: int, y: float, z: int = 3) -> float:
    return x + y + z


@mwfs.operator
def numbers_to(n: int) -> list[int]:
    return list(range(n))


@mwfs.operator
def even(x: int) -> bool:
    return x % 2 == 0


@mwfs.operator
def word(x: int) -> str:
    return "even" if x % 2 == 0 else "odd"


@mwfs.operator
def risky(x: int) -> int:
    if x > 2:
        raise ValueError(f"{x} is too much")
    return x


@mwfs.operator
def explain(failure: Failure) -> int:
    return -failure.line


@mwfs.operator
def everything(n: int) -> Everything:
    return Everything(list(range(n)), {"a": 1.5}, (n, "n"), "text")


@mwfs.operator
def report(scores: list[Score], best: Score, names: dict[str, int], pair: tuple[int, str]) -> Metrics:
    return Metrics(best=best.accuracy, count=float(len(scores)))


@mwfs.dynamic
def spread(n: int) -> list[int]:
    return [twice(x) for x in range(n)]


@mwfs.workflow
def train(data: Dataset[Row], depths: list[int]) -> Metrics:
    parts = split(data)
    assert_type(parts, Parts)
    assert_type(parts.train, Dataset[Row])
    first, second = split(data, fraction=0.5)
    models = [fit(first, setting=Setting(depth)) for depth in depths]
    assert_type(models, list[Model[Row, float]])
    scores = [evaluate(model, second) for model in models]
    best = sweep.best(scores, score=lambda score: score.accuracy)
    assert_type(best, Score)
    assert_type(Setting(3).scaled(2), int)
    return report(scores, best, {"three": twice(3)}, (twice(2), "two"))


@mwfs.workflow
def fields(n: int) -> float:
    made = everything(n)
    assert_type(made.numbers[0], int)
    assert_type(made.numbers[1:], list[int])
    assert_type(made.scores["a"], float)
    assert_type(made.pair[1], str)
    enough = mwfs.length(made.numbers) > 2
    assert_type(enough, bool)
    chosen = mwfs.when(enough, lambda: add(made.numbers[0], 1.0), lambda: 0.0)
    assert_type(chosen, float)
    return chosen + made.scores["a"] * 2


@mwfs.workflow
def lists(n: int) -> Search:
    found = numbers_to(n)
    doubled = mwfs.map(twice, found)
    assert_type(doubled, list[int])
    assert_type(mwfs.map(lambda x: add(x, 1.0), found), list[float])
    assert_type(mwfs.map(add, found, 2.0, z=1), list[float])
    assert_type(mwfs.map(lambda x, y: add(x, y), mwfs.zipped(found, [1.0] * 4)), list[float])
    assert_type(mwfs.map(add, mwfs.crossed(found, [1.0, 2.0])), list[float])
    assert_type(mwfs.filter(even, doubled), list[int])
    assert_type(mwfs.group(word, doubled), dict[str, list[int]])
    assert_type(mwfs.flatten([doubled, found]), list[int])
    most = mwfs.reduce(lambda one, other: mwfs.select(one > other, one, other), doubled)
    assert_type(most, int)
    assert_type(mwfs.map(spread, found), list[list[int]])
    return Search(best=mwfs.as_float(most), tried=mwfs.length(doubled))


@mwfs.workflow
def loops(start: int) -> int:
    state = mwfs.repeat_while(lambda x: x < 100, twice, start, limit=20)
    assert_type(state, int)
    first = mwfs.race(risky, [5, 1], first=1)
    assert_type(first, list[int])
    caught = mwfs.catch(lambda: risky(state), ValueError, fallback=explain)
    assert_type(caught, int)
    assert_type(mwfs.with_cleanup(lambda: twice(1), lambda: twice(2)), int)
    with mwfs.after(state):
        last = twice(first[0])
    return twice.after(caught)(last)


@mwfs.workflow
def dated(day: date, shelf: Shelf) -> Plan:
    days = week_of(day)
    assert_type(days, Span[date])
    plan = planned(Span(days.first, days.last), shelf)
    assert_type(plan["part"], mwfs.DatePartition)
    return {"part": plan["part"]}


@mwfs.workflow
def gate() -> str:
    approved = mwfs.signal("approved", bool)
    assert_type(approved, bool)
    with mwfs.after(mwfs.sleep(0.5)):
        word(1)
    return mwfs.when(approved, lambda: word(2), lambda: "refused")


@mwfs.workflow
def outer(n: int) -> int:
    inner = lists(n)
    assert_type(inner, Search)
    below = mwfs.child(lists, n=n)
    assert_type(below, Search)
    return inner.tried + mwfs.child(loops, 1) + below.tried - inner.tried


def of_plain_calls() -> None:
    """The same names are typed functions, and the compiler takes workflows."""
    assert_type(twice(2), int)
    assert_type(fitted(Setting(1, 0.5), 3), float)
    assert_type(loops(1), int)
    assert_type(loops.run_local(start=1), int)
    assert_type(mwfs.compile(loops, start=1), mwfs.Dag)
    assert_type(mwfs.LocalRun(signals={"approved": True}).run(gate), str)
