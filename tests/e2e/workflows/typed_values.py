"""Dates, partitions, generic records, TypedDicts and a team's own versioned type, through operators on the platform."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Generic, NamedTuple, NotRequired, TypedDict, TypeVar

import mwfs

T = TypeVar("T")


@mwfs.register_type("Heat", travels_as=float, encode=lambda one: one.celsius, decode=lambda celsius: OldHeat(celsius))
@dataclass(frozen=True)
class OldHeat:
    celsius: float


class Measured(NamedTuple):
    kelvin: float
    place: str


@mwfs.register_type(
    "Heat",
    version=2,
    travels_as=Measured,
    encode=lambda one: Measured(one.kelvin, one.place),
    decode=lambda measured: Heat(*measured),
    reads={1: (float, lambda celsius: Heat(celsius + 273.15, "unknown"))},
)
@dataclass(frozen=True)
class Heat:
    kelvin: float
    place: str


class Span(NamedTuple, Generic[T]):
    first: T
    last: T


class Plan(TypedDict):
    part: mwfs.DatePartition
    wait: NotRequired[timedelta]


class Report(NamedTuple):
    days: Span[date]
    plan: Plan
    at: datetime
    heat: Heat
    words: str


@mwfs.operator
def week_of(day: date) -> Span[date]:
    week = mwfs.DatePartition.at(day, mwfs.DatePartition.parse("2026-W01").grain)
    return Span(week.day, week.day + timedelta(days=6))


@mwfs.operator
def planned(days: Span[date]) -> Plan:
    return {"part": mwfs.DatePartition.at(days.first), "wait": days.last - days.first}


@mwfs.operator
def later(at: datetime, plan: Plan) -> datetime:
    return at + plan.get("wait", timedelta())


@mwfs.operator
def shown(heat: Heat, part: mwfs.DatePartition) -> str:
    return f"{heat.kelvin} at {heat.place} after {part}"


@mwfs.operator
def old_heat(celsius: float) -> OldHeat:
    return OldHeat(celsius)


@mwfs.workflow
def warm(celsius: float) -> OldHeat:
    return old_heat(celsius)


@mwfs.workflow
def report(day: date, at: datetime, heat: Heat) -> Report:
    days = week_of(day)
    plan = planned(days)
    return Report(
        days=Span(days.first, days.last),
        plan={"part": plan["part"]},
        at=later(at, plan),
        heat=heat,
        words=shown(heat, plan["part"]),
    )
