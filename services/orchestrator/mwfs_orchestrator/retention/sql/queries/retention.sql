-- name: read_retention
SELECT team, days FROM retention ORDER BY team

-- name: set_retention
INSERT INTO retention (team, days) VALUES ($1, $2) ON CONFLICT (team) DO UPDATE SET days = excluded.days

-- name: forget_retention
DELETE FROM retention WHERE team = $1

-- name: knows_team
-- Whether anything of the team is in the catalogue. Indexes: those that begin with the team.
SELECT EXISTS (SELECT 1 FROM workflow_versions WHERE team = $1) OR EXISTS (SELECT 1 FROM archived_runs WHERE team = $1) OR EXISTS (SELECT 1 FROM retention WHERE team = $1)

-- name: count_archived
SELECT count(*) FROM archived_runs WHERE team = $1

-- name: note_archived
-- By run: one that was archived, revived before it was removed, and has ended again is another one.
INSERT INTO archived_runs (run_id, team, workflow, state, create_us, end_us, archive_us, digest, size, row_group)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::smallint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[], $9::bigint[], $10::integer[])
    ON CONFLICT (run_id) DO UPDATE SET state = excluded.state, end_us = excluded.end_us, archive_us = excluded.archive_us,
        digest = excluded.digest, size = excluded.size, row_group = excluded.row_group

-- name: find_archived
-- At most two of the team within a range of ids: one is found, two are ambiguous. Index: the primary key.
SELECT run_id, team, workflow, state, create_us, end_us, archive_us, digest, size, row_group FROM archived_runs
    WHERE run_id BETWEEN $1 AND $2 AND team = $3 LIMIT 2

-- name: list_archived
-- The team's before a position, newest first. Index: archived_runs_by_team.
SELECT run_id, team, workflow, state, create_us, end_us, archive_us, digest, size, row_group FROM archived_runs
    WHERE team = $1 AND (create_us, run_id) < ($2, $3) AND create_us >= $4 AND state = ANY($6::smallint[])
    ORDER BY create_us DESC, run_id DESC LIMIT $5

-- name: list_archived_of_workflow
-- Index: archived_runs_by_workflow.
SELECT run_id, team, workflow, state, create_us, end_us, archive_us, digest, size, row_group FROM archived_runs
    WHERE team = $1 AND workflow = $7 AND (create_us, run_id) < ($2, $3) AND create_us >= $4 AND state = ANY($6::smallint[])
    ORDER BY create_us DESC, run_id DESC LIMIT $5
