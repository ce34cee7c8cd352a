-- Empties a part of the outbox when all its commits are in `run_events`; false when they are not, or when there is nothing to empty.
-- Whoever reads the part at this moment makes it fail after 50 ms (lock_not_available): commits wait for this lock.
CREATE FUNCTION trim_outbox(_part integer) RETURNS boolean LANGUAGE plpgsql SET lock_timeout = '50ms' SET enable_seqscan = off AS $$
DECLARE
    whole regclass := format('outbox_%s', _part);
    unfolded text := format(
        'SELECT EXISTS (SELECT 1 FROM leases l LEFT JOIN history_cursors c USING (lease_id) CROSS JOIN LATERAL '
        '(SELECT 1 FROM %s o WHERE o.lease_id = l.lease_id AND o.position > coalesce(c.position, 0) LIMIT 1) AS waiting)', whole);
    waiting boolean;
BEGIN
    IF pg_relation_size(whole) = 0 THEN
        RETURN false;
    END IF;
    EXECUTE unfolded INTO waiting;
    IF waiting THEN
        RETURN false;
    END IF;
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', whole);
    EXECUTE unfolded INTO waiting;
    IF waiting THEN
        RETURN false;
    END IF;
    EXECUTE format('TRUNCATE %s', whole);
    RETURN true;
END $$;
