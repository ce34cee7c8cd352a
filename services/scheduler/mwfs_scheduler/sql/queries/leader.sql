-- name: read_leader
-- Who leads, and whether the lease has run out, by the database's clock. One row; asked by each process that stands by, several times a second.
SELECT epoch, instance, address, (extract(epoch FROM start_time) * 1000000)::bigint AS since_us, expires_at <= clock_timestamp() AS free
FROM scheduler_leader

-- name: take_lead
-- A higher epoch than all before, and the lease. No row: somebody else's lease has not run out. The same instance need not wait: it has been started
-- again. Of two at once the second waits here for the first, and finds its lease.
INSERT INTO scheduler_leader AS leader (id, epoch, instance, address, start_time, expires_at)
VALUES (1, 1, $1, $2, now(), clock_timestamp() + make_interval(secs => $3))
ON CONFLICT (id) DO UPDATE
SET epoch = leader.epoch + 1, instance = excluded.instance, address = excluded.address, start_time = excluded.start_time,
    expires_at = clock_timestamp() + make_interval(secs => $3)
WHERE leader.expires_at <= clock_timestamp() OR leader.instance = excluded.instance
RETURNING epoch

-- name: renew_lead
-- The lease from now on. No row: another has taken the lead. A lease that has run out may be renewed as long as nobody has taken it.
UPDATE scheduler_leader SET expires_at = clock_timestamp() + make_interval(secs => $3), address = $2
WHERE epoch = $1
RETURNING epoch

-- name: leave_lead
-- Others need not wait for the end of the lease.
UPDATE scheduler_leader SET expires_at = '-infinity' WHERE epoch = $1

-- name: known_replicas
-- A handful of rows, read once at start.
SELECT replica FROM scheduler_replica

-- name: note_replica
-- Written before the first grant to a replica, so that a successor knows whom to wait for.
INSERT INTO scheduler_replica (replica, hello_time) VALUES ($1, now())
ON CONFLICT (replica) DO UPDATE SET hello_time = excluded.hello_time

-- name: forget_replica
-- Written when the grants of a replica have been freed.
DELETE FROM scheduler_replica WHERE replica = $1
