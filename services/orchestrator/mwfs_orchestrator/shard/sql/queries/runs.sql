-- name: find_runs
-- Which of these runs exist, with what decides whether a submission is the same.
SELECT run_id, body_digest FROM runs WHERE run_id = ANY($1::uuid[])

-- name: get_run
SELECT * FROM runs WHERE run_id = $1

-- name: get_runs
SELECT * FROM runs WHERE run_id = ANY($1::uuid[])

-- name: find_by_prefix
-- At most two runs of the team within a range of ids: one is found, two are ambiguous.
SELECT run_id FROM runs WHERE run_id BETWEEN $1 AND $2 AND team = $3 LIMIT 2

-- name: list_runs
-- The team's runs before a position, newest first. Index: runs_by_team.
SELECT * FROM runs
    WHERE team = $1 AND (create_us, run_id) < ($2, $3) AND (cardinality($4::smallint[]) = 0 OR state = ANY($4::smallint[])) AND ($5 = '' OR workflow = $5)
    ORDER BY create_us DESC, run_id DESC LIMIT $6

-- name: load_active_runs
-- Runs of these slots that have not ended. Index: runs_active.
SELECT * FROM runs WHERE slot = ANY($1::integer[]) AND state < 6

-- name: load_dag
SELECT data FROM dag_chunks WHERE run_id = $1 ORDER BY index

-- name: load_nodes
SELECT node, state, attempt, tries, host, grant_id, start_us, end_us, outputs, failure FROM nodes WHERE run_id = $1 ORDER BY node

-- name: list_nodes
-- Rows of nodes in a range of indices.
SELECT node, state, attempt, host, start_us, end_us, failure FROM nodes WHERE run_id = $1 AND node >= $2 AND node < $3 ORDER BY node
