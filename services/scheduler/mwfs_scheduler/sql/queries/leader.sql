-- name: begin_epoch
-- Each start of a scheduler gets a higher epoch than all before it, even when two start at once.
INSERT INTO scheduler_leader AS leader (id, epoch, start_time)
VALUES (1, 1, now())
ON CONFLICT (id) DO UPDATE SET epoch = leader.epoch + 1, start_time = excluded.start_time
RETURNING epoch

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
