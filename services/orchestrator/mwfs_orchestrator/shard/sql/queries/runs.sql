-- name: find_runs
-- Which of these runs exist or did so, with what decides whether a submission is the same.
SELECT run_id, body_digest FROM runs WHERE run_id = ANY($1::uuid[]) UNION ALL SELECT run_id, body_digest FROM removed_runs WHERE run_id = ANY($1::uuid[])

-- name: present_runs
SELECT run_id FROM runs WHERE run_id = ANY($1::uuid[])

-- name: get_run
SELECT * FROM runs WHERE run_id = $1

-- name: get_runs
SELECT * FROM runs WHERE run_id = ANY($1::uuid[])

-- name: find_by_prefix
-- At most two runs of the team within a range of ids: one is found, two are ambiguous.
SELECT run_id FROM runs WHERE run_id BETWEEN $1 AND $2 AND team = $3 LIMIT 2

-- name: load_active_runs
-- Runs of these slots that have not ended. Index: runs_active.
SELECT * FROM runs WHERE slot = ANY($1::integer[]) AND state < 6

-- name: load_dag
SELECT data FROM dag_chunks WHERE run_id = $1 ORDER BY index

-- name: load_patches
SELECT parent, round, data, create_us FROM dag_patches WHERE run_id = $1 ORDER BY number

-- name: load_signals
SELECT name, request_id, payload, principal, sent_us FROM signals WHERE run_id = $1 ORDER BY name

-- name: load_child
SELECT dag FROM children WHERE run_id = $1 AND node = $2 AND round = $3

-- name: list_children
-- The newest child run of each node in a range of indices.
SELECT DISTINCT ON (node) node, child_run_id FROM children WHERE run_id = $1 AND node >= $2 AND node < $3 ORDER BY node, round DESC

-- name: load_nodes
SELECT node, state, attempt, tries, host, grant_id, start_us, end_us, outputs, failure, interruptions FROM nodes WHERE run_id = $1 ORDER BY node

-- name: load_checkpoints
-- What nodes of these runs go on from.
SELECT run_id, node, data FROM checkpoints WHERE run_id = ANY($1::uuid[]) AND data IS NOT NULL

-- name: list_nodes
-- Rows of nodes in a range of indices.
SELECT node, state, attempt, host, start_us, end_us, failure, origin, interruptions FROM nodes WHERE run_id = $1 AND node >= $2 AND node < $3 ORDER BY node

-- name: load_node_states
-- Of the first nodes of a run, those that have a row.
SELECT node, state FROM nodes WHERE run_id = $1 AND node >= 0 AND node < $2

-- name: load_results
-- Some nodes of a run with what they gave.
SELECT node, state, attempt, outputs, failure, origin FROM nodes WHERE run_id = $1 AND node = ANY($2::integer[])
