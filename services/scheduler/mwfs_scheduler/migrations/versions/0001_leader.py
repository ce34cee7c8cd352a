"""The scheduler's epoch, and the replicas that may hold grants."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE scheduler_leader (
            id smallint PRIMARY KEY CHECK (id = 1),
            epoch bigint NOT NULL,
            start_time timestamptz NOT NULL
        )
        """
    )
    op.execute("CREATE TABLE scheduler_replica (replica text PRIMARY KEY, hello_time timestamptz NOT NULL)")


def downgrade() -> None:
    op.execute("DROP TABLE scheduler_replica")
    op.execute("DROP TABLE scheduler_leader")
