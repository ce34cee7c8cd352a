"""What waits, and which of it there is a reason to look at."""
