"""Random snapshots of a hall: some dozen machines of 8 GPUs, hundreds of grants, gangs of up to 16, few teams."""

from __future__ import annotations

from random import Random
from typing import Any

Snapshot = dict[str, Any]

SHAPES: list[dict[str, int]] = [
    {"gpu": 1, "cpu": 8, "mem": 64}, {"gpu": 2, "cpu": 16, "mem": 64}, {"gpu": 4, "cpu": 16, "mem": 128},
    {"gpu": 8, "cpu": 32, "mem": 256}, {"cpu": 4, "mem": 16}, {"cpu": 16, "mem": 200}, {"gpu": 1, "cpu": 2, "mem": 8},
]  # fmt: skip


def hall(seed: int) -> Snapshot:
    """More hosts than are all looked at by a search, and more grants than of which each set is tried."""
    random = Random(f"hall {seed}")
    typed = random.random() < 0.5
    nodes: list[Snapshot] = []
    for number in range(random.choice([12, 40, 60])):
        node: Snapshot = {"id": f"n{number:02}", "cpu": 64, "mem": 512, "gpu": random.choice([8] * 9 + [4])}
        if typed:
            node["labels"] = {"gpu_type": random.choice(["a100", "h100"])}
        nodes.append(node)
    teams = organisation(random, {name: sum(node[name] for node in nodes) for name in ("cpu", "mem", "gpu")})
    names = [team["id"] for team in teams if team["id"] != "org"]
    pending: list[Snapshot] = []
    for number in range(random.choice([20, 60])):
        request: Snapshot = {
            "id": f"p{number:02}", "team": random.choice(names), "req": random.choice(SHAPES), "members": wide(random),
            "priority": random.choice([0, 0, 0, 1, 5]), "submit": random.randint(0, 1_000),
        }  # fmt: skip
        if typed and random.random() < 0.3:
            request["labels"] = {"gpu_type": random.choice(["a100", "h100"])}
        pending.append(request)
    running = busy(random, nodes, names)
    return {"now": 1_000, "cluster": {"nodes": nodes}, "teams": teams, "running": running, "pending": pending}


def wide(random: Random) -> int:
    return random.choice([1] * 8 + [2, 4, 8, 16])


def organisation(random: Random, pool: dict[str, int]) -> list[Snapshot]:
    """Teams of which each is promised a part, some of them below another."""
    count = random.randint(2, 6)
    teams: list[Snapshot] = [{"id": "org"}] if random.random() < 0.5 else []
    if teams and random.random() < 0.5:
        teams[0]["burst"] = {"gpu": pool["gpu"] // random.choice([2, 3, 4])}
    for number in range(count):
        team: Snapshot = {"id": f"t{number}", "weight": random.choice([1, 1, 2])}
        if teams and teams[0]["id"] == "org" and random.random() < 0.7:
            team["parent"] = "org"
        if random.random() < 0.8:
            part = random.random() / count
            team["guaranteed"] = {name: int(amount * part) for name, amount in pool.items()}
        if random.random() < 0.2:
            team["burst"] = {"gpu": pool["gpu"] // random.choice([1, 2, 4])}
        teams.append(team)
    return teams


def busy(random: Random, nodes: list[Snapshot], teams: list[str]) -> list[Snapshot]:
    """What runs, most of it of half of the teams."""
    free = {node["id"]: {name: node[name] for name in ("cpu", "mem", "gpu")} for node in nodes}
    greedy = teams[: (len(teams) + 1) // 2]
    found: list[Snapshot] = []
    for number in range(random.choice([60, 120, 200])):
        shape, on = random.choice(SHAPES), list[str]()
        for _ in range(wide(random)):
            fit = [name for name, left in free.items() if all(left[key] >= amount for key, amount in shape.items())]
            if fit:
                on.append(random.choice(fit))
                for key, amount in shape.items():
                    free[on[-1]][key] -= amount
        if on:
            team = random.choice(greedy if random.random() < 0.8 else teams)
            found.append(
                {"id": f"r{number:03}", "team": team, "req": shape, "on": on, "start": random.randint(0, 1_000),
                 "priority": random.choice([0, 0, 0, 1, 5]), "preemptible": random.random() < 0.93}
            )  # fmt: skip
    return found
