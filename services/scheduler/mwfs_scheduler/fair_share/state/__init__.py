"""What decisions are made from: the tree of teams, the hosts and how much fits on them, past use, and what has changed."""
