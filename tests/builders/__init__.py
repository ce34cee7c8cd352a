"""Makers of test data; each imports only what it makes."""
