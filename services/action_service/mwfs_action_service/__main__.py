"""`python -m mwfs_action_service`."""

from mwfs_action_service.app import build
from mwfs_chassis.lifecycle import run_service

if __name__ == "__main__":
    run_service("action_service", build)
