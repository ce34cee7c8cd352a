"""Which of several scheduler processes decides, and what the others answer meanwhile."""
