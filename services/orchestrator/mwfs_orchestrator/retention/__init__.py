"""Ended runs on their way to the archive, and what is known of those that are there."""
