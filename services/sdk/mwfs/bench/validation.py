"""Decodes and validates the Dag on stdin, and prints how long that took, as JSON: `python -m mwfs.bench.validation`."""

import json
import sys
import time

from mwfs_api.dags.v1 import dag_pb2
from mwfs_types.dag_check import check_dag


def main() -> None:
    data = sys.stdin.buffer.read()
    begun = time.perf_counter()
    dag = dag_pb2.Dag.FromString(data)
    decoded = time.perf_counter()
    check_dag(dag)
    figures = {
        "decode_seconds": decoded - begun,
        "validate_seconds": time.perf_counter() - decoded,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
