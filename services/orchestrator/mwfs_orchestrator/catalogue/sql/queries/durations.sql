-- How long nodes of operators took.

-- name: keep_durations
-- Writes what the last nodes of each operator took. The last writer counts: replicas hear of each other's.
INSERT INTO operator_durations (team, workflow, operator, seconds, update_us)
SELECT team, workflow, operator, seconds::real[], (extract(epoch FROM clock_timestamp()) * 1e6)::bigint
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS took (team, workflow, operator, seconds)
ORDER BY team, workflow, operator
ON CONFLICT (team, workflow, operator) DO UPDATE SET seconds = excluded.seconds, update_us = excluded.update_us;

-- name: newer_durations
-- Those written since, the newest first.
SELECT team, workflow, operator, seconds, update_us
FROM operator_durations
WHERE update_us >= $1
ORDER BY update_us DESC
LIMIT $2;

-- name: trim_durations
-- Removes what was written longer ago.
DELETE FROM operator_durations WHERE update_us < (extract(epoch FROM clock_timestamp()) * 1e6)::bigint - $1::bigint;
