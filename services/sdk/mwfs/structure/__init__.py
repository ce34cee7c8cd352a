"""Dynamic structure: maps, branches, loops, races and fallbacks, compiled into bodies that an engine makes nodes of."""
