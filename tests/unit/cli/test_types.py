"""`mwfs types` and `mwfs schema`: what there is, and how values look."""

import json

import pytest

from mwfs.cli.app import run_cli


@pytest.fixture
def shapes(tmp_path, monkeypatch):
    (tmp_path / "team_shapes.py").write_text(
        "import mwfs\n\n"
        "@mwfs.register_type('Circle', travels_as=float, encode=lambda one: one.radius, decode=lambda r: Circle(r), viewer='disc')\n"
        "class Circle:\n"
        '    """A round thing."""\n\n'
        "    def __init__(self, radius):\n"
        "        self.radius = radius\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_types_of_a_team_are_listed_beside_ours(shapes, capsys):
    assert run_cli(["types", "list", "--import", "team_shapes"]) == 0
    out = capsys.readouterr().out
    assert "Metrics" in out
    assert "team_shapes.Circle" in out
    assert run_cli(["types", "show", "Circle", "--import", "team_shapes", "--output", "json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)["types"]
    assert (shown["travels_as"], shown["viewer"], shown["doc"], shown["line"]) == ("float", "disc", "A round thing.", 3)
    assert shown["schema"]["type"] == "number"
    assert run_cli(["types", "show", "Circle"]) == 0
    out = capsys.readouterr().out
    assert "Circle version 1" in out
    assert "team_shapes.py:3" in out


def test_names_that_there_are_not_are_refused_with_what_to_do(capsys):
    assert run_cli(["types", "show", "Datset"]) == 2
    assert "Did you mean Dataset?" in capsys.readouterr().err
    assert run_cli(["types", "list", "--import", "no_such_module"]) == 2
    assert "There is no module `no_such_module`." in capsys.readouterr().err


def test_the_schema_of_inputs_is_printed(capsys):
    assert run_cli(["schema", "mwfs.bench.workflows:fanout"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert (schema["title"], schema["required"]) == ("fanout", ["n"])
    assert schema["properties"]["n"] == {"type": "integer", "title": "N"}
