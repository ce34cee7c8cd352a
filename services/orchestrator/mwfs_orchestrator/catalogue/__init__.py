"""The orchestrator's part of the catalogue: workflow versions and the slot map."""
