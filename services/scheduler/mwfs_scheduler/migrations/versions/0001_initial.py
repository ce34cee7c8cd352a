"""Which scheduler leads, the replicas that may hold grants, and the quotas of teams with their history."""

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
            instance text NOT NULL,
            address text NOT NULL,
            start_time timestamptz NOT NULL,
            expires_at timestamptz NOT NULL
        )
        """
    )
    op.execute("CREATE TABLE scheduler_replica (replica text PRIMARY KEY, hello_time timestamptz NOT NULL)")
    op.execute(
        """
        CREATE TABLE scheduler_team_quota (
            team text PRIMARY KEY,
            parent text REFERENCES scheduler_team_quota DEFERRABLE INITIALLY DEFERRED,
            weight numeric(13, 6) NOT NULL CHECK (weight > 0 AND weight <> 'NaN'),
            guaranteed jsonb,
            burst jsonb
        )
        """
    )
    # The newest version is the one that is in force; before the first it is 0.
    op.execute(
        """
        CREATE TABLE scheduler_quota_revision (
            version bigint PRIMARY KEY CHECK (version > 0),
            request_id text NOT NULL UNIQUE,
            request_digest bytea NOT NULL,
            change_time timestamptz NOT NULL,
            principal text NOT NULL,
            reason text NOT NULL
        )
        """
    )
    op.execute(
        """
        CREATE TABLE scheduler_quota_change (
            version bigint NOT NULL REFERENCES scheduler_quota_revision,
            team text NOT NULL,
            old jsonb,
            new jsonb,
            PRIMARY KEY (version, team)
        )
        """
    )
    # For the history of one team: list_revisions.
    op.execute("CREATE INDEX scheduler_quota_change_of_team ON scheduler_quota_change (team, version)")


def downgrade() -> None:
    op.execute("DROP TABLE scheduler_quota_change")
    op.execute("DROP TABLE scheduler_quota_revision")
    op.execute("DROP TABLE scheduler_team_quota")
    op.execute("DROP TABLE scheduler_replica")
    op.execute("DROP TABLE scheduler_leader")
