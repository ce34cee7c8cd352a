"""The newest revision of a service's database is known without loading Alembic, and is the one that Alembic would name."""

from importlib import resources
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from mwfs_chassis.revisions import newest_revision

PACKAGES = ["mwfs_orchestrator.catalogue", "mwfs_orchestrator.shard", "mwfs_scheduler", "mwfs_observability"]


@pytest.mark.parametrize("package", PACKAGES)
def test_it_is_the_head_that_alembic_names(package: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(resources.files(package) / "migrations"))
    config.set_main_option("path_separator", "newline")
    head = ScriptDirectory.from_config(config).get_current_head()
    assert newest_revision(package) == head
    assert head is not None


def test_two_heads_have_no_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = tmp_path / "two_heads" / "migrations" / "versions"
    versions.mkdir(parents=True)
    (tmp_path / "two_heads" / "__init__.py").touch()
    for name in ("a", "b"):
        (versions / f"{name}.py").write_text(f'revision = "{name}"\ndown_revision = "root"\n')
    monkeypatch.syspath_prepend(tmp_path)
    assert newest_revision("two_heads") is None
