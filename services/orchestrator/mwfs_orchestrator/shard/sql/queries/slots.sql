-- name: add_slots
-- The slots that this shard holds; those it has stay as they are.
INSERT INTO slots (slot) SELECT unnest($1::integer[]) ON CONFLICT (slot) DO NOTHING

-- name: open_lease
INSERT INTO leases (replica, expires_at) VALUES ($1, now() + make_interval(secs => $2)) RETURNING lease_id

-- name: renew_lease
-- Also when it has run out: until another replica takes a slot, nothing is lost. What the caller needs to know its share comes with it.
WITH mine AS (
    UPDATE leases SET expires_at = now() + make_interval(secs => $2), address = $3 WHERE lease_id = $1 RETURNING lease_id
)
SELECT (SELECT count(*) FROM slots s JOIN mine USING (lease_id)) AS held,
    (SELECT count(*) FROM slots) AS slots,
    (SELECT count(DISTINCT replica) FROM leases WHERE expires_at > now() OR lease_id = $1) AS replicas

-- name: end_lease
-- Its slots are free, and those who wait for slots hear of it.
WITH ended AS (UPDATE leases SET expires_at = now() WHERE lease_id = $1) SELECT pg_notify('mwfs_slots', '')

-- name: claim_slots
-- Takes slots that nobody holds: never owned, their lease has run out, or their owner was an earlier process of this same replica.
-- A slot in which a past owner commits at this moment is left for the next look; afterwards the new epoch makes its next commit fail.
UPDATE slots SET lease_id = $1, epoch = epoch + 1 WHERE slot IN (
    SELECT s.slot FROM slots s
        WHERE s.lease_id IS DISTINCT FROM $1
            AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.lease_id = s.lease_id AND l.expires_at > now() AND l.replica <> $2)
        ORDER BY s.slot LIMIT $3 FOR UPDATE OF s SKIP LOCKED
) RETURNING slot, epoch

-- name: slots_of_lease
SELECT slot, epoch FROM slots WHERE lease_id = $1

-- name: release_slots
-- Only those that are still the caller's.
WITH released AS (UPDATE slots SET lease_id = NULL WHERE lease_id = $1 AND slot = ANY($2::integer[])) SELECT pg_notify('mwfs_slots', '')

-- name: owner_of_slot
-- Where the replica is that owns the slot; no row when nobody does.
SELECT l.replica, l.address FROM slots s JOIN leases l USING (lease_id) WHERE s.slot = $1 AND l.expires_at > now()
