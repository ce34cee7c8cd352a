"""Who makes room for whom (C6 to C11): whom a request may ask, in what order they would leave, and the room while they do."""
