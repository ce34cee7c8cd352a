-- Everything that happened within a moment on a shard, in one round trip and one transaction.
-- Locks the slots until commit and refuses when an epoch is not the caller's (MW001), moves nodes by compare-and-set on (state, attempt) and
-- refuses when one was not as expected (MW002), and appends the events.
CREATE FUNCTION commit_changes(
    _lease_id bigint, _position bigint, _payload bytea,
    _slots integer[], _epochs bigint[],
    _runs uuid[], _last_events bigint[],
    _started_runs uuid[], _started_nodes integer[], _started_attempts integer[], _started_hosts text[], _started_grants text[],
    _ended_runs uuid[], _ended_nodes integer[], _ended_attempts integer[], _ended_states smallint[], _ended_tries smallint[],
    _ended_outputs bytea[], _ended_failures bytea[],
    _now_us bigint
) RETURNS void LANGUAGE plpgsql
-- Planned once per connection, five times as fast as anew in each call. The plan may be made while a table is empty and must still be right when it is
-- large: by keys, whatever the statistics say.
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    moved bigint;
BEGIN
    PERFORM 1 FROM slots s JOIN unnest(_slots, _epochs) AS mine(slot, epoch) ON s.slot = mine.slot AND s.epoch = mine.epoch
        AND s.lease_id = _lease_id
        ORDER BY s.slot FOR SHARE OF s;
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved <> cardinality(_slots) THEN
        RAISE EXCEPTION 'a slot has another owner: % of % are ours', moved, cardinality(_slots) USING ERRCODE = 'MW001';
    END IF;

    IF cardinality(_started_runs) > 0 THEN
        INSERT INTO nodes AS n (run_id, node, state, attempt, host, grant_id, start_us)
            SELECT run_id, node, 3, attempt, host, grant_id, _now_us
            FROM unnest(_started_runs, _started_nodes, _started_attempts, _started_hosts, _started_grants)
                AS t(run_id, node, attempt, host, grant_id)
            ON CONFLICT (run_id, node) DO UPDATE
                SET state = 3, attempt = excluded.attempt, host = excluded.host, grant_id = excluded.grant_id,
                    start_us = excluded.start_us, end_us = 0, failure = NULL
                WHERE n.attempt = excluded.attempt - 1 AND n.state IN (1, 10);
        GET DIAGNOSTICS moved = ROW_COUNT;
        IF moved <> cardinality(_started_runs) THEN
            RAISE EXCEPTION 'only % of % nodes could start', moved, cardinality(_started_runs) USING ERRCODE = 'MW002';
        END IF;
    END IF;

    IF cardinality(_ended_runs) > 0 THEN
        UPDATE nodes n SET state = t.state, tries = t.tries, end_us = _now_us, outputs = t.outputs, failure = t.failure
            FROM unnest(_ended_runs, _ended_nodes, _ended_attempts, _ended_states, _ended_tries, _ended_outputs, _ended_failures)
                AS t(run_id, node, attempt, state, tries, outputs, failure)
            WHERE n.run_id = t.run_id AND n.node = t.node AND n.attempt = t.attempt AND n.state = 3;
        GET DIAGNOSTICS moved = ROW_COUNT;
        IF moved <> cardinality(_ended_runs) THEN
            RAISE EXCEPTION 'only % of % attempts could end', moved, cardinality(_ended_runs) USING ERRCODE = 'MW002';
        END IF;
    END IF;

    UPDATE runs r SET last_event = t.last_event
        FROM unnest(_runs, _last_events) AS t(run_id, last_event)
        WHERE r.run_id = t.run_id;

    INSERT INTO outbox (lease_id, position, payload) VALUES (_lease_id, _position, _payload);
END $$;
