"""Runs attempts on one host: warm worker processes, outcomes kept until acknowledged, logs, and the object store's door."""
