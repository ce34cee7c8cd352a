"""MWFS: the life of runs and nodes, kept on PostgreSQL shards."""
