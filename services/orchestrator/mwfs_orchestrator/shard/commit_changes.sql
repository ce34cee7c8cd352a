-- The rows of `Changes`, one composite type for each of its lists.
CREATE TYPE owned_slot AS (slot integer, epoch bigint);
CREATE TYPE told_run AS (run_id uuid, last_event bigint);
CREATE TYPE new_run AS (
    run_id uuid, slot integer, team text, principal text, request_id text, body_digest bytea, workflow text, version_digest text, bundle_digest text,
    priority integer, tags jsonb, compile_job bytea, state smallint, node_count integer, create_us bigint, start_us bigint, last_event bigint
);
CREATE TYPE new_chunk AS (run_id uuid, index integer, data bytea);
CREATE TYPE revived_run AS (run_id uuid, state smallint, request_id text);
CREATE TYPE started_node AS (run_id uuid, node integer, attempt integer, host text, grant_id text);
CREATE TYPE ended_node AS (run_id uuid, node integer, attempt integer, state smallint, tries smallint, outputs bytea, failure bytea);
CREATE TYPE settled_node AS (run_id uuid, node integer, state smallint);
CREATE TYPE moved_run AS (
    run_id uuid, state smallint, start_us bigint, end_us bigint, failure bytea, outputs bytea, node_counts jsonb, node_count integer
);

-- Everything that happened within a moment on a shard, in one round trip and one transaction.
-- Locks the slots until commit and refuses when an epoch is not the caller's (MW001); moves nodes by compare-and-set on (state, attempt) and
-- refuses when one was not as expected (MW002); appends the events.
CREATE FUNCTION commit_changes(
    _lease_id bigint, _position bigint, _payload bytea, _slots owned_slot[], _told told_run[],
    _new_runs new_run[], _new_chunks new_chunk[], _revived revived_run[],
    _started started_node[], _ended ended_node[], _settled settled_node[], _moved moved_run[],
    _now_us bigint
) RETURNS void LANGUAGE plpgsql
-- Planned once per connection, five times as fast as anew in each call. The plan may be made while a table is empty and must still be right when it is
-- large: by keys, whatever the statistics say.
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    moved bigint;
BEGIN
    PERFORM 1 FROM slots s JOIN unnest(_slots) AS mine ON s.slot = mine.slot AND s.epoch = mine.epoch AND s.lease_id = _lease_id
        ORDER BY s.slot FOR SHARE OF s;
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved <> cardinality(_slots) THEN
        RAISE EXCEPTION 'a slot has another owner: % of % are ours', moved, cardinality(_slots) USING ERRCODE = 'MW001';
    END IF;

    IF cardinality(_new_runs) > 0 THEN
        INSERT INTO runs (run_id, slot, team, principal, request_id, body_digest, workflow, version_digest, bundle_digest,
                priority, tags, compile_job, state, node_count, create_us, start_us, last_event)
            SELECT * FROM unnest(_new_runs);
    END IF;

    IF cardinality(_new_chunks) > 0 THEN
        INSERT INTO dag_chunks (run_id, index, data) SELECT * FROM unnest(_new_chunks);
    END IF;

    IF cardinality(_revived) > 0 THEN
        UPDATE runs r SET state = t.state, round = r.round + 1, round_request = t.request_id, end_us = 0, failure = NULL, node_counts = NULL
            FROM unnest(_revived) AS t WHERE r.run_id = t.run_id AND r.state IN (7, 8);
        GET DIAGNOSTICS moved = ROW_COUNT;
        IF moved <> cardinality(_revived) THEN
            RAISE EXCEPTION 'only % of % runs could be revived', moved, cardinality(_revived) USING ERRCODE = 'MW002';
        END IF;
        UPDATE nodes n SET state = 1, tries = 0, failure = NULL, end_us = 0
            FROM unnest(_revived) AS t WHERE n.run_id = t.run_id AND n.state <> 5;
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

    IF cardinality(_ended) > 0 THEN
        UPDATE nodes n SET state = t.state, tries = t.tries, end_us = _now_us, outputs = t.outputs, failure = t.failure
            FROM unnest(_ended) AS t
            WHERE n.run_id = t.run_id AND n.node = t.node AND n.attempt = t.attempt AND n.state = 3;
        GET DIAGNOSTICS moved = ROW_COUNT;
        IF moved <> cardinality(_ended) THEN
            RAISE EXCEPTION 'only % of % attempts could end', moved, cardinality(_ended) USING ERRCODE = 'MW002';
        END IF;
    END IF;

    IF cardinality(_settled) > 0 THEN
        -- Nodes that end without an attempt (CANCELLED, UPSTREAM_FAILED). One that runs or has succeeded is left alone.
        INSERT INTO nodes AS n (run_id, node, state, attempt, end_us)
            SELECT t.run_id, t.node, t.state, 0, _now_us FROM unnest(_settled) AS t
            ON CONFLICT (run_id, node) DO UPDATE SET state = excluded.state, end_us = excluded.end_us WHERE n.state NOT IN (3, 4, 5);
    END IF;

    UPDATE runs r SET last_event = t.last_event FROM unnest(_told) AS t WHERE r.run_id = t.run_id;

    IF cardinality(_moved) > 0 THEN
        -- What is null stays as it is.
        UPDATE runs r SET state = t.state, start_us = coalesce(t.start_us, r.start_us), end_us = coalesce(t.end_us, r.end_us), failure = t.failure,
                outputs = coalesce(t.outputs, r.outputs), node_counts = coalesce(t.node_counts, r.node_counts),
                node_count = coalesce(t.node_count, r.node_count)
            FROM unnest(_moved) AS t WHERE r.run_id = t.run_id;
    END IF;

    INSERT INTO outbox (lease_id, position, payload) VALUES (_lease_id, _position, _payload);
END $$;
