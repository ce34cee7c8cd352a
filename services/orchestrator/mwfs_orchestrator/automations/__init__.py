"""Schedules, triggers and backfills: what starts runs by itself, exactly once for each occasion."""
