"""The decision engine: who runs next, where, and who makes room. Pure: no clock, no I/O, exact integers."""
