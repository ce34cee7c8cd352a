"""`python -m mwfs_orchestrator`."""

from mwfs_chassis.lifecycle import run_service

from .app import build

if __name__ == "__main__":
    run_service("orchestrator", build)
