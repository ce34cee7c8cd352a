"""`python -m mwfs_scheduler`."""

from mwfs_chassis.lifecycle import run_service
from mwfs_scheduler.app import build

if __name__ == "__main__":
    run_service("scheduler", build)
