"""The shard's tables and its commit function."""

from importlib import resources

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    package = resources.files("mwfs_orchestrator.shard")
    for name in ("schema.sql", "commit_changes.sql"):
        op.get_bind().exec_driver_sql((package / name).read_text(encoding="utf-8"))
