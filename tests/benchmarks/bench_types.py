"""What the type system costs: `python tests/benchmarks/bench_types.py`. Prints microseconds per call, and seconds per Dag."""

import sys
import time
import timeit
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from builders.dags import ONE, DagBuilder, chain, fanout

from mwfs_api.dags.v1 import dag_pb2
from mwfs_types.annotations import type_of
from mwfs_types.dag_check import check_dag
from mwfs_types.values import check, decode, encode


def constants(n: int) -> dag_pb2.Dag:
    """n nodes, each with a constant of its own."""
    builder = DagBuilder()
    operator = builder.operator(ONE)
    for value in range(n):
        last = builder.node(operator, builder.constant(value))
    return builder.output(last)


def per_call(name: str, call: Callable[[], object], number: int) -> None:
    best = min(timeit.repeat(call, number=number, repeat=5)) / number
    print(f"{name:40} {best * 1e6:10.2f} µs")


def main() -> None:
    integer, integers = type_of(int), type_of(list[int])
    value = encode(3, integer)
    many = list(range(1000))
    values = encode(many, integers)
    per_call("type_of(list[int])", lambda: type_of(list[int]), 20_000)
    per_call("encode int", lambda: encode(3, integer), 20_000)
    per_call("decode int", lambda: decode(value, int), 20_000)
    per_call("check int", lambda: check(value, integer), 20_000)
    per_call("encode list of 1,000 ints", lambda: encode(many, integers), 20)
    per_call("decode list of 1,000 ints", lambda: decode(values, list[int]), 20)
    for name, dag in [("fanout", fanout(100_000)), ("chain", chain(100_000)), ("constants", constants(100_000))]:
        times = []
        for _ in range(3):
            start = time.perf_counter()
            check_dag(dag)
            times.append(time.perf_counter() - start)
        print(f"{'check_dag ' + name + ' of 100,000':40} {sorted(times)[1]:10.3f} s")


if __name__ == "__main__":
    main()
