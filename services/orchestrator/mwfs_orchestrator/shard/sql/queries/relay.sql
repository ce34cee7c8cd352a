-- name: list_streams
SELECT lease_id FROM leases ORDER BY lease_id

-- name: read_commits
-- Commits of one stream after a position, in order.
SELECT position, payload FROM outbox WHERE lease_id = $1 AND position > $2 ORDER BY position LIMIT $3
