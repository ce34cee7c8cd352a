"""What it costs to store and to fold events: events per second of CPU of this process. Run it as a script with a DSN.

`python event_storage.py DSN [--shape fanout|swarm] [--events N]`; the database is migrated and its tables are emptied.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
import uuid

import asyncpg

from mwfs_api.events.v1 import events_pb2 as pb
from mwfs_api.orchestrator.v1 import orchestrator_pb2
from mwfs_chassis.postgres import load_queries, migrate, open_pool
from mwfs_observability.fold import fold
from mwfs_observability.projection import Batch
from mwfs_observability.store import Store
from mwfs_observability.wire import timeline_to


def fanout(events: int, per_commit: int) -> list[pb.Commit]:
    """One run; a commit ends half as many nodes as it has events, and starts as many others."""
    run_id, commits, number = str(uuid.uuid4()), [], 1
    now = time.time_ns() // 1000
    first = pb.RunEvents(run_id=run_id, first_number=1, kind=[1, 3], node=[-1, -1], attempt=[0, 0], time_us=[now, now])
    first.details.add(index=0).accepted.team = "ads"
    facts = first.details.add(index=1).started
    facts.operators.append("bench:noop")
    facts.node_operator.extend([0] * (events // 2))
    commits.append(pb.Commit(stream="0/1", position=1, runs=[first]))
    number, half = 3, per_commit // 2
    for position in range(2, 2 + events // per_commit):
        now += 5_000
        low = (position - 2) * half
        nodes = list(range(low, low + half))
        batch = pb.RunEvents(
            run_id=run_id,
            first_number=number,
            kind=[20] * half + [21] * half,
            node=nodes * 2,
            attempt=[1] * per_commit,
            time_us=[now] * per_commit,
            body_started_us=[now - 900 + i for i in range(half)],
            body_ended_us=[now - 800 + i for i in range(half)],
            place=[i % 2 for i in range(half)],
            places=["local/worker-0", "local/worker-1"],
            ready_us=[now - 1_000 + i for i in range(half)],
        )
        number += per_commit
        commits.append(pb.Commit(stream="0/1", position=position, runs=[batch]))
    return commits


def swarm(events: int, per_commit: int) -> list[pb.Commit]:
    """Many small runs: each has eight events in four batches, and a commit has batches of many runs."""
    stories = []
    now = time.time_ns() // 1000
    for _ in range(events // 8):
        run_id = str(uuid.uuid4())
        first = pb.RunEvents(
            run_id=run_id, first_number=1, kind=[1, 3], node=[-1, -1], attempt=[0, 0], time_us=[now] * 2
        )
        first.details.add(index=0).accepted.team = "ads"
        first.details.add(index=1).started.node_count = 3
        story = [first]
        for step in range(3):
            story.append(
                pb.RunEvents(
                    run_id=run_id,
                    first_number=3 + 2 * step,
                    kind=[20, 21],
                    node=[step, step],
                    attempt=[1, 1],
                    time_us=[now, now],
                    body_started_us=[now],
                    body_ended_us=[now],
                    place=[0],
                    places=["local/worker-0"],
                    ready_us=[now],
                )
            )
        stories.append(story)
    ordered = [story[step] for step in range(4) for story in stories]
    size = max(1, per_commit // 2)
    return [
        pb.Commit(stream="0/1", position=1 + at // size, runs=ordered[at : at + size])
        for at in range(0, len(ordered), size)
    ]


async def measure(dsn: str, commits: list[pb.Commit], commits_per_batch: int) -> dict[str, object]:
    await migrate(dsn, "mwfs_observability")
    pool = await open_pool(dsn)
    await pool.execute("TRUNCATE run_events, runs, stream_cursor")
    store = Store(pool, load_queries("mwfs_observability"))
    # As they come off the wire: parsing is part of the cost.
    messages = [orchestrator_pb2.FollowEventsResponse(commits=[commit]).SerializeToString() for commit in commits]
    backend = await asyncpg.connect(dsn)
    begun, cpu = time.perf_counter(), time.process_time()
    positions: dict[str, int] = {}
    events = rows = size = 0
    for start in range(0, len(messages), commits_per_batch):
        batch = Batch(positions)
        for message in messages[start : start + commits_per_batch]:
            for commit in orchestrator_pb2.FollowEventsResponse.FromString(message).commits:
                batch.add(commit)
        await store.save(batch)
        events, rows, size = events + batch.events, rows + len(batch.run_ids), size + batch.size
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    stored = await backend.fetchval("SELECT pg_total_relation_size('run_events')")
    await backend.close()
    run_id = commits[0].runs[0].run_id
    fold_begun = time.process_time()
    picture = fold(await store.events(run_id))
    folded = time.process_time() - fold_begun
    page_begun = time.process_time()
    timeline_to(picture, 0, 10_000)
    paged = time.process_time() - page_begun
    await store.close()
    return {
        "events": events,
        "rows": rows,
        "events_per_s": round(events / seconds),
        "events_per_cpu_s_of_service": round(events / cpu),
        "wire_bytes_per_event": round(size / events, 1),
        "stored_bytes_per_event": round(stored / events, 1),
        "fold_events": picture.last_event,
        "fold_cpu_s": round(folded, 3),
        "page_cpu_s": round(paged, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dsn")
    parser.add_argument("--shape", choices=["fanout", "swarm"], default="fanout")
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--per-commit", type=int, default=200)
    parser.add_argument("--commits-per-batch", type=int, default=5)
    arguments = parser.parse_args()
    commits = (fanout if arguments.shape == "fanout" else swarm)(arguments.events, arguments.per_commit)
    print(json.dumps(asyncio.run(measure(arguments.dsn, commits, arguments.commits_per_batch))))


if __name__ == "__main__":
    main()
