-- name: look
-- Takes or keeps the lease when it is free or ours, and says what there is to do. Indexes: automations_due, automations_open, occasions_due.
WITH held AS (
    INSERT INTO automation_lease AS l (replica, expires_at) VALUES ($1::text, now() + make_interval(secs => $2))
        ON CONFLICT (only_row) DO UPDATE SET replica = excluded.replica, expires_at = excluded.expires_at
            WHERE l.replica = excluded.replica OR l.expires_at < now()
        RETURNING true
)
SELECT EXISTS (SELECT FROM held) AS held,
    (SELECT min(next_us) FROM automations WHERE kind = 1 AND state = 1) AS next_us,
    (SELECT min(retry_us) FROM occasions WHERE state = 2) AS retry_us,
    EXISTS (SELECT FROM automations WHERE kind > 1 AND state IN (1, 2, 3)) AS watching

-- name: release_lease
UPDATE automation_lease SET expires_at = now() - interval '1 second' WHERE replica = $1

-- name: insert_automation
-- No row: the name is taken.
INSERT INTO automations (automation_id, team, kind, name, principal, state, content, digest, create_us, next_us, max_parallel)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (team, kind, name) DO NOTHING RETURNING automation_id

-- name: count_automations
SELECT count(*) FROM automations WHERE team = $1 AND kind = $2

-- name: get_automation
SELECT * FROM automations WHERE team = $1 AND kind = $2 AND name = $3

-- name: get_automations
SELECT * FROM automations WHERE automation_id = ANY($1::uuid[])

-- name: list_automations
-- By name, after one.
SELECT * FROM automations WHERE team = $1 AND kind = $2 AND name > $3 ORDER BY name LIMIT $4

-- name: watching_automations
-- Triggers and backfills that wait for ends of runs. Index: automations_open.
SELECT * FROM automations WHERE kind > 1 AND state IN (1, 2, 3)

-- name: lock_automation
SELECT * FROM automations WHERE automation_id = $1 FOR UPDATE

-- name: move_automation
-- From one of these states to another; no row when it is in none of them.
UPDATE automations SET state = $2, message = $4, next_us = coalesce($5, next_us) WHERE automation_id = $1 AND state = ANY($3::smallint[]) RETURNING automation_id

-- name: begin_turn
UPDATE automations SET turn = turn + 1, state = 1, message = '' WHERE automation_id = $1 AND turn = $2 AND state IN (4, 6) RETURNING automation_id

-- name: delete_automation
DELETE FROM automations WHERE automation_id = $1 AND (kind < 3 OR state IN (4, 5, 6)) RETURNING automation_id

-- name: due_schedules
-- Index: automations_due.
SELECT * FROM automations WHERE kind = 1 AND state = 1 AND next_us <= $1 ORDER BY next_us LIMIT $2

-- name: fire
-- The cursor of a schedule moves and its occasions are there, both or neither; nothing when another was first.
WITH moved AS (
    UPDATE automations SET next_us = $3, skipped = skipped + $4 WHERE automation_id = $1 AND next_us = $2 AND state = 1 RETURNING automation_id
)
INSERT INTO occasions (automation_id, occasion, number, state, run_id, header, message)
    SELECT m.automation_id, o.* FROM moved m, unnest($5::text[], $6::bigint[], $7::smallint[], $8::uuid[], $9::bytea[], $10::text[]) AS o
    ON CONFLICT DO NOTHING

-- name: add_occasions
-- Those that are there stay as they are: an end that is reported twice fires once. An automation that is gone has none.
INSERT INTO occasions (automation_id, occasion, number, state, turn, run_id, header, message, depth, root)
    SELECT o.* FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::smallint[], $5::integer[], $6::uuid[], $7::bytea[], $8::text[], $9::integer[], $10::uuid[])
        AS o (automation_id, occasion, number, state, turn, run_id, header, message, depth, root)
        JOIN automations a ON a.automation_id = o.automation_id
    ON CONFLICT DO NOTHING

-- name: add_partitions
INSERT INTO occasions (automation_id, occasion, number, state)
    SELECT $1, p.occasion, p.number - 1, 1 FROM unnest($2::text[]) WITH ORDINALITY AS p (occasion, number)

-- name: due_occasions
-- Commands to carry out. Index: occasions_due.
SELECT o.*, a.team, a.principal FROM occasions o JOIN automations a USING (automation_id)
    WHERE o.state = 2 AND o.retry_us <= $1 ORDER BY o.retry_us LIMIT $2

-- name: start_occasion
-- Its run is accepted. Of a backfill the end may have been noted before.
UPDATE occasions SET state = 3, header = NULL, message = '' WHERE automation_id = $1 AND occasion = $2 AND turn = $3 AND state = 2

