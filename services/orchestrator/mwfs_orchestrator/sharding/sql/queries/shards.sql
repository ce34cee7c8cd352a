-- name: lock_map
-- Changes of shards and of the slot map are made one after another.
SELECT version, platform FROM slot_map_version FOR UPDATE

-- name: read_version
SELECT version, platform FROM slot_map_version

-- name: change_map
-- Before the commit of each change; heard after it.
WITH changed AS (UPDATE slot_map_version SET version = version + 1 RETURNING version)
SELECT version, pg_notify('mwfs_shards', '') FROM changed

-- name: announce
-- Again, for those who may not have heard it.
SELECT pg_notify('mwfs_shards', '')

-- name: read_shards
SELECT shard, database, identity, state, planned FROM shards ORDER BY shard

-- name: read_map
SELECT slot, shard FROM slot_map ORDER BY slot

-- name: fill_map
INSERT INTO slot_map (slot, shard) SELECT * FROM unnest($1::integer[], $2::integer[])

-- name: insert_shard
INSERT INTO shards (shard, database, identity, state, create_us) SELECT coalesce(max(shard) + 1, 0), $1, $2, 1, $3 FROM shards RETURNING shard

-- name: set_shard
UPDATE shards SET state = $2, planned = $3 WHERE shard = $1

-- name: set_database
UPDATE shards SET database = $2 WHERE shard = $1 AND database <> $2

-- name: count_moves
SELECT count(*) FROM slot_moves

-- name: read_moves
SELECT slot, source, target, state, attempt, version FROM slot_moves ORDER BY slot

-- name: moves_of
-- How many slots leave or come to a shard, by state of the move.
SELECT state, count(*) AS slots FROM slot_moves WHERE source = $1 OR target = $1 GROUP BY state

-- name: want_moves
INSERT INTO slot_moves (slot, source, target) SELECT slot, m.shard, t.target FROM unnest($1::integer[], $2::integer[]) AS t (slot, target) JOIN slot_map m USING (slot)

-- name: begin_moves
-- One more try of these moves, if no other has been made meanwhile.
UPDATE slot_moves m SET state = 2, attempt = m.attempt + 1 FROM unnest($1::integer[], $2::integer[]) AS t (slot, attempt)
    WHERE m.slot = t.slot AND m.attempt = t.attempt AND m.state < 3 RETURNING m.slot, m.attempt

-- name: want_again
-- The try has failed: nobody who goes on with it changes anything.
UPDATE slot_moves m SET state = 1, attempt = m.attempt + 1 FROM unnest($1::integer[], $2::integer[]) AS t (slot, attempt)
    WHERE m.slot = t.slot AND m.attempt = t.attempt AND m.state < 3 RETURNING m.slot

-- name: flip_moves
-- The map is about to say target.
UPDATE slot_moves m SET state = 3, version = $3 FROM unnest($1::integer[], $2::integer[]) AS t (slot, attempt)
    WHERE m.slot = t.slot AND m.attempt = t.attempt AND m.state = 2 RETURNING m.slot

-- name: flip_map
UPDATE slot_map SET shard = $2, epoch = epoch + 1 WHERE slot = ANY($1::integer[]) AND shard = $3 RETURNING slot

-- name: end_moves
DELETE FROM slot_moves WHERE slot = ANY($1::integer[]) AND state = 3

-- name: forget_wanted
-- The slots of a shard that nobody has tried to move yet stay.
DELETE FROM slot_moves WHERE source = $1 AND state = 1 AND attempt = 0

-- name: call_off
-- Those that somebody has: no try of theirs ends any more.
UPDATE slot_moves SET state = 4, attempt = attempt + 1 WHERE source = $1 AND state < 3 RETURNING slot

-- name: call_on
-- They are to move after all.
UPDATE slot_moves SET state = 1, attempt = attempt + 1 WHERE source = $1 AND state = 4

-- name: are_tries
-- How many of these tries may still end.
SELECT count(*) FROM slot_moves m JOIN unnest($1::integer[], $2::integer[]) AS t (slot, attempt) USING (slot, attempt) WHERE m.state = 2

-- name: begin_undoing
-- One more try to remove what was copied.
UPDATE slot_moves m SET attempt = m.attempt + 1 FROM unnest($1::integer[], $2::integer[]) AS t (slot, attempt)
    WHERE m.slot = t.slot AND m.attempt = t.attempt AND m.state = 4 RETURNING m.slot, m.attempt

-- name: end_undoing
DELETE FROM slot_moves m USING unnest($1::integer[], $2::integer[]) AS t (slot, attempt)
    WHERE m.slot = t.slot AND m.attempt = t.attempt AND m.state = 4

-- name: drained
-- Whether nothing of the shard is left to move.
SELECT NOT EXISTS (SELECT 1 FROM slot_moves WHERE source = $1 OR target = $1) AND NOT EXISTS (SELECT 1 FROM slot_map WHERE shard = $1)
