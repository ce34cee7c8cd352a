"""One PostgreSQL shard: its slots, its runs, and the group commit."""
