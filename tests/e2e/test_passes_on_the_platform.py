"""Passes change no result: random workflows, of plain calls and of every construct, give the same with every subset of them, in this process and
on the platform."""

import importlib
import itertools

import pytest

import mwfs as sdk
from mwfs.client import BlockingClient
from mwfs.client.async_client import RunRequest
from mwfs.local_files import LocalFiles
from mwfs.local_run import run_dag
from mwfs.passes import NAMES, only
from mwfs_types.values import decode

SUBSETS = [subset for size in range(len(NAMES) + 1) for subset in itertools.combinations(NAMES, size)]


@pytest.fixture
def graph(project, monkeypatch):
    """The workflow, imported from a user's folder."""
    monkeypatch.syspath_prepend(project)
    monkeypatch.chdir(project)
    return importlib.import_module("random_graphs").graph


#: Enough for every construct to occur in several, and to be next to several others.
SEEDS = range(12)


def test_every_subset_of_passes_gives_the_same_outputs(mwfs, graph):
    """Each subset that switches the cache off computes everything anew, so no run hides behind results of another."""
    expected = {}
    for seed in SEEDS:
        with only():
            expected[seed] = graph.run_local(seed=seed)
    cases = []
    for number, passes in enumerate(SUBSETS):
        for seed in (one for one in SEEDS if one % 4 == number % 4):
            with only(*passes):
                dag = sdk.compile(graph, seed=seed)
            assert run_dag_here(dag) == expected[seed], (seed, passes)
            cases.append((seed, passes, dag))
    kinds = {operator.control.kind for _, _, dag in cases for operator in dag.proto.operators}
    assert len(kinds) > 6, "the dice have rolled few constructs"
    with BlockingClient(mwfs.home) as client:
        runs = client.submit_many([RunRequest(workflow=dag) for _, _, dag in cases])
        client.wait_all(runs, timeout=280)
        for (seed, passes, _), run in zip(cases, runs, strict=True):
            assert client.outputs(run) == {"result": expected[seed]}, (seed, passes)


def run_dag_here(dag):
    """The result of exactly this Dag."""
    store = LocalFiles(dag.local_files, copies=True)
    return decode(run_dag(dag, store)["result"], list[int], store)
