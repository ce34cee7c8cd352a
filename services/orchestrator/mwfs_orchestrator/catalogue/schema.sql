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

-- Which shard holds a slot. `epoch` goes up when a slot moves.
CREATE TABLE slot_map (
    slot  integer PRIMARY KEY,
    shard integer NOT NULL,
    epoch bigint NOT NULL DEFAULT 1
);
