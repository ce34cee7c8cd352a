-- name: commit_without_waiting_for_disk
-- Data and cursor are lost together or kept together.
SET LOCAL synchronous_commit TO off

-- name: store_events
-- One row per (commit, run). A batch that is there already is ignored.
INSERT INTO run_events (run_id, first_number, event_count, payload)
SELECT new.run_id::uuid, new.first_number, new.event_count, new.payload
FROM unnest($1::text[], $2::bigint[], $3::int[], $4::bytea[]) AS new (run_id, first_number, event_count, payload)
ON CONFLICT DO NOTHING

-- name: store_runs
-- One row per run, moved forward only: a batch that comes late does not undo a newer one.
INSERT INTO runs AS run (run_id, team, workflow, accept_time_us, last_kind, last_number)
SELECT new.run_id::uuid, new.team, new.workflow, new.accept_time_us, new.last_kind, new.last_number
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::smallint[], $6::bigint[])
    AS new (run_id, team, workflow, accept_time_us, last_kind, last_number)
ON CONFLICT (run_id) DO UPDATE SET
    team = CASE WHEN run.team = '' THEN excluded.team ELSE run.team END,
    workflow = CASE WHEN run.workflow = '' THEN excluded.workflow ELSE run.workflow END,
    accept_time_us = greatest(run.accept_time_us, excluded.accept_time_us),
    last_kind = CASE WHEN excluded.last_number > run.last_number THEN excluded.last_kind ELSE run.last_kind END,
    last_number = greatest(run.last_number, excluded.last_number)

-- name: move_cursors
-- In the transaction of the rows that it covers: each commit is applied exactly once.
INSERT INTO stream_cursor AS cursor (stream, position)
SELECT * FROM unnest($1::text[], $2::bigint[])
ON CONFLICT (stream) DO UPDATE SET position = excluded.position WHERE cursor.position < excluded.position

-- name: forget
TRUNCATE run_events, runs, stream_cursor

-- name: list_positions
-- One row per lease that any replica ever had.
SELECT stream, position FROM stream_cursor ORDER BY stream

-- name: list_events
-- A run's batches in order. Index: the primary key.
SELECT payload FROM run_events
WHERE run_id = $1::text::uuid AND first_number > $2 AND first_number <= $3
ORDER BY first_number
LIMIT $4
