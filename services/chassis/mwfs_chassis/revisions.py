"""Which revision of its tables a package is at, read from its files without loading Alembic."""

import re
from importlib import resources


def version_table(package: str) -> str:
    """Where a package's revision is recorded."""
    return f"alembic_version_{package.replace('.', '_')}"


def newest_revision(package: str) -> str | None:
    """The revision that no other one follows, read from the files' text; None when there is not exactly one."""
    revisions: set[str] = set()
    followed: set[str] = set()
    for file in (resources.files(package) / "migrations" / "versions").iterdir():
        if file.name.endswith(".py"):
            text = file.read_text(encoding="utf-8")
            revisions.update(re.findall(r"^revision\b[^=]*=\s*[\"'](\w+)[\"']", text, flags=re.MULTILINE))
            followed.update(re.findall(r"^down_revision\b[^=]*=\s*[\"'](\w+)[\"']", text, flags=re.MULTILINE))
    newest = revisions - followed
    return newest.pop() if len(newest) == 1 else None
