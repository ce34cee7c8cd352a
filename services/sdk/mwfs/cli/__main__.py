"""`python -m mwfs.cli`, for environments without the script."""

from mwfs.cli import main

main()
