-- name: watch_ends
INSERT INTO watched_ends (team, workflow, automation_id, turn, with_outputs) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING

-- name: unwatch_ends
-- Up to a turn.
DELETE FROM watched_ends WHERE team = $1 AND workflow = $2 AND automation_id = $3 AND turn <= $4

-- name: forget_watches
DELETE FROM watched_ends WHERE automation_id = ANY($1::uuid[]) AND create_time < now() - interval '1 hour'

-- name: read_ends
-- The table is empty most of the time, and what is in it is asked for.
SELECT run_id, round, team, workflow, state, tags, end_us, outputs, automations FROM run_ends LIMIT $1

-- name: remove_ends
DELETE FROM run_ends e USING unnest($1::uuid[], $2::integer[]) AS gone (run_id, round) WHERE e.run_id = gone.run_id AND e.round = gone.round
