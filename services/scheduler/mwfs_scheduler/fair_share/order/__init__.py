"""Whose turn it is: inside a team (C3) and between teams (C4)."""
