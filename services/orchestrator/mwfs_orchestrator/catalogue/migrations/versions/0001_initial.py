"""The orchestrator's tables in the catalogue."""

from importlib import resources

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    text = (resources.files("mwfs_orchestrator.catalogue") / "schema.sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(text)
