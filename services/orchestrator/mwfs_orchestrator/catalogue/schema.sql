-- The orchestrator's part of the catalogue.

-- Immutable versions of workflows.
CREATE TABLE workflow_versions (
    team          text NOT NULL,
    workflow      text NOT NULL,
    digest        text NOT NULL,
    bundle_digest text NOT NULL,
    -- A serialised WorkflowVersion.
    version       bytea NOT NULL,
    create_us     bigint NOT NULL,
    PRIMARY KEY (team, workflow, digest)
);

-- Serves get_newest_version and list_workflows.
CREATE INDEX workflow_versions_newest ON workflow_versions (team, workflow, create_us DESC);

-- The databases that hold slots. A number is never given to another database.
CREATE TABLE shards (
    shard     integer PRIMARY KEY,
    -- A DSN, or the name of a database on the catalogue's own server.
    database  text NOT NULL UNIQUE,
    -- As the database says itself (`shard_identity`), so that it is known under any name.
    identity  uuid NOT NULL UNIQUE,
    -- ShardState.
    state     smallint NOT NULL CHECK (state BETWEEN 1 AND 3),
    -- Slots that the last drain or balance was to move.
    planned   integer NOT NULL DEFAULT 0,
    create_us bigint NOT NULL
);

-- Which shard holds a slot. `epoch` goes up when it moves.
CREATE TABLE slot_map (
    slot  integer PRIMARY KEY,
    shard integer NOT NULL REFERENCES shards,
    epoch bigint NOT NULL DEFAULT 1
);

