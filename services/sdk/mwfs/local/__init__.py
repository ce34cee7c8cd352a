"""Running a Dag in this process, with everything that the platform does to its nodes but the waiting."""
