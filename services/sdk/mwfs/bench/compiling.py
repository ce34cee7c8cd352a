"""Compiling, measured in processes of its own: time, memory, what the server does with the bytes, and importing the SDK."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from mwfs.bench import workflows

Report = dict[str, Any]

#: What only servers need; importing the SDK must load none of it.
SERVER_LIBRARIES = (
    "grpc",
    "asyncpg",
    "fastapi",
    "uvicorn",
    "prometheus_client",
    "psutil",
    "numpy",
    "pandas",
    "sklearn",
)
#: Sizes of the check that compiling is linear, as shares of the largest.
_SHARES = (0.1, 0.3, 1.0)

_IMPORT = """
import json, sys, time
begun = time.perf_counter()
import mwfs
mwfs.operator, mwfs.workflow
seconds = time.perf_counter() - begun
print(json.dumps({"import_seconds": seconds, "server_libraries": [one for one in sys.argv[1:] if one in sys.modules]}))
"""


def bench_compile(n: int) -> Report:
    """Compiles and serialises a fanout of n nodes, then decodes and validates the bytes as the orchestrator does; each in a fresh process."""
    report = _fresh("-m", "mwfs.bench.compiling", str(n))
    return {"bench": "compile", "n": n} | report | bench_import()


def bench_import() -> Report:
    """How long `import mwfs` with its decorators takes in a fresh interpreter: the median of three."""
    reports = sorted(
        (_fresh("-c", _IMPORT, *SERVER_LIBRARIES) for _ in range(3)), key=lambda one: one["import_seconds"]
    )
    return dict(reports[1])


def bench_linear(most: int) -> Report:
    """Compiles at three sizes up to `most`, and compares what a further node costs in the upper and in the lower part: 1 is exactly linear."""
    sizes = [_fresh("-m", "mwfs.bench.compiling", str(max(int(share * most), 3))) for share in _SHARES]
    return {
        "sizes": sizes,
        "cost_of_a_node": _growth([each["seconds"] for each in sizes], sizes),
        "memory_of_a_node": _growth([each["peak_memory_bytes"] for each in sizes], sizes),
    }


def _growth(values: Sequence[float], sizes: Sequence[Report]) -> float:
    """What a node adds in the upper part, over what it adds in the lower part. What does not depend on the size falls out."""
    nodes = [each["nodes"] for each in sizes]
    lower, upper = (max((values[i + 1] - values[i]) / (nodes[i + 1] - nodes[i]), 1e-9) for i in range(len(nodes) - 1))
    return float(upper / lower)


def _fresh(*arguments: str, stdin: bytes = b"") -> Report:
    done = subprocess.run([sys.executable, *arguments], input=stdin, stdout=subprocess.PIPE, check=True)
    found: Report = json.loads(done.stdout)
    return found


def _measured(n: int) -> Report:
    """In this process, whose peak memory is therefore that of compiling."""
    from mwfs.compiler import compile as compile_workflow

    begun, cpu = time.perf_counter(), time.process_time()
    dag = compile_workflow(workflows.fanout, n=max(n - 2, 0))
    compiled = time.perf_counter()
    data = dag.serialize()
    ended = time.perf_counter()
    cpu_seconds = time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    nodes = dag.node_count
    del dag
    validated = _fresh("-m", "mwfs.bench.validation", stdin=data)
    return {
        "nodes": nodes,
        "seconds": ended - begun,
        "compile_seconds": compiled - begun,
        "serialize_seconds": ended - compiled,
        "cpu_seconds": cpu_seconds,
        "nodes_per_s": nodes / (ended - begun),
        "dag_bytes": len(data),
        "peak_memory_bytes": peak,
        **validated,
    }


if __name__ == "__main__":
    print(json.dumps(_measured(int(sys.argv[1]))))