-- Goes up with each change of `shards` and `slot_map`, which is announced as mwfs_shards. Whoever changes them locks it.
CREATE TABLE slot_map_version (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version  bigint NOT NULL,
    -- Of this catalogue: a shard belongs to one.
    platform uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO slot_map_version (version) VALUES (1);

-- Slots that are to be on another shard. See adr/0010-shards.md.
CREATE TABLE slot_moves (
    slot    integer PRIMARY KEY REFERENCES slot_map,
    source  integer NOT NULL REFERENCES shards,
    target  integer NOT NULL REFERENCES shards,
    -- MoveState: WANTED, COPYING, MOVED (the map says target; what is left on the source goes), CALLED_OFF (what was copied goes).
    state   smallint NOT NULL DEFAULT 1 CHECK (state BETWEEN 1 AND 4),
    -- Goes up with each try. Who holds an earlier number changes nothing any more.
    attempt integer NOT NULL DEFAULT 0,
    -- Of the map, since it says target.
    version bigint NOT NULL DEFAULT 0
);

-- What cached operators gave, for later runs of the team. Entries may be lost; one that is here is right.
CREATE TABLE results (
    team      text NOT NULL,
    -- The digest that `mwfs_types.cache_keys` gives, without its prefix.
    key       bytea NOT NULL,
    -- `module:qualname`.
    operator  text NOT NULL,
    -- What the key is made of, by name.
    parts     jsonb NOT NULL,
    -- A serialised ListValue: one value an output.
    outputs   bytea NOT NULL,
    -- Digests of the artifacts among the outputs: an entry is of use only while they exist.
    artifacts text[] NOT NULL,
    run_id    uuid NOT NULL,
    node      integer NOT NULL,
    create_us bigint NOT NULL,
    -- When it was last taken, to the day; what nobody takes is removed.
    used_us   bigint NOT NULL,
    PRIMARY KEY (team, key)
);

-- Serves list_results.
CREATE INDEX results_by_operator ON results (team, operator, create_us DESC);
-- Serves trim_results.
CREATE INDEX results_by_use ON results (used_us);

-- For how long the last nodes of an operator held their room, in seconds. May be lost: then nothing is expected of the next ones.
CREATE TABLE operator_durations (
    team      text NOT NULL,
    workflow  text NOT NULL,
    -- `module:qualname`; empty for compiling on the platform.
    operator  text NOT NULL,
    seconds   real[] NOT NULL,
    -- By the clock of the database.
    update_us bigint NOT NULL,
    PRIMARY KEY (team, workflow, operator)
);

-- Serves newer_durations and trim_durations.
CREATE INDEX operator_durations_by_time ON operator_durations (update_us);

-- Schedules, triggers and backfills.
CREATE TABLE automations (
    automation_id uuid PRIMARY KEY,
    team          text NOT NULL,
    -- AutomationKind.
    kind          smallint NOT NULL CHECK (kind BETWEEN 1 AND 3),
    name          text NOT NULL,
    principal     text NOT NULL,
    -- AutomationState.
    state         smallint NOT NULL CHECK (state BETWEEN 1 AND 6),
    -- A serialised Automation with nothing but its content; a backfill's without partitions.
    content       bytea NOT NULL,
    -- Of the content as it was sent: the same name with another one is refused.
    digest        bytea NOT NULL,
    create_us     bigint NOT NULL,
    -- Of a schedule: its first occasion that is not in `occasions` yet. It moves in the statement that adds them.
    next_us       bigint,
    skipped       bigint NOT NULL DEFAULT 0,
    -- Of a backfill.
    max_parallel  integer NOT NULL DEFAULT 0,
    -- Of a backfill: how often it was begun, by creating or resuming it.
    turn          integer NOT NULL DEFAULT 1,
    message       text NOT NULL DEFAULT '',
    UNIQUE (team, kind, name)
);

-- Serves look and due_schedules.
CREATE INDEX automations_due ON automations (next_us) WHERE kind = 1 AND state = 1;
-- Serves look and backfills_to_work_on.
CREATE INDEX automations_open ON automations (automation_id) WHERE kind > 1 AND state IN (1, 2, 3);

-- What starts a run, once. A row that is DUE is a command: its run is submitted, again if need be, until it is accepted or refused.
CREATE TABLE occasions (
    automation_id uuid NOT NULL REFERENCES automations ON DELETE CASCADE,
    -- When a schedule is due, "run id/round" for a trigger, the partition of a backfill, and empty for its join.
    occasion      text NOT NULL,
    -- Microseconds since 1970 for schedules and triggers, the place of a partition, -1 for a join.
    number        bigint NOT NULL,
    -- OccasionState.
    state         smallint NOT NULL CHECK (state BETWEEN 1 AND 7),
    turn          integer NOT NULL DEFAULT 1,
    run_id        uuid,
    -- Of the run, when its end was last noted.
    round         integer NOT NULL DEFAULT 0,
    -- A serialised SubmitHeader while DUE.
    header        bytea,
    message       text NOT NULL DEFAULT '',
    -- Not to be submitted again before.
    retry_us      bigint NOT NULL DEFAULT 0,
    -- How many triggers led here, and the run that the chain began with.
    depth         integer NOT NULL DEFAULT 0,
    root          uuid,
    PRIMARY KEY (automation_id, occasion)
);

-- Serves due_occasions and look.
CREATE INDEX occasions_due ON occasions (retry_us) WHERE state = 2;
-- Serves newest_occasions and partitions_page.
CREATE INDEX occasions_by_number ON occasions (automation_id, number, occasion);
-- Serves waiting_partitions, count_occasions and open_occasions.
CREATE INDEX occasions_by_state ON occasions (automation_id, state, number);
-- Serves chains and end_occasions.
CREATE INDEX occasions_by_run ON occasions (run_id);
-- Serves count_chain.
CREATE INDEX occasions_by_root ON occasions (root) WHERE root IS NOT NULL;

-- Which replica looks after what is due. Only to save work: what it does is safe to do twice.
CREATE TABLE automation_lease (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    replica    text NOT NULL,
    expires_at timestamptz NOT NULL
);

-- For how many days ended runs stay on their shards, for teams that do not go by what counts for all. 0: for ever.
CREATE TABLE retention (
    team text PRIMARY KEY,
    days integer NOT NULL CHECK (days BETWEEN 0 AND 36500)
);

-- Runs that are in the archive. Written before the run is removed from its shard: while it is there as well, the shard counts.
CREATE TABLE archived_runs (
    run_id     uuid PRIMARY KEY,
    team       text NOT NULL,
    workflow   text NOT NULL,
    state      smallint NOT NULL CHECK (state BETWEEN 6 AND 8),
    create_us  bigint NOT NULL,
    end_us     bigint NOT NULL,
    archive_us bigint NOT NULL,
    -- Of the Parquet file of runs, and the run's place in it.
    digest     text NOT NULL,
    size       bigint NOT NULL,
    row_group  integer NOT NULL
);

-- Serves list_archived and count_archived.
CREATE INDEX archived_runs_by_team ON archived_runs (team, create_us DESC, run_id DESC);
-- Serves list_archived_of_workflow.
CREATE INDEX archived_runs_by_workflow ON archived_runs (team, workflow, create_us DESC, run_id DESC);