-- name: refuse_occasion
UPDATE occasions SET state = 4, header = NULL, run_id = NULL, message = $4 WHERE automation_id = $1 AND occasion = $2 AND turn = $3 AND state = 2

-- name: delay_occasion
UPDATE occasions SET retry_us = $4, message = $5 WHERE automation_id = $1 AND occasion = $2 AND turn = $3 AND state = 2

-- name: chains
-- Of runs that an occasion started: how far down a chain of triggers they are. Index: occasions_by_run.
SELECT run_id, depth, root FROM occasions WHERE run_id = ANY($1::uuid[])

-- name: count_chain
-- Index: occasions_by_root.
SELECT root, count(*) FROM occasions WHERE root = ANY($1::uuid[]) GROUP BY root

-- name: end_occasions
-- Index: occasions_by_run.
UPDATE occasions o SET state = e.state, round = e.round, header = NULL
    FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::smallint[]) AS e (automation_id, run_id, round, state)
    WHERE o.run_id = e.run_id AND o.automation_id = e.automation_id AND o.round < e.round AND o.state <> 5

-- name: trim_occasions
-- What schedules and triggers did long ago. Index: occasions_by_number.
DELETE FROM occasions WHERE automation_id = $1 AND number < $2 AND state IN (3, 4)

-- name: newest_occasions
-- A page of a schedule's or trigger's. Index: occasions_by_number.
SELECT * FROM occasions WHERE automation_id = $1 AND (cardinality($2::smallint[]) = 0 OR state = ANY($2::smallint[])) AND (number, occasion) < ($3, $4)
    ORDER BY number DESC, occasion DESC LIMIT $5

-- name: partitions_page
-- A page of a backfill's. Index: occasions_by_number.
SELECT * FROM occasions WHERE automation_id = $1 AND (cardinality($2::smallint[]) = 0 OR state = ANY($2::smallint[])) AND number > $3
    ORDER BY number LIMIT $4

-- name: get_occasion
SELECT * FROM occasions WHERE automation_id = $1 AND occasion = $2

-- name: count_occasions
SELECT state, count(*) FROM occasions WHERE automation_id = $1 AND occasion <> '' GROUP BY state

-- name: backfills_to_work_on
-- Those with room for a waiting partition, those in which nothing goes on, and those that are being cancelled. Indexes: automations_open, occasions_by_state.
SELECT a.* FROM automations a WHERE a.kind = 3 AND (
    a.state = 3
    OR a.state = 1 AND (
        NOT EXISTS (SELECT FROM occasions o WHERE o.automation_id = a.automation_id AND o.state IN (2, 3))
        -- The first that waits, and not whether one exists: that would read the table where most rows once waited.
        OR (SELECT min(o.number) FROM occasions o WHERE o.automation_id = a.automation_id AND o.state = 1) IS NOT NULL
            AND (SELECT count(*) FROM occasions o WHERE o.automation_id = a.automation_id AND o.state IN (2, 3)) < a.max_parallel
    )
)

-- name: count_open
SELECT count(*) FROM occasions WHERE automation_id = $1 AND state IN (2, 3)

-- name: waiting_partitions
-- Index: occasions_by_state.
SELECT * FROM occasions WHERE automation_id = $1 AND state = 1 ORDER BY number LIMIT $2

-- name: release_partitions
UPDATE occasions o SET state = r.state, run_id = r.run_id, header = r.header, message = r.message, turn = r.turn, retry_us = 0
    FROM unnest($2::text[], $3::smallint[], $4::uuid[], $5::bytea[], $6::text[], $7::integer[]) AS r (occasion, state, run_id, header, message, turn)
    WHERE o.automation_id = $1 AND o.occasion = r.occasion AND o.state = 1

-- name: started_runs
-- Index: occasions_by_state.
SELECT run_id FROM occasions WHERE automation_id = $1 AND state = 3

-- name: all_succeeded
-- Whether no partition is in another state than SUCCEEDED: two probes, however many there are. Index: occasions_by_state.
SELECT coalesce(min(state) = 5 AND max(state) = 5, true) FROM occasions WHERE automation_id = $1 AND occasion <> ''

-- name: all_partitions
SELECT occasion, run_id FROM occasions WHERE automation_id = $1 AND number >= 0 ORDER BY number

-- name: reopen_partitions
-- Of a backfill that is resumed after it failed or was cancelled: what has not succeeded waits again.
UPDATE occasions SET state = 1, run_id = NULL, round = 0, message = '' WHERE automation_id = $1 AND state IN (4, 6, 7) AND occasion <> ''

-- name: forget_join
DELETE FROM occasions WHERE automation_id = $1 AND occasion = '' AND state <> 5
