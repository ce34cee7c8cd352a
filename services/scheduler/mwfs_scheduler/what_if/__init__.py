"""What the scheduler would do if something were different."""
