"""Shares the machines between teams: grouped requests in, grants out."""
