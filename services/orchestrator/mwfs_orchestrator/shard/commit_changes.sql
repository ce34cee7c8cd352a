-- The rows of `Changes`, one composite type for each of its lists.
CREATE TYPE owned_slot AS (slot integer, epoch bigint);
CREATE TYPE new_run AS (
    run_id uuid, slot integer, team text, principal text, request_id text, body_digest bytea, workflow text, version_digest text, bundle_digest text,
    priority integer, tags jsonb, compile_job bytea, options bytea, state smallint, node_count integer, create_us bigint, start_us bigint, last_event bigint
);
CREATE TYPE new_chunk AS (run_id uuid, index integer, data bytea);
CREATE TYPE revived_run AS (run_id uuid, state smallint, request_id text);
CREATE TYPE started_node AS (run_id uuid, node integer, attempt integer, host text, grant_id text);
CREATE TYPE ended_node AS (run_id uuid, node integer, attempt integer, state smallint, tries smallint, outputs bytea, failure bytea);
CREATE TYPE new_patch AS (run_id uuid, number integer, parent integer, data bytea);
CREATE TYPE reused_node AS (run_id uuid, node integer, outputs bytea, origin bytea);
CREATE TYPE waiting_node AS (run_id uuid, node integer, since_us bigint, until_us bigint);
CREATE TYPE new_child AS (run_id uuid, node integer, round integer, child_run_id uuid, dag bytea);
CREATE TYPE new_signal AS (run_id uuid, name text, request_id text, payload bytea, principal text, sent_us bigint);
CREATE TYPE settled_node AS (run_id uuid, node integer, state smallint, tries smallint, failure bytea);
CREATE TYPE moved_run AS (
    run_id uuid, state smallint, start_us bigint, end_us bigint, failure bytea, outputs bytea, node_counts jsonb, node_count integer,
    last_event bigint, failure_text text
);
CREATE TYPE kept_checkpoint AS (run_id uuid, node integer, data bytea);
CREATE TYPE interrupted_node AS (run_id uuid, node integer, data bytea);

-- Everything that happened within a moment on a shard, in one round trip and one transaction.
-- Locks the slots until commit and refuses when an epoch is not the caller's (MW001); moves nodes by compare-and-set on (state, attempt) and
-- refuses when one was not as expected (MW002); appends the events.
CREATE FUNCTION commit_changes(
    _lease_id bigint, _position bigint, _payload bytea, _slots owned_slot[], _new_runs new_run[], _new_chunks new_chunk[], _revived revived_run[],
    _started started_node[], _ended ended_node[], _patches new_patch[], _reused reused_node[], _waiting waiting_node[], _children new_child[], _signals new_signal[], _settled settled_node[], _moved moved_run[],
    _checkpoints kept_checkpoint[], _interruptions interrupted_node[], _now_us bigint
) RETURNS void LANGUAGE plpgsql
-- Planned once per connection, five times as fast as anew in each call. The plan may be made while a table is empty and must still be right when it is
-- large: by keys, whatever the statistics say.
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    moved bigint;
    ended bigint := 0;
