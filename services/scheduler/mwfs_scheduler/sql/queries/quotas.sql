-- name: quota_version
-- The version that is in force. One index lookup: asked every few seconds, in case a notification was lost.
SELECT coalesce(max(version), 0) FROM scheduler_quota_revision

-- name: read_quotas
-- The whole tree with its version, from one snapshot. One row with a NULL team when there are no quotas.
SELECT newest.version, quota.team, quota.parent, quota.weight, quota.guaranteed, quota.burst
FROM (SELECT coalesce(max(version), 0) AS version FROM scheduler_quota_revision) AS newest
LEFT JOIN scheduler_team_quota AS quota ON true
ORDER BY quota.team

-- name: revision_of_request
-- What a request made when it came before.
SELECT version, request_digest FROM scheduler_quota_revision WHERE request_id = $1

-- name: begin_revision
-- The next version, if the change was made against the newest; no row when another change was first. Of two at once the second
-- waits here for the first.
INSERT INTO scheduler_quota_revision (version, request_id, request_digest, change_time, principal, reason)
SELECT $1::bigint + 1, $2, $3, now(), $4, $5
WHERE $1::bigint = (SELECT coalesce(max(version), 0) FROM scheduler_quota_revision)
ON CONFLICT DO NOTHING
RETURNING version

-- name: note_changes
-- Old and new of each team that the revision changes.
INSERT INTO scheduler_quota_change (version, team, old, new)
SELECT $1, change.team, change.old, change.new
FROM unnest($2::text[], $3::jsonb[], $4::jsonb[]) AS change (team, old, new)

-- name: put_quotas
-- Each replaces the team's quota, or adds it.
INSERT INTO scheduler_team_quota AS quota (team, parent, weight, guaranteed, burst)
SELECT * FROM unnest($1::text[], $2::text[], $3::numeric[], $4::jsonb[], $5::jsonb[])
ON CONFLICT (team) DO UPDATE
SET parent = excluded.parent, weight = excluded.weight, guaranteed = excluded.guaranteed, burst = excluded.burst

-- name: remove_quotas
DELETE FROM scheduler_team_quota WHERE team = ANY($1::text[])

-- name: tell_of_quotas
-- Heard when the transaction commits.
SELECT pg_notify('mwfs_quotas', $1::text)

-- name: list_revisions
-- Revisions before a version, newest first; of one team those that concern it, by its index.
SELECT revision.version, revision.change_time, revision.principal, revision.reason
FROM scheduler_quota_revision AS revision
WHERE revision.version < $1
  AND ($2 = '' OR EXISTS (
    SELECT 1 FROM scheduler_quota_change AS change WHERE change.team = $2 AND change.version = revision.version
  ))
ORDER BY revision.version DESC
LIMIT $3

-- name: changes_of_revisions
SELECT version, team, old, new FROM scheduler_quota_change
WHERE version = ANY($1::bigint[]) AND ($2 = '' OR team = $2)
ORDER BY version DESC, team
