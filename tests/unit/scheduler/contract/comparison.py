"""Where two planners decide differently, and the smallest snapshot that shows it.

`python -m unit.scheduler.contract.comparison --instances 20000 --features core` (from `tests/`) compares the engine with the reference.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from unit.scheduler.contract import instances, reference
from unit.scheduler.contract.check_steps import wrong_steps
from unit.scheduler.contract.checker import violations
from unit.scheduler.contract.cluster import parse
from unit.scheduler.contract.planners import PLANNERS, Planner
from unit.scheduler.contract.wide import FAMILIES, wide

Snapshot = dict[str, Any]


def difference(snapshot: Snapshot, planner: Planner, rounds: int) -> str | None:
    """The first round in which a planner and the reference, put where the planner puts, do not decide the same."""
    theirs = planner(deepcopy(snapshot), rounds=rounds)
    ours = reference.plan(snapshot, rounds, [lead_of(decision) for decision in theirs])
    for number, (mine, other) in enumerate(zip(ours, theirs, strict=True), 1):
        for what in ("admitted", "preempted", "waiting"):
            expected, found = summary(mine[what], mine), summary(other[what], mine)
            if expected != found:
                return f"round {number}: {what} {sorted(found - expected)}, not {sorted(expected - found)}"
    return None


def lead_of(decision: dict[str, Any]) -> reference.Lead:
    victims: dict[str, list[str]] = {}
    for one in decision["preempted"]:
        victims.setdefault(one["for"], []).append(one["id"])
    return reference.Lead(places={one["id"]: one["on"] for one in decision["admitted"]}, victims=victims)


def summary(listed: list[dict[str, Any]], decision: dict[str, Any]) -> set[tuple[str, ...]]:
    """What must be equal of a list: ids, for whom, why; those evicted in the round may be listed as waiting or not."""
    evicted = {one["id"] for one in decision["preempted"]}
    return {
        tuple(str(one[key]) for key in ("id", "for", "reason") if key in one)
        for one in listed
        if "reason" not in one or one["id"] not in evicted
    }


def smallest(snapshot: Snapshot, wrong: Callable[[Snapshot], bool]) -> Snapshot:
    """The snapshot without all that can go while it is still wrong."""
    snapshot = deepcopy(snapshot)
    changed = True
    while changed:
        changed = False
        for part in list(parts(snapshot)):
            smaller = deepcopy(snapshot)
            remove(smaller, part)
            try:
                still = stands(smaller) and wrong(smaller)
            except Exception:
                still = False
            if still:
                snapshot, changed = smaller, True
                break
    return snapshot


def stands(snapshot: Snapshot) -> bool:
    """Whether all that runs is on nodes that are there."""
    nodes = {node["id"] for node in snapshot["cluster"]["nodes"]}
    return all(nodes.issuperset(one["on"]) for one in snapshot["running"])


def parts(snapshot: Snapshot) -> list[tuple[Any, ...]]:
    """Ways into a snapshot to what could be left out."""
    found: list[tuple[Any, ...]] = [("knobs", name) for name in snapshot.get("knobs") or {}]
    found += [(name,) for name in ("now", "round_s") if name in snapshot]
    for name in ("pending", "running", "teams"):
        found += [(name, number) for number in range(len(snapshot[name]))]
    found += [("cluster", "nodes", number) for number in range(len(snapshot["cluster"]["nodes"]))]
    for name, optional in (
        ("pending", {"labels", "copies", "members", "rank", "priority", "submit", "duration", "preemptible", "req"}),
        ("running", {"priority", "preemptible", "start", "ends", "req"}),
        ("teams", {"weight", "burst", "guaranteed", "parent", "past_usage"}),
    ):
        for number, one in enumerate(snapshot[name]):
            found += [(name, number, key) for key in one if key in optional and key != "req"]
            for group in ("burst", "guaranteed"):
                found += [(name, number, group, key) for key in one.get(group) or {}]
            # A request of nothing fits everywhere, and is another question.
            found += [(name, number, "req", key) for key in one.get("req") or {} if len(one["req"]) > 1]
    return found


def remove(snapshot: Snapshot, part: tuple[Any, ...]) -> None:
    *way, last = part
    holder: Any = snapshot
    for step in way:
        holder = holder[step]
    del holder[last]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--instances", type=int, default=5_000)
    options.add_argument("--first", type=int, default=0, help="the first seed")
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument(
        "--features",
        choices=["core", "leaves", "comparable", "everything", *FAMILIES],
        default="core",
        help="what is likely in a small instance, or a family of unusual shapes",
    )
    options.add_argument(
        "--planner", choices=sorted(PLANNERS), default="engine" if "engine" in PLANNERS else "reference"
    )
    options.add_argument("--without", nargs="*", default=[], help="features to leave out, such as grace")
    options.add_argument("--save", type=Path, help="a folder for the smallest snapshots")
    options.add_argument("--most", type=int, default=10, help="stop after so many")
    given = options.parse_args()
    planner = PLANNERS[given.planner]
    features = None
    if given.features not in FAMILIES:
        features = replace(getattr(instances, given.features.upper()), **dict.fromkeys(given.without, 0))

    def wrong(snapshot: Snapshot) -> str | None:
        try:
            decisions = planner(deepcopy(snapshot), rounds=given.rounds)
            broken = violations(snapshot, decisions) or wrong_steps(parse(snapshot), decisions[0])
            return broken[0] if broken else difference(snapshot, planner, given.rounds)
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    found = 0
    for seed in range(given.first, given.first + given.instances):
        snapshot = wide(seed, given.features) if features is None else instances.small(seed, features)
        why = wrong(snapshot)
        if why is None:
            continue
        found += 1
        kind = kind_of(why)
        small = smallest(snapshot, lambda one, kind=kind: kind_of(wrong(one)) == kind)  # type: ignore[misc]
        print(f"seed {seed}: {why}\n  smallest: {wrong(small)}\n  {json.dumps(small)}", flush=True)
        if given.save:
            given.save.mkdir(parents=True, exist_ok=True)
            (given.save / f"{given.features}_{seed}.json").write_text(json.dumps(small, indent=1))
        if found >= given.most:
            break
    print(f"{seed + 1 - given.first} instances, {found} differ")
    return 1 if found else 0


def kind_of(why: str | None) -> str:
    """What a difference is about, without its names and numbers."""
    words = (why or "").split()
    return " ".join(words[2:3]) if words[:1] == ["round"] else " ".join(words[:1])


if __name__ == "__main__":
    sys.exit(main())
