-- One shard: slots, and the runs that live in them.

-- One row for each time that a replica came to own slots here. The row is also the stream of commits written under it.
CREATE TABLE leases (
    lease_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    replica    text NOT NULL,
    -- By the database's clock; holders count on their monotonic clock.
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- The slots that live on this shard. `epoch` goes up with every change of owner and fences the one before.
CREATE TABLE slots (
    slot     integer PRIMARY KEY CHECK (slot BETWEEN 0 AND 4095),
    lease_id bigint REFERENCES leases,
    epoch    bigint NOT NULL DEFAULT 0
);

CREATE TABLE runs (
    run_id         uuid PRIMARY KEY,
    slot           integer NOT NULL REFERENCES slots,
    team           text NOT NULL,
    principal      text NOT NULL,
    request_id     text NOT NULL,
    -- Of the whole submission: the same request id with another body is refused.
    body_digest    bytea NOT NULL,
    workflow       text NOT NULL,
    version_digest text NOT NULL,
    bundle_digest  text NOT NULL,
    priority       integer NOT NULL,
    tags           jsonb NOT NULL,
    -- A serialised CompileJob when the platform compiles, else null.
    compile_job    bytea,
    state          smallint NOT NULL CHECK (state BETWEEN 1 AND 8),
    round          integer NOT NULL DEFAULT 1,
    -- The request that opened this round, so that repeating it revives once.
    round_request  text NOT NULL DEFAULT '',
    node_count     integer NOT NULL DEFAULT 0,
    -- Nodes in each state when the run ended, an array by state number; null while it goes on.
    node_counts    jsonb,
    create_us      bigint NOT NULL,
    start_us       bigint NOT NULL DEFAULT 0,
    end_us         bigint NOT NULL DEFAULT 0,
    last_event     bigint NOT NULL,
    -- A serialised Failure.
    failure        bytea,
    -- A serialised GetOutputsResponse.
    outputs        bytea
) WITH (fillfactor = 80);

-- Serves list_runs.
CREATE INDEX runs_by_team ON runs (team, create_us DESC, run_id DESC);
-- Serves load_active_runs.
CREATE INDEX runs_active ON runs (slot) WHERE state < 6;

-- The Dag as it was submitted, immutable.
CREATE TABLE dag_chunks (
    run_id uuid NOT NULL,
    index  integer NOT NULL,
    data   bytea NOT NULL,
    PRIMARY KEY (run_id, index)
);
ALTER TABLE dag_chunks ALTER COLUMN data SET STORAGE EXTERNAL;

-- A row appears when a node first leaves PENDING and READY, which are never stored. Node -1 is the run's compile attempt.
CREATE TABLE nodes (
    run_id   uuid NOT NULL,
    node     integer NOT NULL,
    state    smallint NOT NULL CHECK (state BETWEEN 1 AND 10),
    attempt  integer NOT NULL,
    -- Attempts of this round that failed by the user's own fault.
    tries    smallint NOT NULL DEFAULT 0,
    host     text NOT NULL DEFAULT '',
    grant_id text NOT NULL DEFAULT '',
    start_us bigint NOT NULL DEFAULT 0,
    end_us   bigint NOT NULL DEFAULT 0,
    -- A serialised ListValue: one value an output.
    outputs  bytea,
    -- A serialised Failure.
    failure  bytea,
    PRIMARY KEY (run_id, node)
) WITH (fillfactor = 60);

-- One row per commit. A stream has one writer, which commits one after another, so "position greater than my cursor" never skips a row.
CREATE TABLE outbox (
    lease_id bigint NOT NULL,
    position bigint NOT NULL,
    -- A serialised Commit.
    payload  bytea NOT NULL,
    PRIMARY KEY (lease_id, position)
);
ALTER TABLE outbox ALTER COLUMN payload SET STORAGE EXTERNAL;
