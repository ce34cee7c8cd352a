"""Room that is kept for who cannot start yet: EASY backfill, and ageing."""
