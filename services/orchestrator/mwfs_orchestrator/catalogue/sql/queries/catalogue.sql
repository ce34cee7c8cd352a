-- name: insert_version
-- No row: the version is known.
INSERT INTO workflow_versions (team, workflow, digest, bundle_digest, version, create_us) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT DO NOTHING RETURNING digest

-- name: get_version
SELECT version FROM workflow_versions WHERE team = $1 AND workflow = $2 AND digest = $3

-- name: get_newest_version
-- Index: workflow_versions_newest.
SELECT version FROM workflow_versions WHERE team = $1 AND workflow = $2 ORDER BY create_us DESC LIMIT 1

-- name: list_workflows
-- The newest version of each workflow after a name. Index: workflow_versions_newest.
SELECT DISTINCT ON (workflow) workflow, version FROM workflow_versions WHERE team = $1 AND workflow > $2
    ORDER BY workflow, create_us DESC LIMIT $3
