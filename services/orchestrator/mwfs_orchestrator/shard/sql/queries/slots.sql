-- name: identify
-- The database becomes a shard of this platform, unless it is one already.
INSERT INTO shard_identity (platform) VALUES ($1) ON CONFLICT DO NOTHING

-- name: read_identity
SELECT identity, platform FROM shard_identity

-- name: first_slots
-- The slots that the map gave this shard at first, once.
WITH first AS (UPDATE shard_identity SET slots_added = true WHERE NOT slots_added RETURNING 1)
INSERT INTO slots (slot) SELECT unnest($1::integer[]) FROM first ON CONFLICT (slot) DO NOTHING


-- name: open_lease
INSERT INTO leases (replica, expires_at) VALUES ($1, now() + make_interval(secs => $2)) RETURNING lease_id

-- name: renew_lease
-- Also when it has run out: until another replica takes a slot, nothing is lost. What the caller needs to know its share comes with it.
WITH mine AS (
    UPDATE leases SET expires_at = now() + make_interval(secs => $2), address = $3, map_version = $4 WHERE lease_id = $1 RETURNING lease_id
)
SELECT (SELECT count(*) FROM slots s JOIN mine USING (lease_id) WHERE s.place = 1) AS held,
    (SELECT count(*) FROM slots WHERE place = 1) AS slots,
    (SELECT count(DISTINCT replica) FROM leases WHERE expires_at > now() OR lease_id = $1) AS replicas

-- name: end_lease
-- Its slots are free, and those who wait for slots hear of it.
WITH ended AS (UPDATE leases SET expires_at = now() WHERE lease_id = $1) SELECT pg_notify('mwfs_slots', '')

-- name: claim_slots
-- Takes slots that nobody holds: never owned, their lease has run out, or their owner was an earlier process of this same replica.
-- The lease is looked up in an expression: a slot that another replica takes at this moment is looked at again once it is locked, and joins are not made anew then.
-- A slot in which a past owner commits at this moment is left for the next look; afterwards the new epoch makes its next commit fail.
UPDATE slots SET lease_id = $1, epoch = epoch + 1 WHERE slot IN (
    SELECT s.slot FROM slots s
        WHERE s.place = 1 AND s.lease_id IS DISTINCT FROM $1
            AND coalesce((SELECT l.expires_at <= now() OR l.replica = $2 FROM leases l WHERE l.lease_id = s.lease_id), true)
        ORDER BY s.slot LIMIT $3 FOR UPDATE OF s SKIP LOCKED
) RETURNING slot, epoch

-- name: slots_of_lease
SELECT slot, epoch FROM slots WHERE lease_id = $1 AND place = 1

-- name: release_slots
-- Only those that are still the caller's.
WITH released AS (UPDATE slots SET lease_id = NULL WHERE lease_id = $1 AND slot = ANY($2::integer[])) SELECT pg_notify('mwfs_slots', '')

-- name: owner_of_slot
-- Where the replica is that owns the slot; no row when nobody does.
SELECT l.replica, l.address FROM slots s JOIN leases l USING (lease_id) WHERE s.slot = $1 AND s.place = 1 AND l.expires_at > now()

-- name: figures
-- Index: runs_active.
SELECT (SELECT count(*) FROM runs r JOIN slots s USING (slot) WHERE r.state < 6 AND s.place = 1) AS runs, pg_database_size(current_database()) AS bytes
