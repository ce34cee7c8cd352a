-- name: oldest_ends
-- Each team that has ended runs, with the end of its oldest: one step in the index for each. Index: runs_by_end.
WITH RECURSIVE oldest AS (
    (SELECT team, end_us FROM runs WHERE state >= 6 ORDER BY team, end_us LIMIT 1)
    UNION ALL
    SELECT next.team, next.end_us FROM oldest
        CROSS JOIN LATERAL (SELECT team, end_us FROM runs WHERE state >= 6 AND team > oldest.team ORDER BY team, end_us LIMIT 1) AS next
)
SELECT team, end_us FROM oldest

-- name: list_ended
-- Runs of a team and of these slots that ended before a time, oldest first, after a place. Not those whose end somebody has still to be told, or whose
-- events are not all in history. Index: runs_by_end.
SELECT r.run_id, r.slot, r.round, r.end_us, r.node_count FROM runs r
    WHERE r.team = $1 AND r.state >= 6 AND r.end_us < $2 AND (r.end_us, r.run_id) > ($3, $4) AND r.slot = ANY($5::integer[])
        AND NOT EXISTS (SELECT 1 FROM run_ends e WHERE e.run_id = r.run_id)
        AND (SELECT last_number FROM run_events h WHERE h.run_id = r.run_id ORDER BY first_number DESC LIMIT 1) >= r.last_event
    ORDER BY r.end_us, r.run_id LIMIT $6

-- name: lock_owned_slots
-- How many of these slots are ours with these epochs; they stay so until this transaction ends.
SELECT count(*) FROM (
    SELECT 1 FROM slots s JOIN unnest($2::integer[], $3::bigint[]) AS mine (slot, epoch) ON s.slot = mine.slot AND s.epoch = mine.epoch
        WHERE s.lease_id = $1 AND s.place = 1 ORDER BY s.slot FOR SHARE OF s
) AS ours

-- name: remove_runs
-- Those that are still as they were archived. From here on they are not on this shard; their other rows go later.
WITH same AS (
    SELECT r.run_id FROM runs r JOIN unnest($1::uuid[], $2::integer[], $3::bigint[]) AS t (run_id, round, end_us)
            ON r.run_id = t.run_id AND r.round = t.round AND r.end_us = t.end_us
        WHERE r.state >= 6 AND NOT EXISTS (SELECT 1 FROM run_ends e WHERE e.run_id = r.run_id)
        FOR UPDATE OF r SKIP LOCKED
), gone AS (
    DELETE FROM runs r USING same WHERE r.run_id = same.run_id RETURNING r.run_id, r.slot, r.team, r.body_digest
)
INSERT INTO removed_runs (run_id, slot, team, body_digest, rows_left) SELECT run_id, slot, team, body_digest, true FROM gone RETURNING run_id

-- name: list_half_removed
-- Runs of these slots that have rows left. Index: removed_runs_half.
SELECT run_id FROM removed_runs WHERE rows_left AND slot = ANY($1::integer[]) LIMIT $2

-- name: list_with_checkpoints
SELECT DISTINCT run_id FROM checkpoints WHERE run_id = ANY($1::uuid[])

-- name: remove_events
-- Some events of removed runs. Who follows a stream and stands before them is told so.
WITH gone AS (
    DELETE FROM run_events WHERE ctid = ANY(ARRAY(SELECT ctid FROM run_events WHERE run_id = ANY($1::uuid[]) LIMIT $2)) RETURNING lease_id, last_position
), streams AS (
    SELECT lease_id, max(last_position) AS position FROM gone GROUP BY lease_id
), told AS (
    UPDATE history_cursors c SET removed_to = greatest(c.removed_to, s.position) FROM streams s WHERE c.lease_id = s.lease_id
)
SELECT count(*) FROM gone

-- name: last_node
SELECT max(node) FROM nodes WHERE run_id = $1

-- name: remove_nodes
WITH gone AS (DELETE FROM nodes WHERE run_id = $1 AND node >= $2 AND node < $3 RETURNING 1) SELECT count(*) FROM gone

-- name: end_removal
UPDATE removed_runs SET rows_left = false WHERE run_id = ANY($1::uuid[]) AND rows_left

-- name: find_removed
-- Whose run it was.
SELECT team FROM removed_runs WHERE run_id = $1

-- name: has_team
-- Index: runs_by_team.
SELECT EXISTS (SELECT 1 FROM runs WHERE team = $1)