BEGIN
    PERFORM 1 FROM slots s JOIN unnest(_slots) AS mine ON s.slot = mine.slot AND s.epoch = mine.epoch AND s.lease_id = _lease_id
        ORDER BY s.slot FOR SHARE OF s;
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved <> cardinality(_slots) THEN
        RAISE EXCEPTION 'a slot has another owner: % of % are ours', moved, cardinality(_slots) USING ERRCODE = 'MW001';
    END IF;

    IF cardinality(_new_runs) > 0 THEN
        INSERT INTO runs (run_id, slot, team, principal, request_id, body_digest, workflow, version_digest, bundle_digest,
                priority, tags, compile_job, options, state, node_count, create_us, start_us, last_event, since_us)
            SELECT *, _now_us FROM unnest(_new_runs);
    END IF;

    IF cardinality(_new_runs) > 0 THEN
        INSERT INTO run_tags (team, tag, create_us, run_id)
            SELECT t.team, tag_digest(each.key, each.value), t.create_us, t.run_id FROM unnest(_new_runs) AS t CROSS JOIN LATERAL jsonb_each_text(t.tags) AS each;
    END IF;

    IF cardinality(_new_chunks) > 0 THEN
        INSERT INTO dag_chunks (run_id, index, data) SELECT * FROM unnest(_new_chunks);
    END IF;

    IF cardinality(_revived) > 0 THEN
        UPDATE runs r SET state = t.state, round = r.round + 1, round_request = t.request_id, end_us = 0, failure = NULL, failure_text = NULL, node_counts = NULL,
                since_us = _now_us
            FROM unnest(_revived) AS t WHERE r.run_id = t.run_id AND r.state IN (7, 8);
        GET DIAGNOSTICS moved = ROW_COUNT;
        IF moved <> cardinality(_revived) THEN
            RAISE EXCEPTION 'only % of % runs could be revived', moved, cardinality(_revived) USING ERRCODE = 'MW002';
        END IF;
        UPDATE nodes n SET state = 1, tries = 0, failure = NULL, end_us = 0
            FROM unnest(_revived) AS t WHERE n.run_id = t.run_id AND n.state <> 5;
    END IF;

    -- An attempt may end, the next one start and end as well, all in one commit: first what ran before, then what starts, then what started here.
    IF cardinality(_ended) > 0 THEN
        UPDATE nodes n SET state = t.state, tries = t.tries, end_us = _now_us, outputs = t.outputs, failure = t.failure
            FROM unnest(_ended) AS t
            WHERE n.run_id = t.run_id AND n.node = t.node AND n.attempt = t.attempt AND n.state = 3;
        GET DIAGNOSTICS ended = ROW_COUNT;
    END IF;

    IF cardinality(_started) > 0 THEN
        INSERT INTO nodes AS n (run_id, node, state, attempt, host, grant_id, start_us)
            SELECT t.run_id, t.node, 3, t.attempt, t.host, t.grant_id, _now_us FROM unnest(_started) AS t
            ON CONFLICT (run_id, node) DO UPDATE
                SET state = 3, attempt = excluded.attempt, host = excluded.host, grant_id = excluded.grant_id,
                    start_us = excluded.start_us, end_us = 0, failure = NULL
                WHERE n.attempt = excluded.attempt - 1 AND n.state IN (1, 10);
        GET DIAGNOSTICS moved = ROW_COUNT;
        IF moved <> cardinality(_started) THEN
            RAISE EXCEPTION 'only % of % nodes could start', moved, cardinality(_started) USING ERRCODE = 'MW002';
        END IF;
    END IF;

    IF ended <> cardinality(_ended) THEN
        UPDATE nodes n SET state = t.state, tries = t.tries, end_us = _now_us, outputs = t.outputs, failure = t.failure
            FROM unnest(_ended) AS t JOIN unnest(_started) AS s ON s.run_id = t.run_id AND s.node = t.node AND s.attempt = t.attempt
            WHERE n.run_id = t.run_id AND n.node = t.node AND n.attempt = t.attempt AND n.state = 3;
        GET DIAGNOSTICS moved = ROW_COUNT;
        IF ended + moved <> cardinality(_ended) THEN
            RAISE EXCEPTION 'only % of % attempts could end', ended + moved, cardinality(_ended) USING ERRCODE = 'MW002';
        END IF;
    END IF;

    IF cardinality(_patches) > 0 THEN
        -- By (run, number) a second growth is a conflict, never a doubled one.
        INSERT INTO dag_patches (run_id, number, parent, round, data, create_us)
            SELECT t.run_id, t.number, t.parent, r.round, t.data, _now_us FROM unnest(_patches) AS t JOIN runs r ON r.run_id = t.run_id;
    END IF;

    IF cardinality(_signals) > 0 THEN
        INSERT INTO signals (run_id, name, request_id, payload, principal, sent_us) SELECT * FROM unnest(_signals);
    END IF;

    IF cardinality(_children) > 0 THEN
        INSERT INTO children (run_id, node, round, child_run_id, dag) SELECT * FROM unnest(_children);
    END IF;

    IF cardinality(_waiting) > 0 THEN
        -- Control nodes that wait for a signal, for time, or for their child run.
        INSERT INTO nodes AS n (run_id, node, state, attempt, start_us, end_us)
            SELECT t.run_id, t.node, 10, 0, t.since_us, t.until_us FROM unnest(_waiting) AS t
            ON CONFLICT (run_id, node) DO UPDATE SET state = 10, start_us = excluded.start_us, end_us = excluded.end_us
                WHERE n.state = 1;
        GET DIAGNOSTICS moved = ROW_COUNT;
        IF moved <> cardinality(_waiting) THEN
            RAISE EXCEPTION 'only % of % nodes could wait', moved, cardinality(_waiting) USING ERRCODE = 'MW002';
        END IF;
    END IF;

    IF cardinality(_reused) > 0 THEN
        -- Nodes that have a result without an attempt: that of an earlier run, or of a control node (10: one that waited).
        INSERT INTO nodes AS n (run_id, node, state, attempt, end_us, outputs, origin)
            SELECT t.run_id, t.node, 5, 0, _now_us, t.outputs, t.origin FROM unnest(_reused) AS t
            ON CONFLICT (run_id, node) DO UPDATE
                SET state = 5, end_us = excluded.end_us, outputs = excluded.outputs, failure = NULL, origin = excluded.origin
                WHERE n.state IN (1, 10);
        GET DIAGNOSTICS moved = ROW_COUNT;
        IF moved <> cardinality(_reused) THEN
            RAISE EXCEPTION 'only % of % nodes could take a result', moved, cardinality(_reused) USING ERRCODE = 'MW002';
        END IF;
    END IF;

    IF cardinality(_settled) > 0 THEN
        -- Nodes that end or fail without an attempt (CANCELLED, UPSTREAM_FAILED, control nodes, no room in time). One that runs or has succeeded is left alone.
        INSERT INTO nodes AS n (run_id, node, state, attempt, tries, end_us, failure)
            SELECT t.run_id, t.node, t.state, 0, t.tries, _now_us, t.failure FROM unnest(_settled) AS t
            ON CONFLICT (run_id, node) DO UPDATE
                SET state = excluded.state, tries = excluded.tries, end_us = excluded.end_us, failure = excluded.failure
                WHERE n.state NOT IN (3, 4, 5);
    END IF;

    IF cardinality(_checkpoints) > 0 THEN
        INSERT INTO checkpoints (run_id, node, data) SELECT * FROM unnest(_checkpoints)
            ON CONFLICT (run_id, node) DO UPDATE SET data = excluded.data;
    END IF;

    IF cardinality(_interruptions) > 0 THEN
        -- Of nodes that run or ran, so each has a row.
        UPDATE nodes n SET interruptions = t.data FROM unnest(_interruptions) AS t WHERE n.run_id = t.run_id AND n.node = t.node;
    END IF;

    IF cardinality(_moved) > 0 THEN
        -- What is null stays as it is.
        UPDATE runs r SET state = t.state, since_us = CASE WHEN r.state = t.state THEN r.since_us ELSE _now_us END,
                start_us = coalesce(t.start_us, r.start_us), end_us = coalesce(t.end_us, r.end_us), failure = t.failure,
                outputs = coalesce(t.outputs, r.outputs), node_counts = coalesce(t.node_counts, r.node_counts),
                node_count = coalesce(t.node_count, r.node_count), last_event = coalesce(t.last_event, r.last_event), failure_text = t.failure_text
            FROM unnest(_moved) AS t WHERE r.run_id = t.run_id;
        -- Ends that a trigger or backfill waits for. Most shards watch nothing, most of the time.
        INSERT INTO run_ends (run_id, round, team, workflow, state, tags, end_us, outputs, automations)
            SELECT r.run_id, r.round, r.team, r.workflow, r.state, r.tags, r.end_us, CASE WHEN bool_or(w.with_outputs) THEN r.outputs END,
                    array_agg(DISTINCT w.automation_id)
                FROM unnest(_moved) AS t JOIN runs r ON r.run_id = t.run_id
                    JOIN watched_ends w ON w.team = r.team AND w.workflow IN (r.workflow, '')
                WHERE t.state IN (6, 7, 8) GROUP BY r.run_id
            ON CONFLICT DO NOTHING;
    END IF;

    -- A part for two minutes. A commit that is tried again has its first time, so its position cannot be there twice.
    INSERT INTO outbox (part, lease_id, position, payload) VALUES (_now_us / 120000000 % 4, _lease_id, _position, _payload);
END $$;
