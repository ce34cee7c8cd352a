"""Quotas of teams in the catalogue: kept, changed, shown, and given to the engine."""
