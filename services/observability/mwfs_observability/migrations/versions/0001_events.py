"""Raw batches of events, one line per run, and the cursor of each stream."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE run_events (
            run_id uuid NOT NULL,
            first_number bigint NOT NULL CHECK (first_number > 0),
            event_count integer NOT NULL,
            payload bytea NOT NULL,
            PRIMARY KEY (run_id, first_number)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE runs (
            run_id uuid PRIMARY KEY,
            team text NOT NULL,
            workflow text NOT NULL,
            accept_time_us bigint NOT NULL,
            last_kind smallint NOT NULL,
            last_number bigint NOT NULL
        )
        """
    )
    op.execute("CREATE TABLE stream_cursor (stream text PRIMARY KEY, position bigint NOT NULL)")


def downgrade() -> None:
    for table in ("stream_cursor", "runs", "run_events"):
        op.execute(f"DROP TABLE {table}")
