"""Workflows to run, read and copy. They need the extra `examples`, and `digits` the extra `torch`."""
