-- name: list_unfolded
-- Streams that have commits in the outbox which are not in history yet, and whose writer is gone.
SELECT l.lease_id FROM leases l LEFT JOIN history_cursors c USING (lease_id)
    WHERE l.expires_at < now() AND EXISTS (SELECT 1 FROM outbox o WHERE o.lease_id = l.lease_id AND o.position > coalesce(c.position, 0))

-- name: history_position
SELECT position, removed_to FROM history_cursors WHERE lease_id = $1

-- name: keep_history
-- Moves a stream's cursor by compare-and-set, and adds the rows that it has passed; false when somebody else was first.
WITH moved AS (
    INSERT INTO history_cursors AS c (lease_id, position) SELECT $1, $3
        WHERE $2 = 0 OR EXISTS (SELECT 1 FROM history_cursors WHERE lease_id = $1)
        ON CONFLICT (lease_id) DO UPDATE SET position = excluded.position WHERE c.position = $2
        RETURNING lease_id
), kept AS (
    INSERT INTO run_events (run_id, first_number, last_number, lease_id, last_position, payload)
        SELECT t.run_id, t.first_number, t.last_number, $1, $3, t.payload
            FROM moved, unnest($4::uuid[], $5::bigint[], $6::bigint[], $7::bytea[]) AS t (run_id, first_number, last_number, payload)
)
SELECT EXISTS (SELECT 1 FROM moved)

-- name: trim_outbox
-- The function of the same name: see trim_outbox.sql.
SELECT trim_outbox($1)

-- name: read_history
-- What came from the next commits of a stream that were moved together. Index: run_events_by_stream.
SELECT last_position, payload, (SELECT moved FROM leases l WHERE l.lease_id = $1) AS moved FROM run_events
    WHERE lease_id = $1 AND last_position = (SELECT min(last_position) FROM run_events WHERE lease_id = $1 AND last_position > $2)

-- name: read_unfolded
-- Commits of all streams that are not in history yet.
SELECT o.payload FROM leases l LEFT JOIN history_cursors c USING (lease_id)
    CROSS JOIN LATERAL (SELECT payload, position FROM outbox WHERE lease_id = l.lease_id AND position > coalesce(c.position, 0)) AS o
    ORDER BY l.lease_id, o.position

-- name: read_run_events
-- A run's history from an event on, in order. Index: the primary key.
SELECT first_number, last_number, payload FROM run_events
    WHERE run_id = $1 AND first_number >= coalesce((SELECT max(first_number) FROM run_events WHERE run_id = $1 AND first_number <= $2), 0)
    ORDER BY first_number LIMIT $3

-- name: last_numbers
-- The last event of each of these runs that is in history. Index: the primary key.
SELECT r.run_id, e.last_number FROM unnest($1::uuid[]) AS r (run_id)
    CROSS JOIN LATERAL (SELECT last_number FROM run_events WHERE run_id = r.run_id ORDER BY first_number DESC LIMIT 1) AS e
