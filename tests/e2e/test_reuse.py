"""Results of earlier runs, as users meet them: taken when nothing has changed, computed anew when the code has."""

import os
import signal

from mwfs.client import BlockingClient


def reused(mwfs, run_id: str) -> list[str]:
    """For each node, by its operator's own name: reused or run."""
    with BlockingClient(mwfs.home) as client:
        return [
            f"{node.operator.rpartition(':')[2]} {'reused' if node.HasField('origin') else 'run'}"
            for node in client.nodes(run_id)
        ]


def test_a_run_takes_what_an_earlier_one_computed_and_computes_what_has_changed(mwfs, project):
    first = mwfs.json("run", "reused:twice", "--input", "n=20001")
    assert reused(mwfs, first["run_id"]) == ["squares run", "join run", "announce run"]
    second = mwfs.json("run", "reused:twice", "--input", "n=20001")
    assert reused(mwfs, second["run_id"]) == ["squares reused", "join reused", "announce run"]
    assert second["outputs"] == first["outputs"]

    code = project / "reused.py"
    code.write_text(code.read_text().replace("return sum(values)", "return sum(values) + 1"))
    third = mwfs.json("run", "reused:twice", "--input", "n=20001")
    assert reused(mwfs, third["run_id"]) == ["squares reused", "join run", "announce run"]
    assert third["outputs"]["result"] == first["outputs"]["result"] + 1


def test_other_inputs_are_computed(mwfs):
    mwfs.json("run", "reused:twice", "--input", "n=20002")
    other = mwfs.json("run", "reused:twice", "--input", "n=20003")
    assert reused(mwfs, other["run_id"]) == ["squares run", "join run", "announce run"]


def test_results_survive_a_killed_orchestrator(mwfs):
    mwfs.json("run", "reused:twice", "--input", "n=20004")
    services = {service["name"]: service["pid"] for service in mwfs.json("status")["services"]}
    os.kill(services["orchestrator"], signal.SIGKILL)
    again = mwfs.json("run", "reused:twice", "--input", "n=20004")
    assert reused(mwfs, again["run_id"]) == ["squares reused", "join reused", "announce run"]
