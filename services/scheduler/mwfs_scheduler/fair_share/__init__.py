"""The decision engine: who runs next, where, and who makes room. Pure: no clock, no I/O, exact integers.

`decide.decide(cluster)` is one round. A `cluster` changes by messages in between, and keeps what was worked out, so that a round looks
only at what has changed. Rules by package: `order` (C3, C4), `leaving` (C6 to C11), `keeping` (backfill); `state` and `waiting` are what they look at.
"""
