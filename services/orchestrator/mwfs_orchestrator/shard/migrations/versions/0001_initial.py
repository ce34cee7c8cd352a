"""The shard's tables and its functions."""

from alembic import op

from mwfs_chassis.migrations import run_script

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_script(op.get_bind(), "mwfs_orchestrator.shard", "schema.sql")
    run_script(op.get_bind(), "mwfs_orchestrator.shard", "commit_changes.sql")
    run_script(op.get_bind(), "mwfs_orchestrator.shard", "trim_outbox.sql")
    run_script(op.get_bind(), "mwfs_orchestrator.shard", "runs_with_words.sql")
