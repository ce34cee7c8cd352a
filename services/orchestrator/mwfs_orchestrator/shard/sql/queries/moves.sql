-- name: columns_of
SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attname

-- name: claim_leaving
-- Slots on their way to another shard which nobody else looks after.
UPDATE slots SET lease_id = $1, epoch = CASE WHEN lease_id = $1 THEN epoch ELSE epoch + 1 END WHERE slot IN (
    SELECT s.slot FROM slots s
        WHERE s.place = 2
            AND coalesce((SELECT l.expires_at <= now() OR l.replica = $2 FROM leases l WHERE l.lease_id = s.lease_id), true)
        ORDER BY s.slot FOR UPDATE OF s SKIP LOCKED
) RETURNING slot, epoch

-- name: expect_slots
-- Slots that are being copied here, by one try of the move: a later one takes them from an earlier one, and waits for what that writes at this moment.
INSERT INTO slots AS s (slot, place, epoch) SELECT slot, 3, attempt FROM unnest($1::integer[], $2::bigint[]) AS t (slot, attempt)
    ON CONFLICT (slot) DO UPDATE SET epoch = excluded.epoch WHERE s.place = 3 AND s.epoch < excluded.epoch
    RETURNING slot

-- name: lock_expected
-- How many of the slots are still this try's. They are until the transaction ends.
SELECT count(*) FROM (
    SELECT 1 FROM slots s JOIN unnest($1::integer[], $2::bigint[]) AS t (slot, attempt) ON s.slot = t.slot AND s.epoch = t.attempt AND s.place = 3
        ORDER BY s.slot FOR SHARE OF s
) AS ours

-- name: forget_expected
-- The slots of this try do not come.
DELETE FROM slots s USING unnest($1::integer[], $2::bigint[]) AS t (slot, attempt) WHERE s.slot = t.slot AND s.epoch = t.attempt AND s.place = 3

-- name: lock_leaving
-- How many of the slots that have moved are still looked after by these epochs. They are until the transaction ends.
SELECT count(*) FROM (
    SELECT 1 FROM slots s JOIN unnest($1::integer[], $2::bigint[]) AS t (slot, epoch) ON s.slot = t.slot AND s.epoch = t.epoch AND s.place = 2
        ORDER BY s.slot FOR SHARE OF s
) AS ours

-- name: next_stream
-- A number for the stream of what comes from another shard.
SELECT nextval(pg_get_serial_sequence('leases', 'lease_id'))

-- name: seal_slots
-- From here on nobody writes to them, whoever believes to own them.
UPDATE slots s SET place = 2, epoch = s.epoch + 1 FROM unnest($2::integer[], $3::bigint[]) AS t (slot, epoch)
    WHERE s.slot = t.slot AND s.epoch = t.epoch AND s.lease_id = $1 AND s.place = 1 RETURNING s.slot, s.epoch

-- name: unseal_slots
-- They stay after all. Who wants them takes them.
WITH back AS (UPDATE slots SET place = 1, epoch = epoch + 1, lease_id = NULL WHERE lease_id = $1 AND slot = ANY($2::integer[]) AND place = 2)
SELECT pg_notify('mwfs_slots', '')

-- name: open_streams
-- What has come with the slots in these ranges of ids can be followed from now on.
WITH come AS (
    SELECT e.lease_id, max(e.last_position) AS position
        FROM unnest($1::uuid[], $2::uuid[]) AS r (first, last) JOIN run_events e ON e.run_id BETWEEN r.first AND r.last
        WHERE NOT EXISTS (SELECT 1 FROM leases l WHERE l.lease_id = e.lease_id) GROUP BY e.lease_id
), streams AS (
    INSERT INTO leases (lease_id, replica, expires_at, moved) OVERRIDING SYSTEM VALUE SELECT lease_id, '', now(), true FROM come
)
INSERT INTO history_cursors (lease_id, position) SELECT lease_id, position FROM come

-- name: arrive_slots
-- They live here now: under a lease, or, without one, for anybody to take.
UPDATE slots s SET place = 1, epoch = t.epoch, lease_id = $1 FROM unnest($2::integer[], $3::bigint[]) AS t (slot, epoch)
    WHERE s.slot = t.slot AND s.place = 3 RETURNING s.slot, s.epoch

-- name: announce_slots
SELECT pg_notify('mwfs_slots', '')

-- name: known_version
-- The version of the slot map by which all replicas go, at least. An earlier process of a replica goes by nothing any more.
SELECT coalesce(min(map_version), 0) FROM (
    SELECT DISTINCT ON (replica) map_version, expires_at FROM leases WHERE NOT moved ORDER BY replica, lease_id DESC
) AS newest WHERE expires_at > now()

-- name: remove_slots
DELETE FROM slots WHERE slot = ANY($1::integer[]) AND place = 2

-- name: unfolded_positions
-- Of all streams that have commits which are not in history yet: the last of them.
SELECT l.lease_id, (SELECT max(position) FROM outbox o WHERE o.lease_id = l.lease_id) AS position FROM leases l LEFT JOIN history_cursors c USING (lease_id)
    WHERE EXISTS (SELECT 1 FROM outbox o WHERE o.lease_id = l.lease_id AND o.position > coalesce(c.position, 0))

-- name: read_watches
SELECT team, workflow, automation_id, turn, with_outputs FROM watched_ends

-- name: add_watches
INSERT INTO watched_ends (team, workflow, automation_id, turn, with_outputs)
    SELECT * FROM unnest($1::text[], $2::text[], $3::uuid[], $4::integer[], $5::boolean[]) ON CONFLICT DO NOTHING
