-- name: list_runs
-- The team's runs before a position, newest first. Index: runs_by_team.
SELECT run_id, team, principal, workflow, version_digest, request_id, state, round, create_us, start_us, end_us, node_count, node_counts, tags, last_event, failure
    FROM runs WHERE team = $1 AND (create_us, run_id) < ($2, $3) AND create_us >= $4
    ORDER BY create_us DESC, run_id DESC LIMIT $5

-- name: list_runs_in_states
-- The newest in each of the states, merged. Index: runs_by_state.
SELECT r.* FROM unnest($6::smallint[]) AS wanted (state) CROSS JOIN LATERAL (
    SELECT run_id, team, principal, workflow, version_digest, request_id, state, round, create_us, start_us, end_us, node_count, node_counts, tags, last_event, failure
        FROM runs WHERE team = $1 AND runs.state = wanted.state AND (create_us, run_id) < ($2, $3) AND create_us >= $4
        ORDER BY create_us DESC, run_id DESC LIMIT $5
) AS r ORDER BY create_us DESC, run_id DESC LIMIT $5

-- name: list_runs_of_workflow
-- The newest of the workflow in each of the states, merged. Index: runs_by_workflow.
SELECT r.* FROM unnest($6::smallint[]) AS wanted (state) CROSS JOIN LATERAL (
    SELECT run_id, team, principal, workflow, version_digest, request_id, state, round, create_us, start_us, end_us, node_count, node_counts, tags, last_event, failure
        FROM runs WHERE team || ' ' || workflow = $1 || ' ' || $7 AND runs.state = wanted.state AND (create_us, run_id) < ($2, $3) AND create_us >= $4
        ORDER BY create_us DESC, run_id DESC LIMIT $5
) AS r ORDER BY create_us DESC, run_id DESC LIMIT $5

-- name: list_runs_tagged
-- The newest with one tag that also have the others. Index: run_tags_by_time.
SELECT r.run_id, r.team, r.principal, r.workflow, r.version_digest, r.request_id, r.state, r.round, r.create_us, r.start_us, r.end_us, r.node_count, r.node_counts, r.tags, r.last_event, r.failure
    FROM run_tags t JOIN runs r USING (run_id)
    WHERE t.team = $1 AND t.tag = $8 AND (t.create_us, t.run_id) < ($2, $3) AND t.create_us >= $4
        AND r.state = ANY($6::smallint[]) AND ($7 = '' OR r.workflow = $7) AND r.tags @> $9::jsonb
    ORDER BY t.create_us DESC, t.run_id DESC LIMIT $5

-- name: list_runs_matching
-- The newest with some words. The function says how: see runs_with_words.sql.
SELECT run_id, team, principal, workflow, version_digest, request_id, state, round, create_us, start_us, end_us, node_count, node_counts, tags, last_event, failure
    FROM runs_with_words($1, $2, $3, $4, $5, $6, $7, $8, $9) ORDER BY create_us DESC, run_id DESC
