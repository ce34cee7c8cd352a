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
