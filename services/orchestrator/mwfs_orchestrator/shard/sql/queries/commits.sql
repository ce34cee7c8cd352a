-- name: commit_changes
-- The function of the same name: see commit_changes.sql.
SELECT commit_changes($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)

-- name: insert_runs
-- New runs, with the number of their last event. A run that exists makes the commit fail: look before.
INSERT INTO runs (run_id, slot, team, principal, request_id, body_digest, workflow, version_digest, bundle_digest, priority, tags, compile_job,
        state, node_count, create_us, start_us, last_event)
    SELECT * FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::text[], $8::text[], $9::text[], $10::integer[],
        $11::jsonb[], $12::bytea[], $13::smallint[], $14::integer[], $15::bigint[], $16::bigint[], $17::bigint[])

-- name: insert_dag_chunks
INSERT INTO dag_chunks (run_id, index, data) SELECT * FROM unnest($1::uuid[], $2::integer[], $3::bytea[])

-- name: settle_nodes
-- Nodes that end without an attempt (CANCELLED, UPSTREAM_FAILED) or go back to PENDING. A node that is RUNNING or SUCCEEDED is left alone.
INSERT INTO nodes AS n (run_id, node, state, attempt, end_us)
    SELECT run_id, node, state, 0, $4 FROM unnest($1::uuid[], $2::integer[], $3::smallint[]) AS t(run_id, node, state)
    ON CONFLICT (run_id, node) DO UPDATE SET state = excluded.state, end_us = excluded.end_us WHERE n.state NOT IN (3, 4, 5)

-- name: move_runs
-- The runs' states and what is known with them; what is null stays as it is.
UPDATE runs r SET state = t.state, start_us = coalesce(t.start_us, r.start_us), end_us = coalesce(t.end_us, r.end_us), failure = t.failure,
        outputs = coalesce(t.outputs, r.outputs), node_counts = coalesce(t.node_counts, r.node_counts), node_count = coalesce(t.node_count, r.node_count)
    FROM unnest($1::uuid[], $2::smallint[], $3::bigint[], $4::bigint[], $5::bytea[], $6::bytea[], $7::jsonb[], $8::integer[])
        AS t(run_id, state, start_us, end_us, failure, outputs, node_counts, node_count)
    WHERE r.run_id = t.run_id

-- name: revive_run
-- Opens the next round: unfinished nodes begin anew, succeeded ones stay. No row: it is not in a state that can be revived.
UPDATE runs SET state = $2, round = round + 1, round_request = $3, end_us = 0, failure = NULL, node_counts = NULL WHERE run_id = $1 AND state IN (7, 8)

-- name: revive_nodes
UPDATE nodes SET state = 1, tries = 0, failure = NULL, end_us = 0 WHERE run_id = $1 AND state <> 5

-- name: commit_exists
-- Whether a commit whose answer was lost took place.
SELECT EXISTS (SELECT 1 FROM outbox WHERE lease_id = $1 AND position = $2)
