-- name: list_streams
-- All streams, or those whose lease may still be held: a holder that cannot renew gives up long before these ten minutes.
SELECT lease_id FROM leases WHERE $1 OR expires_at > now() - interval '10 minutes' ORDER BY lease_id

-- name: read_commits
-- Commits of one stream after a position, in order.
SELECT position, payload FROM outbox WHERE lease_id = $1 AND position > $2 ORDER BY position LIMIT $3
