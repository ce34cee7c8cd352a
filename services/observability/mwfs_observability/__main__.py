"""`python -m mwfs_observability`."""

from mwfs_chassis.lifecycle import run_service
from mwfs_observability.app import build

if __name__ == "__main__":
    run_service("observability", build)
