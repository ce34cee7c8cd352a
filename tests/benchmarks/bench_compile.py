"""How long compiling takes, by the shape of the workflow: `python tests/benchmarks/bench_compile.py [NODES]`.

`mwfs bench compile` measures one shape; this shows which kind of call costs what. Asserts nothing: machines are noisy.
"""

import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fixtures.sdk_operators import add, increment, one, split, total

import mwfs


@mwfs.workflow
def fanout(n: int) -> int:
    return total([increment(i) for i in range(n)])


@mwfs.workflow
def chain(n: int) -> int:
    x = one()
    for _ in range(n):
        x = increment(x)
    return x


@mwfs.workflow
def keywords(n: int) -> int:
    x = one()
    for i in range(n):
        x = add(a=x, b=i)
    return x


@mwfs.workflow
def records(n: int) -> int:
    for i in range(n // 2):
        total(split([i]).train)
    return n


def measure(nodes: int) -> None:
    for workflow in (fanout, chain, keywords, records):
        started = time.process_time()
        dag = mwfs.compile(workflow, n=nodes)
        compiled = time.process_time()
        size = len(dag.serialize())
        written = time.process_time()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(
            f"{workflow.__name__:9} {dag.node_count:>9,} nodes: compile {compiled - started:6.2f} s of CPU, "
            f"write {written - compiled:5.2f} s, {size / 2**20:6.1f} MiB, peak so far {peak:,} MiB"
        )


if __name__ == "__main__":
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
