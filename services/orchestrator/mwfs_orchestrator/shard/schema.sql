-- One shard: slots, and the runs that live in them.

-- Which database this is, whatever it is called, and whose. The row appears when it becomes a shard.
CREATE TABLE shard_identity (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    identity    uuid NOT NULL DEFAULT gen_random_uuid(),
    -- Of the catalogue.
    platform    uuid NOT NULL,
    -- Whether the slots that the map gave it at first are in `slots`. Afterwards they come and go by moves alone.
    slots_added boolean NOT NULL DEFAULT false
);

-- One row for each time that a replica came to own slots here. The row is also the stream of commits written under it.
CREATE TABLE leases (
    lease_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    replica    text NOT NULL,
    -- host:port, where the replica answers calls about its runs; empty until it does.
    address    text NOT NULL DEFAULT '',
    -- By the database's clock; holders count on their monotonic clock.
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Of the slot map that the replica goes by.
    map_version bigint NOT NULL DEFAULT 0,
    -- Not of a replica: the stream holds the history of runs that came from another shard.
    moved      boolean NOT NULL DEFAULT false
);

-- The slots that live on this shard. `epoch` goes up with every change of owner and fences the one before.
CREATE TABLE slots (
    slot     integer PRIMARY KEY CHECK (slot BETWEEN 0 AND 4095),
    lease_id bigint REFERENCES leases,
    epoch    bigint NOT NULL DEFAULT 0,
    -- SlotPlace: HERE, LEAVING (it goes to another shard, and nothing is written to it here any more), COMING (it is being copied; `epoch` is the move's attempt).
    place    smallint NOT NULL DEFAULT 1 CHECK (place BETWEEN 1 AND 3)
);
-- Serves renew_lease.
CREATE INDEX slots_by_lease ON slots (lease_id);

CREATE TABLE runs (
    run_id         uuid PRIMARY KEY,
    -- Follows from the id. Each commit checks that the slot is the caller's.
    slot           integer NOT NULL,
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
    -- A serialised RunOptions: what the submission says.
    options        bytea NOT NULL DEFAULT '',
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
    -- Right once the run has ended. While it goes on, its events tell.
    last_event     bigint NOT NULL,
    -- When it came into its state: deadlines count from here, whoever owns the run.
    since_us       bigint NOT NULL DEFAULT 0,
    -- A serialised Failure.
    failure        bytea,
    -- Its type and message, for runs_with_words.
    failure_text   text,
    -- A serialised GetOutputsResponse.
    outputs        bytea
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

-- Serves list_runs.
CREATE INDEX runs_by_team ON runs (team, create_us DESC, run_id DESC);
-- Serves list_runs_in_states.
CREATE INDEX runs_by_state ON runs (team, state, create_us DESC, run_id DESC);
-- Serves list_runs_of_workflow. One expression, so that no other index looks as good while there are no statistics.
CREATE INDEX runs_by_workflow ON runs ((team || ' ' || workflow), state, create_us DESC, run_id DESC);
-- Serves load_active_runs.
CREATE INDEX runs_active ON runs (slot) WHERE state < 6;
-- Serves oldest_ends and list_ended.
CREATE INDEX runs_by_end ON runs (team, end_us) WHERE state >= 6;

-- Words are letters and digits, the same here, in run_words and in runs_with_words; null when there are none.
CREATE FUNCTION words_of(_text text) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (SELECT array_agg(DISTINCT left(word, 64)) FROM regexp_split_to_table(lower(_text), '[^[:alnum:]]+') AS word WHERE word <> '');
-- Where a run is found by its words.
CREATE FUNCTION run_text(_workflow text, _request_id text, _principal text, _tags jsonb, _failure_text text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN lower(_workflow || ' ' || _request_id || ' ' || _principal || ' ' || _tags::text || ' ' || coalesce(_failure_text, ''));
-- Which days of which team, so that one index has the words of each apart. Two may have the same mark.
CREATE FUNCTION day_mark(_team text, _day bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN left(md5(_team || ' ' || _day::text), 8);
-- The words of a run, and its state, each behind the mark of its day. In this language a third of the time of the same in SQL.
CREATE FUNCTION run_words(_mark text, _state smallint, _text text) RETURNS tsvector LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF octet_length(_text) > 1900 THEN -- a word of a tsvector has at most 2,046 bytes
        _text := regexp_replace(_text, '([[:alnum:]]{64})[[:alnum:]]+', '\1', 'g');
    END IF;
    RETURN array_to_tsvector(string_to_array(_mark || '@' || _state || ' ' || _mark || regexp_replace(_text, '[^[:alnum:]]+', ' ' || _mark, 'g'), ' '));
END $$;
-- Serves runs_with_words. Only of runs that have ended: those that go on change too often. What waits to be sorted in is read by each search, so it is little.
CREATE INDEX runs_by_words ON runs USING gin (run_words(day_mark(team, create_us / 86400000000), state, run_text(workflow, request_id, principal, tags, failure_text)))
    WITH (gin_pending_list_limit = 64) WHERE state >= 6;

-- Runs that were removed once they were in the archive: their submission is still known, so that repeating it begins nothing.
CREATE TABLE removed_runs (
    run_id      uuid PRIMARY KEY,
    slot        integer NOT NULL,
    team        text NOT NULL,
    body_digest bytea NOT NULL,
    -- Whether other tables still have rows of it.
    rows_left   boolean NOT NULL
);
-- Serves list_half_removed.
CREATE INDEX removed_runs_half ON removed_runs (slot) WHERE rows_left;

-- The tags of runs, by a digest of name and value.
CREATE TABLE run_tags (
    team      text NOT NULL,
    tag       uuid NOT NULL,
    create_us bigint NOT NULL,
    run_id    uuid NOT NULL
);
-- Serves list_runs_tagged.
CREATE UNIQUE INDEX run_tags_by_time ON run_tags (team, tag, create_us DESC, run_id DESC);
-- Serves remove_tags.
CREATE INDEX run_tags_by_run ON run_tags (run_id);
CREATE FUNCTION tag_digest(_name text, _value text) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN md5(_name || '=' || _value)::uuid;

-- The Dag as it was submitted, immutable.
CREATE TABLE dag_chunks (
    run_id uuid NOT NULL,
    index  integer NOT NULL,
    data   bytea NOT NULL,
    PRIMARY KEY (run_id, index)
);
ALTER TABLE dag_chunks ALTER COLUMN data SET STORAGE EXTERNAL;

-- What the run has grown by, append-only. A patch of an earlier round than the run's is history: its control node begins anew.
CREATE TABLE dag_patches (
    run_id     uuid NOT NULL,
    -- 1, 2, 3 … of the run: its nodes follow those of the Dag and of the patches before it.
    number     integer NOT NULL,
    -- The control node that made it.
    parent     integer NOT NULL,
    -- Of the run, when it was made.
    round      integer NOT NULL,
    -- A serialised DagPatch.
    data       bytea NOT NULL,
    create_us  bigint NOT NULL,
    PRIMARY KEY (run_id, number)
);

-- Signals that were sent into runs, once for each name. They outlive rounds.
CREATE TABLE signals (
    run_id     uuid NOT NULL,
    name       text NOT NULL,
    -- So that repeating the call changes nothing.
    request_id text NOT NULL,
    -- A serialised Value.
    payload    bytea NOT NULL,
    principal  text NOT NULL,
    sent_us    bigint NOT NULL,
    PRIMARY KEY (run_id, name)
);

-- Runs that are the child of a node: each row is the command to submit one, which is repeated under the same request id until the child is known to be there.
CREATE TABLE children (
    run_id       uuid NOT NULL,
    node         integer NOT NULL,
    -- Of the run, when its node began to wait.
    round        integer NOT NULL,
    -- Follows from the three before it. The child may live on another shard.
    child_run_id uuid NOT NULL,
    -- A serialised Dag, immutable.
    dag          bytea NOT NULL,
    PRIMARY KEY (run_id, node, round)
);
ALTER TABLE children ALTER COLUMN dag SET STORAGE EXTERNAL;

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
    -- Of the last attempt. Of a control node that waits (state 10, attempt 0): since when, and until when, 0 for ever or for its child run.
    start_us bigint NOT NULL DEFAULT 0,
    end_us   bigint NOT NULL DEFAULT 0,
    -- A serialised ListValue: one value an output.
    outputs  bytea,
    -- A serialised Failure.
    failure  bytea,
    -- A serialised ResultOrigin when the result of an earlier run was taken.
    origin   bytea,
    -- A serialised Interruptions; null: it was never told to make room, and has kept nothing.
    interruptions bytea,
    PRIMARY KEY (run_id, node)
-- See adr/0012-table-growth.md.
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_vacuum_scale_factor = 0.05);

-- What the last attempt of a node has kept for the next one. The row stays as long as the run: it says that the object store may have something of the node.
CREATE TABLE checkpoints (
    run_id uuid NOT NULL,
    node   integer NOT NULL,
    -- A serialised Checkpoint; null once the node has succeeded.
    data   bytea,
    PRIMARY KEY (run_id, node)
) WITH (fillfactor = 60);

-- Which ends of runs a trigger or backfill of the catalogue waits for. A row may outlive its automation; that costs time, nothing else.
CREATE TABLE watched_ends (
    team          text NOT NULL,
    -- Empty: any of the team.
    workflow      text NOT NULL,
    automation_id uuid NOT NULL,
    -- Of the automation: a later one is not taken away by the end of an earlier one.
    turn          integer NOT NULL,
    with_outputs  boolean NOT NULL,
    create_time   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (team, workflow, automation_id, turn)
);

-- Ends of such runs, added in the transaction of the end, and removed once the catalogue has noted what they mean.
CREATE TABLE run_ends (
    run_id      uuid NOT NULL,
    round       integer NOT NULL,
    team        text NOT NULL,
    workflow    text NOT NULL,
    state       smallint NOT NULL,
    tags        jsonb NOT NULL,
    end_us      bigint NOT NULL,
    -- A serialised GetOutputsResponse when somebody reads it.
    outputs     bytea,
    -- Who waited for it.
    automations uuid[] NOT NULL,
    PRIMARY KEY (run_id, round)
);

-- One row per commit, until its events are in `run_events`. A stream has one writer, which commits one after another, so "position greater than my
-- cursor" never skips a row. Parts are taken in turns (see commit_changes) and emptied by TRUNCATE: no dead rows, whoever holds a snapshot.
CREATE TABLE outbox (
    part     smallint NOT NULL,
    lease_id bigint NOT NULL,
    position bigint NOT NULL,
    -- A serialised Commit.
    payload  bytea NOT NULL,
    PRIMARY KEY (lease_id, position, part)
) PARTITION BY LIST (part);
CREATE TABLE outbox_0 PARTITION OF outbox FOR VALUES IN (0);
CREATE TABLE outbox_1 PARTITION OF outbox FOR VALUES IN (1);
CREATE TABLE outbox_2 PARTITION OF outbox FOR VALUES IN (2);
CREATE TABLE outbox_3 PARTITION OF outbox FOR VALUES IN (3);
ALTER TABLE outbox_0 ALTER COLUMN payload SET STORAGE EXTERNAL;
ALTER TABLE outbox_1 ALTER COLUMN payload SET STORAGE EXTERNAL;
ALTER TABLE outbox_2 ALTER COLUMN payload SET STORAGE EXTERNAL;
ALTER TABLE outbox_3 ALTER COLUMN payload SET STORAGE EXTERNAL;

-- History: the events of each run, kept as long as the run. Filled from the outbox a moment after the commit, rows only ever added.
CREATE TABLE run_events (
    run_id        uuid NOT NULL,
    first_number  bigint NOT NULL,
    last_number   bigint NOT NULL,
    -- Of the stream, and of the last commit of those that were moved here together.
    lease_id      bigint NOT NULL,
    last_position bigint NOT NULL,
    -- A serialised RunHistory.
    payload       bytea NOT NULL,
    PRIMARY KEY (run_id, first_number)
) WITH (autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_vacuum_scale_factor = 0.05);
-- Serves read_history.
CREATE INDEX run_events_by_stream ON run_events (lease_id, last_position);

-- How far each stream is in `run_events`.
CREATE TABLE history_cursors (
    lease_id   bigint PRIMARY KEY,
    position   bigint NOT NULL,
    -- Events of commits up to here may have gone with runs that were removed.
    removed_to bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
