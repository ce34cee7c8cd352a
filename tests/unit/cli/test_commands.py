"""The command line without a platform: help, compiling, what is loaded."""

import json
import subprocess
import sys
from importlib.metadata import version

import pytest

from mwfs.cli.app import build_app, run_cli


def groups(app):
    return {group.name: group.typer_instance for group in app.registered_groups}


def commands_of(app, name="mwfs"):
    """All commands below, those of services included, with their full names."""
    for each in app.registered_commands:
        yield f"{name} {each.name or each.callback.__name__.replace('_', '-')}", each
    for group, below in groups(app).items():
        yield from commands_of(below, f"{name} {group}")


def test_every_command_has_help_with_examples_and_takes_output():
    commands = dict(commands_of(build_app()))
    expected = (
        "up",
        "status",
        "hosts",
        "explain",
        "what-if",
        "scheduler plan",
        "quotas set",
        "teams list",
        "runs show",
    )
    assert {f"mwfs {name}" for name in expected} <= commands.keys()
    for name, command in commands.items():
        assert command.callback.__doc__, name
        assert f"$ {name}" in (command.epilog or ""), name
        assert "output" in command.callback.__annotations__, name
        # The others need no platform.
        assert "home" in command.callback.__annotations__ or name.startswith("mwfs scheduler"), name


def test_a_list_of_commands_says_what_each_does_on_a_narrow_terminal_too(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for below in ([], *([group] for group in groups(build_app()))):
        assert run_cli([*below, "--help"]) == 0
        listed = capsys.readouterr().out.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
        assert listed, below
        assert [line for line in listed if line.endswith("...")] == [], below


def test_mwfs_alone_shows_its_help(capsys):
    assert run_cli([]) == 2
    shown = capsys.readouterr()
    assert "First steps:" in shown.out + shown.err


def test_the_version_is_that_of_the_distribution(capsys):
    assert run_cli(["--version"]) == 0
    assert capsys.readouterr().out == f"mwfs {version('mwfs')}\n"
    assert run_cli(["--version", "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"version": version("mwfs")}


def test_whoever_gives_the_output_before_the_command_is_told_where_it_goes(capsys):
    assert run_cli(["--output", "json", "types", "list"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "mwfs COMMAND --output json" in shown.err


def test_a_command_is_there_however_little_is_loaded_for_it():
    def of(name, app):
        return {each: command.callback for each, command in commands_of(app) if each.split()[1] == name}

    whole = build_app()
    for name in {name.split()[1] for name, _ in commands_of(whole)}:
        assert of(name, build_app(name)) == of(name, whole)
    assert len(dict(commands_of(build_app("hosts")))) == 1


def test_help_loads_neither_grpc_nor_rich_nor_protobuf():
    code = (
        "import sys; from mwfs.cli.app import run_cli; run_cli(['--help']);"
        "print([name for name in ('grpc', 'rich', 'google.protobuf', 'asyncio', 'psutil') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "[]"


def test_compiling_shows_the_dag(capsys):
    assert run_cli(["compile", "mwfs.bench.workflows:fanout", "--input", "n=2"]) == 0
    out = capsys.readouterr().out
    assert "4 nodes" in out
    assert "gather(values=[[1], [2]])" in out


def test_compiling_gives_a_document_and_a_file(capsys, tmp_path):
    path = tmp_path / "fanout.dag"
    arguments = ["compile", "mwfs.bench.workflows:fanout", "--input", "n=2", "--save", str(path), "--output", "json"]
    assert run_cli(arguments) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["node_count"] == 4
    assert [(each["operator"].rpartition(":")[2], each["nodes"]) for each in document["operators"]] == [
        ("start", 1),
        ("work", 2),
        ("gather", 1),
    ]
    assert document["size"] == path.stat().st_size


def test_a_compile_error_shows_the_users_line(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "wrong_flows.py").write_text(
        "import mwfs\n\n@mwfs.operator\ndef text() -> str:\n    return ''\n\n@mwfs.operator\ndef double(x: int) -> int:\n"
        "    return 2 * x\n\n@mwfs.workflow\ndef flow() -> int:\n    return double(text())\n"
    )
    assert run_cli(["compile", "wrong_flows:flow", "--output", "json"]) == 2
    captured = capsys.readouterr()
    assert "wrong_flows.py:13" in captured.err
    assert json.loads(captured.out)["error"]["line"] == 13


@pytest.mark.parametrize("shape", ["fanout", "chain"])
def test_workloads_have_the_size_that_is_asked_for(capsys, shape):
    run_cli(["compile", f"mwfs.bench.workflows:{shape}", "--input", "n=10", "--output", "json"])
    assert json.loads(capsys.readouterr().out)["node_count"] == {"fanout": 12, "chain": 10}[shape]


def test_compiling_is_measured(capsys):
    assert run_cli(["bench", "compile", "--n", "1000", "--repeat", "3", "--output", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["nodes"] == 1000
    assert report["seconds"] > 0
    assert len(report["repeats"]) == 3
