"""Read models built from events. Never on the critical path."""
