-- name: commit_changes
-- The function of the same name: see commit_changes.sql.
SELECT commit_changes($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)

-- name: commit_exists
-- Whether a commit whose answer was lost took place.
SELECT EXISTS (SELECT 1 FROM outbox WHERE lease_id = $1 AND position = $2)
    OR EXISTS (SELECT 1 FROM history_cursors WHERE lease_id = $1 AND position >= $2)
