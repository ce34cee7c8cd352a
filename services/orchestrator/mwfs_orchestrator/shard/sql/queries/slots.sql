-- name: add_slots
-- The slots that this shard holds; those it has stay as they are.
INSERT INTO slots (slot) SELECT unnest($1::integer[]) ON CONFLICT (slot) DO NOTHING

-- name: open_lease
INSERT INTO leases (replica, expires_at) VALUES ($1, now() + make_interval(secs => $2)) RETURNING lease_id

-- name: renew_lease
-- No row: the lease has run out, and its slots may have another owner.
UPDATE leases SET expires_at = now() + make_interval(secs => $2) WHERE lease_id = $1 AND expires_at > now() RETURNING lease_id

-- name: end_lease
UPDATE leases SET expires_at = now() WHERE lease_id = $1

-- name: claim_slots
-- Takes every slot that nobody holds: never owned, its lease has run out, or its owner was an earlier process of this same replica.
-- The row lock waits for a commit of the past owner, and the new epoch makes its next one fail.
UPDATE slots s SET lease_id = $1, epoch = s.epoch + 1
    WHERE s.lease_id IS DISTINCT FROM $1
        AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.lease_id = s.lease_id AND l.expires_at > now() AND l.replica <> $2)
    RETURNING s.slot, s.epoch
