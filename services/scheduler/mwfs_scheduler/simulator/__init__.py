"""The scheduler on a virtual clock: real traces, the real decision engine, and other policies beside it."""
