"""What takes more than two seconds is seen to go on, and makes room for what the user's own code prints."""

import pytest

import mwfs
from mwfs.cli.app import run_cli
from mwfs.cli.screen import Screen, Waiting
from mwfs_api.orchestrator.v1 import orchestrator_pb2

seen: list[str] = []


@mwfs.operator
def shown(n: int) -> int:
    seen.append("the operator runs")
    return n + 1


@mwfs.workflow
def once(n: int) -> int:
    return shown(n)


class Client:
    """A platform that has one node."""

    def __init__(self, home=None):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def node_inputs(self, run, node):
        dag = mwfs.compile(once, n=1).proto
        (operator,) = dag.operators
        return orchestrator_pb2.GetNodeInputsResponse(
            run_id="1a2b3c4d",
            node=node,
            operator=operator,
            parameter_types=[dag.types[row.type] for row in operator.parameters],
            output_types=[dag.types[row.type] for row in operator.outputs],
            arguments=dag.constants[:1],
        )

    def list_results(self, name, limit):
        return []


class Told(Waiting):
    def __enter__(self):
        seen.append(f"{self._text} …")
        return super().__enter__()

    def say(self, text):
        seen.append(f"{text} …")

    def end(self):
        seen.append("end")
        super().end()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["diff", "before.dag", "after.dag"], ["Reading both sides …", "Comparing …", "end"]),
        (["why-miss", "1a2b3c4d", "0"], ["Looking at earlier results …", "end"]),
        (["replay", "1a2b3c4d", "0"], ["Fetching the inputs …", "end", "the operator runs", "end"]),
    ],
)
def test_a_command_that_may_take_long_says_what_it_does(arguments, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Screen, "waiting", lambda screen, text: Told(screen.stderr, text))
    monkeypatch.setattr("mwfs.client.BlockingClient", Client)
    for name in ("before.dag", "after.dag"):
        (tmp_path / name).write_bytes(mwfs.compile(once, n=1).serialize())
    seen.clear()
    assert run_cli(arguments) == 0, capsys.readouterr()
    assert seen == told


def test_the_node_is_named_before_its_operator_is_called(monkeypatch, capsys):
    monkeypatch.setattr("mwfs.client.BlockingClient", Client)
    assert run_cli(["replay", "1a2b3c4d", "3"]) == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == "result = 2"
    assert printed.err.startswith("Node 3 of run 1a2b3c4d: ")
