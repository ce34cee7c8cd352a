"""A snapshot file to a cluster and back: everything in it is checked before anything is decided."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from math import gcd, lcm
from typing import Any, Final, NoReturn

from mwfs_scheduler.fair_share.cluster import Cluster
from mwfs_scheduler.fair_share.model import Grant, Host, Knobs, Request, Selector, Shape, Time
from mwfs_scheduler.fair_share.teams import Team

#: Bounds of what is believed.
MAX_AMOUNT: Final = 10**15
MAX_REQUESTS: Final = 2_000_000
MAX_MEMBERS: Final = 100_000
MAX_DEPTH: Final = 64
MAX_DIGITS: Final = 12
#: Parts of a unit that the decayed memory of use is kept in.
_MEMORY_PARTS: Final = 10**6
#: What every machine has; a host with anything else is special, and is left to those who need it.
_PLAIN: Final = frozenset({"cpu", "mem", "memory", "disk"})

_KEYS: Final = {
    "snapshot": {"knobs", "cluster", "teams", "running", "pending", "now", "round_s"},
    "team": {"id", "parent", "weight", "guaranteed", "burst", "past_usage"},
    "running": {
        *("id", "team", "req", "priority", "preemptible", "start", "on", "ends", "members", "labels", "submit"),
        *("rank", "duration", "preemptions"),
    },
    "pending": {
        *("id", "team", "req", "priority", "preemptible", "submit", "members", "copies", "rank", "labels"),
        *("duration", "paused", "preemptions"),
    },
}
_CHOICES: Final = {
    "reclaim_priority": ("any", "lower_or_equal", "lower"),
    "share_basis": ("borrowed", "total"),
    "backfill": ("none", "easy"),
}


class BadSnapshot(ValueError):
    """Where in the file, what was expected and what was found."""


class Units:
    """Whole numbers for amounts: each resource has a smallest unit."""

    def __init__(self, resources: Sequence[str], parts: Sequence[int]) -> None:
        self.resources = tuple(resources)
        self.parts = tuple(parts)
        self.index = {name: at for at, name in enumerate(resources)}

    def back(self, resource: int, amount: int) -> int | float:
        """The amount as the file would give it."""
        return number(Fraction(amount, self.parts[resource]))


def number(value: Time) -> int | float:
    """As JSON has it."""
    return int(value) if value == int(value) else float(value)


def parse(text: bytes | str) -> Any:
    """The JSON of a snapshot, with exact numbers. Raises BadSnapshot."""
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_constant)
    except RecursionError:
        raise BadSnapshot("The file nests too deeply to be a snapshot.") from None
    except ValueError as error:
        if isinstance(error, BadSnapshot):
            raise
        raise BadSnapshot(f"The file is not JSON: {error}.") from None


def _constant(name: str) -> NoReturn:
    raise BadSnapshot(f"The file contains {name}; amounts and times must be finite numbers.")


class Reader:
    """Reads one snapshot into a cluster."""

    def __init__(self, data: Any) -> None:
        self._data = _record(data, "snapshot", _KEYS["snapshot"])
        self._nodes = _rows(
            _record(data.get("cluster") or {}, "cluster", {"nodes"}).get("nodes"), "cluster.nodes", None
        )
        self._teams = _rows(data.get("teams"), "teams", _KEYS["team"])
        self._running = _rows(data.get("running"), "running", _KEYS["running"])
        self._pending = _rows(data.get("pending"), "pending", _KEYS["pending"])
        self.knobs = _knobs(data.get("knobs"))
        self.round_s = _time(data.get("round_s"), "round_s", 0)
        if self.round_s < 0:
            raise BadSnapshot(f"round_s must not be negative; found {self.round_s}.")
        self.units = self._units()

    def cluster(self) -> Cluster:
        """The cluster that the file describes. Raises BadSnapshot."""
        if any(exact := self._for_scaling()):
            self.units = Units(
                self.units.resources, [part * (more or 1) for part, more in zip(self.units.parts, exact, strict=True)]
            )
        return self._cluster()

    def _for_scaling(self) -> list[int]:
        """By what the units must be divided so that scaled guarantees are whole numbers; 0 where nothing is scaled."""
        cluster = Cluster(resources=self.units.resources, knobs=self.knobs, now=0)
        self._add_hosts(cluster)
        self._add_teams(cluster)
        promised = [sum(team.guaranteed[at] for team in cluster.tops) for at in range(len(self.units.resources))]
        pools = cluster.hosts.pools
        return [all_ // gcd(all_, pool) if all_ > pool else 0 for all_, pool in zip(promised, pools, strict=True)]

    def _cluster(self) -> Cluster:
        now = _time(self._data.get("now"), "now", 0)
        cluster = Cluster(resources=self.units.resources, knobs=self.knobs, now=now)
        self._add_hosts(cluster)
        self._add_teams(cluster)
        cluster.settle()
        self._add_running(cluster)
        self._add_pending(cluster)
        return cluster

    # --- amounts ------------------------------------------------------------------------------------------------------

    def _units(self) -> Units:
        """One pass over all amounts, for the names of the resources and the smallest unit of each."""
        parts: dict[str, int] = {}

        def see(amounts: Any, where: str) -> None:
            for name, amount in _amounts(amounts, where).items():
                parts[name] = lcm(parts.get(name, 1), amount.denominator if isinstance(amount, Fraction) else 1)

        for where, node in self._nodes:
            see({key: value for key, value in node.items() if key not in ("id", "labels")}, where)
        for where, team in self._teams:
            for key in ("guaranteed", "burst", "past_usage"):
                see(team.get(key), f"{where}.{key}")
        for where, row in (*self._running, *self._pending):
            see(row.get("req"), f"{where}.req")
        if self.knobs.half_life_s is not None:
            parts = {name: lcm(each, _MEMORY_PARTS) for name, each in parts.items()}
        names = sorted(parts)
        return Units(names, [parts[name] for name in names])

    def _dense(self, amounts: Any, where: str) -> list[int]:
        dense = [0] * len(self.units.resources)
        for name, amount in _amounts(amounts, where).items():
            at = self.units.index[name]
            dense[at] = int(amount * self.units.parts[at])
        return dense

    # --- rows ---------------------------------------------------------------------------------------------------------

    def _add_hosts(self, cluster: Cluster) -> None:
        for where, node in self._nodes:
            id = _id(node, where)
            if id in cluster.hosts.by_id:
                raise BadSnapshot(f"{where}: node {id!r} is there twice.")
            capacity = self._dense({key: value for key, value in node.items() if key not in ("id", "labels")}, where)
            special = any(
                amount and name not in _PLAIN for name, amount in zip(self.units.resources, capacity, strict=True)
            )
            labels = {key: values[0] for key, values in _labels(node.get("labels"), where)}
            cluster.add_host(Host(id=id, capacity=capacity, free=list(capacity), labels=labels, special=special))

    def _add_teams(self, cluster: Cluster) -> None:
        rows = {}
        for where, row in self._teams:
            id = _id(row, where)
            if id in rows:
                raise BadSnapshot(f"{where}: team {id!r} is there twice.")
            rows[id] = (where, row)
        for id in _parents_first(rows):
            where, row = rows[id]
            parent = row.get("parent")
            weight = Fraction(_time(row.get("weight"), f"{where}.weight", 1))
            if weight <= 0:
                raise BadSnapshot(f"{where}.weight must be above 0; found {number(weight)}.")
            team = Team(id, cluster.teams[parent] if parent is not None else None, weight, len(self.units.resources))
            limits = _amounts(row.get("burst"), f"{where}.burst")
            team.burst = [
                int(limits[name] * part) if name in limits else None
                for name, part in zip(self.units.resources, self.units.parts, strict=True)
            ]
            cluster.add_team(team)
        for id in reversed(list(cluster.teams)):
            where, row = rows[id]
            team, given = cluster.teams[id], row.get("guaranteed")
            if given is not None:
                team.guaranteed = self._dense(given, f"{where}.guaranteed")
            for at, name in enumerate(self.units.resources):
                if given is None or (name in given and given[name] is None):
                    team.guaranteed[at] = sum(child.guaranteed[at] for child in team.children)
        if self.knobs.half_life_s is not None:
            for id, team in cluster.teams.items():
                where, row = rows[id]
                cluster.remember(team, self._dense(row.get("past_usage"), f"{where}.past_usage"))

    def _request(self, cluster: Cluster, where: str, row: Mapping[str, Any], id: str, members: int) -> Request:
        name = row.get("team")
        team = cluster.teams.get(name) if isinstance(name, str) else None
        if team is None:
            raise BadSnapshot(f"{where}.team: there is no team {row.get('team')!r} among the teams.")
        asked = self._dense(row.get("req"), f"{where}.req")
        duration = _time(row["duration"], f"{where}.duration", 0) if row.get("duration") is not None else None
        if duration is not None and duration < 0:
            raise BadSnapshot(f"{where}.duration must not be negative; found {number(duration)}.")
        needs = tuple((at, amount) for at, amount in enumerate(asked) if amount)
        return Request.build(
            id=id,
            team=team,
            shape=Shape(needs, members, _labels(row.get("labels"), where), duration),
            priority=_whole(row.get("priority"), f"{where}.priority", 0),
            rank=_time(row.get("rank"), f"{where}.rank", 0) if self.knobs.rank else 0,
            submit=_time(row.get("submit"), f"{where}.submit", 0),
            preemptible=_flag(row.get("preemptible"), f"{where}.preemptible", True),
            paused=_flag(row.get("paused"), f"{where}.paused", False),
            preemptions=_whole(row.get("preemptions"), f"{where}.preemptions", 0),
        )

    def _add_running(self, cluster: Cluster) -> None:
        for where, row in self._running:
            on = row.get("on") or []
            if not isinstance(on, list) or len(on) > MAX_MEMBERS or not all(isinstance(name, str) for name in on):
                raise BadSnapshot(f"{where}.on must be a list of node ids, one per member.")
            members = _whole(row.get("members"), f"{where}.members", max(len(on), 1))
            id = _id(row, where)
            if id in cluster.grants:
                raise BadSnapshot(f"{where}: {id!r} runs twice.")
            ends = _time(row["ends"], f"{where}.ends", 0) if row.get("ends") is not None else None
            request = self._request(cluster, where, row, id, max(members, len(on), 1))
            hosts = [cluster.hosts.by_id[name] for name in on if name in cluster.hosts.by_id]
            start = _time(row.get("start"), f"{where}.start", 0)
            request.copies = 0
            grant = Grant(id=id, request=request, start=start, ends=ends, hosts=hosts)
            cluster.start(grant)
            cluster.may_be_asked(grant)

    def _add_pending(self, cluster: Cluster) -> None:
        waiting = 0
        for where, row in self._pending:
            copies = _whole(row.get("copies"), f"{where}.copies", 1)
            members = _whole(row.get("members"), f"{where}.members", 1)
            waiting += copies
            if copies < 0 or waiting > MAX_REQUESTS:
                raise BadSnapshot(f"{where}.copies: at most {MAX_REQUESTS:,} requests may wait; found {waiting:,}.")
            if not 1 <= members <= MAX_MEMBERS:
                raise BadSnapshot(f"{where}.members must be between 1 and {MAX_MEMBERS:,}; found {members}.")
            id = _id(row, where)
            ids = [id] if row.get("copies") is None or copies == 1 else [f"{id}#{at}" for at in range(1, copies + 1)]
            first = self._request(cluster, where, row, id, members)
            for each in ids:
                if each in cluster.waiting.requests or each in cluster.grants or each in cluster.paused:
                    raise BadSnapshot(f"{where}: {each!r} is there twice.")
                cluster.wait(first if each == id else first.copy(each))


# --- values -----------------------------------------------------------------------------------------------------------


def _record(value: Any, where: str, keys: Iterable[str] | None) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadSnapshot(f"{where} must be an object; found {_kind(value)}.")
    if keys is not None:
        for key in value:
            if key not in keys:
                raise BadSnapshot(f"{where} has no key {key!r}; it has {', '.join(sorted(keys))}.")
    return value


def _rows(value: Any, where: str, keys: Iterable[str] | None) -> list[tuple[str, Mapping[str, Any]]]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadSnapshot(f"{where} must be a list; found {_kind(value)}.")
    return [(f"{where}[{at}]", _record(row, f"{where}[{at}]", keys)) for at, row in enumerate(value)]


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__


def _id(row: Mapping[str, Any], where: str) -> str:
    id = row.get("id")
    if not isinstance(id, str) or not id or len(id) > 500:
        raise BadSnapshot(f"{where}.id must be a string of 1 to 500 characters.")
    return id


def _time(value: Any, where: str, default: Time) -> Time:
    if value is None:
        return default
    if type(value) is int and -MAX_AMOUNT <= value <= MAX_AMOUNT:
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise BadSnapshot(f"{where} must be a number; found {_kind(value)}.")
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not exact.is_finite() or abs(exact) > MAX_AMOUNT:
        raise BadSnapshot(f"{where} must be at most {MAX_AMOUNT:,}; found {value}.")
    if int(exact.as_tuple().exponent) < -MAX_DIGITS:
        exact = round(exact, MAX_DIGITS)
    fraction = Fraction(exact)
    return int(fraction) if fraction.denominator == 1 else fraction


def _whole(value: Any, where: str, default: int) -> int:
    found = _time(value, where, default)
    if not isinstance(found, int):
        raise BadSnapshot(f"{where} must be a whole number; found {value}.")
    return found


def _flag(value: Any, where: str, default: bool) -> bool:
    if value is None:
        return default
    if not isinstance(value, bool):
        raise BadSnapshot(f"{where} must be true or false; found {_kind(value)}.")
    return value


def _amounts(value: Any, where: str) -> dict[str, Time]:
    if value is None:
        return {}
    amounts = {}
    for name, amount in _record(value, where, None).items():
        if amount is None:
            continue
        exact = _time(amount, f"{where}.{name}", 0)
        if exact < 0:
            raise BadSnapshot(f"{where}.{name} must not be negative; found {amount}.")
        amounts[name] = exact
    return amounts


def _labels(value: Any, where: str) -> Selector:
    if value is None:
        return ()
    labels = []
    for key, wanted in sorted(_record(value, f"{where}.labels", None).items()):
        values = wanted if isinstance(wanted, list) else [wanted]
        if not values or not all(isinstance(each, (str, int, bool)) for each in values):
            raise BadSnapshot(f"{where}.labels.{key} must be a value or a list of values that will do.")
        labels.append((key, tuple(sorted(str(each) for each in values))))
    return tuple(labels)


def _knobs(value: Any) -> Knobs:
    given = _record(value or {}, "knobs", Knobs.__slots__)
    read: dict[str, Any] = {}
    for name, setting in given.items():
        where = f"knobs.{name}"
        if setting is None:
            continue
        if name in _CHOICES:
            if setting not in _CHOICES[name]:
                raise BadSnapshot(f"{where} must be one of {', '.join(_CHOICES[name])}; found {setting!r}.")
            read[name] = setting
        elif name == "rank":
            if setting not in ("on", "off", True, False):
                raise BadSnapshot(f"{where} must be on or off; found {setting!r}.")
            read[name] = setting in ("on", True)
        elif name == "fair_preemption":
            read[name] = _flag(setting, where, False)
        else:
            read[name] = _whole(setting, where, 0) if name == "max_preemptions_per_job" else _time(setting, where, 0)
            if read[name] < 0 or (name == "half_life_s" and not read[name]):
                raise BadSnapshot(f"{where} must not be negative, and half_life_s not 0; found {setting}.")
    return Knobs(**read)


def _parents_first(rows: Mapping[str, tuple[str, Mapping[str, Any]]]) -> list[str]:
    depths: dict[str, int] = {}
    for id in rows:
        chain: list[str] = []
        at: Any = id
        while at is not None and at not in depths:
            where, row = rows[at]
            if at in chain:
                circle = " → ".join([*chain[chain.index(at) :], at])
                raise BadSnapshot(f"{where}.parent: the teams form a circle: {circle}.")
            chain.append(at)
            parent = row.get("parent")
            if parent is not None and (not isinstance(parent, str) or parent not in rows):
                raise BadSnapshot(f"{where}.parent: there is no team {parent!r}.")
            at = parent
        depth = 0 if at is None else depths[at] + 1
        for each in reversed(chain):
            depths[each] = depth
            depth += 1
        if depth > MAX_DEPTH:
            raise BadSnapshot(f"The tree of teams is deeper than {MAX_DEPTH}.")
    return sorted(depths, key=lambda id: (depths[id], id))
