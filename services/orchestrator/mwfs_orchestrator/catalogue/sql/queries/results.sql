-- name: keep_results
-- An entry that is there stays as it is. Arrays of one length: team, key, operator, parts, outputs, artifacts (a JSON array), run, node, time.
INSERT INTO results (team, key, operator, parts, outputs, artifacts, run_id, node, create_us, used_us)
    SELECT t.team, t.key, t.operator, t.parts::jsonb, t.outputs,
            ARRAY(SELECT jsonb_array_elements_text(t.artifacts::jsonb)), t.run_id, t.node, $9, $9
        FROM unnest($1::text[], $2::bytea[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::uuid[], $8::integer[])
            AS t (team, key, operator, parts, outputs, artifacts, run_id, node)
    ON CONFLICT (team, key) DO NOTHING

-- name: find_results
-- Which of these keys have an entry. Index: the primary key.
SELECT r.team, r.key, r.operator, r.parts, r.outputs, r.artifacts, r.run_id, r.node, r.create_us, r.used_us
    FROM unnest($1::text[], $2::bytea[]) AS wanted (team, key) JOIN results r ON r.team = wanted.team AND r.key = wanted.key

-- name: use_results
UPDATE results r SET used_us = $3 FROM unnest($1::text[], $2::bytea[]) AS used (team, key) WHERE r.team = used.team AND r.key = used.key

-- name: forget_results
-- Entries whose artifacts are gone. An entry that was written anew meanwhile stays.
DELETE FROM results r USING unnest($1::text[], $2::bytea[], $3::bigint[]) AS gone (team, key, create_us)
    WHERE r.team = gone.team AND r.key = gone.key AND r.create_us = gone.create_us

-- name: list_results
-- The newest entries of one operator. Index: results_by_operator.
SELECT team, key, operator, parts, ''::bytea AS outputs, artifacts, run_id, node, create_us, used_us FROM results
    WHERE team = $1 AND operator = $2 ORDER BY create_us DESC LIMIT $3

-- name: trim_results
-- Removes some of the entries that nobody has used since. Index: results_by_use.
DELETE FROM results WHERE (team, key) IN (SELECT team, key FROM results WHERE used_us < $1 ORDER BY used_us LIMIT $2)
