-- The newest runs of a team before a position that have all these words, or words that begin so, and are as asked. What it reads follows from the page, and
-- not from how many runs there are: one run after another while more than one in forty is found, or a day has less than four; then by an index that has the words
-- of each day apart, from the newest day on, more days at once where there are none.
CREATE FUNCTION runs_with_words(
    _team text, _before_us bigint, _before_id uuid, _after_us bigint, _limit integer, _states smallint[], _workflow text, _tags jsonb, _text text
) RETURNS SETOF runs LANGUAGE plpgsql STABLE
-- Planned once per connection, perhaps without statistics: by the indexes that are named below, whatever there is.
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    day_us constant bigint := 86400000000;
    patterns text[] := (SELECT array_agg('(?:^|[^[:alnum:]])' || word) FROM unnest(words_of(_text)) AS word);
    -- Of one day, with ? for its mark. The words of the workflow and of the tags only make it narrower, as do states unless all are asked for.
    query text := (SELECT string_agg('''?' || word || ''':*', ' & ') FROM unnest(words_of(_text || ' ' || _workflow || ' ' || _tags::text)) AS word)
        || CASE WHEN _states @> '{6,7,8}' THEN '' ELSE (SELECT ' & (' || string_agg('''?@' || state || '''', ' | ') || ')' FROM unnest(_states) AS state WHERE state >= 6) END;
    days integer := 1;
    -- How much time the runs took that were read one after another.
    span_us bigint;
    newest bigint;
    oldest bigint;
    marked tsquery;
    missing integer := _limit;
    got integer;
BEGIN
    LOOP
        -- Index: runs_by_team.
        RETURN QUERY SELECT * FROM (
                SELECT * FROM runs WHERE team = _team AND (create_us, run_id) < (_before_us, _before_id) AND create_us >= _after_us
                    ORDER BY create_us DESC, run_id DESC LIMIT 4 * _limit
            ) AS r
            WHERE state = ANY (_states) AND (_workflow = '' OR workflow = _workflow) AND tags @> _tags
                AND run_text(workflow, request_id, principal, tags, failure_text) ~ ALL (patterns)
            ORDER BY create_us DESC, run_id DESC LIMIT missing;
        GET DIAGNOSTICS got = ROW_COUNT;
        missing := missing - got;
        IF missing = 0 THEN
            RETURN;
        END IF;
        SELECT create_us, run_id, first_value(create_us) OVER (ORDER BY create_us DESC, run_id DESC) - create_us INTO _before_us, _before_id, span_us
            FROM runs WHERE team = _team AND (create_us, run_id) < (_before_us, _before_id) AND create_us >= _after_us
            ORDER BY create_us DESC, run_id DESC OFFSET 4 * _limit - 1 LIMIT 1;
        IF NOT FOUND THEN
            RETURN;
        END IF;
        EXIT WHEN 10 * got < _limit AND span_us < _limit * day_us;
    END LOOP;

    WHILE missing > 0 LOOP
        SELECT create_us / day_us INTO newest FROM runs WHERE team = _team AND (create_us, run_id) < (_before_us, _before_id) AND create_us >= _after_us
            ORDER BY create_us DESC, run_id DESC LIMIT 1;
        EXIT WHEN NOT FOUND;
        oldest := newest - days + 1;
        SELECT string_agg(replace(query, '?', day_mark(_team, day)), ' | ') INTO marked FROM generate_series(oldest, newest) AS day;
        -- Indexes: runs_by_words; runs_by_state for runs that go on.
        RETURN QUERY WITH ended AS MATERIALIZED (
                SELECT * FROM runs WHERE state >= 6 AND run_words(day_mark(team, create_us / 86400000000), state, run_text(workflow, request_id, principal, tags, failure_text)) @@ marked
            ), going_on AS MATERIALIZED (
                SELECT r.* FROM unnest(_states) AS wanted (state) CROSS JOIN LATERAL (
                    SELECT * FROM runs
                        WHERE team = _team AND runs.state = wanted.state AND (create_us, run_id) < (_before_us, _before_id) AND create_us >= oldest * day_us
                        ORDER BY create_us DESC, run_id DESC OFFSET 0
                ) AS r
                WHERE wanted.state < 6 AND run_text(workflow, request_id, principal, tags, failure_text) ~ ALL (patterns)
            )
            SELECT * FROM (SELECT * FROM ended UNION ALL SELECT * FROM going_on) AS r
                WHERE team = _team AND (create_us, run_id) < (_before_us, _before_id) AND create_us >= greatest(_after_us, oldest * day_us)
                    AND state = ANY (_states) AND (_workflow = '' OR workflow = _workflow) AND tags @> _tags
                ORDER BY create_us DESC, run_id DESC LIMIT missing;
        GET DIAGNOSTICS got = ROW_COUNT;
        missing := missing - got;
        IF got = 0 THEN
            days := least(2 * days, 8);
        END IF;
        _before_us := oldest * day_us;
        _before_id := '00000000-0000-0000-0000-000000000000';
    END LOOP;
END $$;
