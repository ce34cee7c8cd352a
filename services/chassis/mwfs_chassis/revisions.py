"""Which revision of its tables a package is at, read from its files without loading Alembic."""

import hashlib
import re
from collections.abc import Iterator
from importlib import resources

_SCRIPT = re.compile(r"""run_script\([^,]+,\s*["']([\w.]+)["'],\s*["']([\w.]+)["']\)""")


def version_table(package: str) -> str:
    """Where a package's revision is recorded; its comment is the `schema_of` that revision."""
    return f"alembic_version_{package.replace('.', '_')}"


def newest_revision(package: str) -> str | None:
    """The revision that no other one follows, read from the files' text; None when there is not exactly one."""
    revisions = _revisions(package)
    newest = revisions.keys() - {follows for follows, _ in revisions.values()}
    return newest.pop() if len(newest) == 1 else None


def schema_of(package: str, revision: str) -> str | None:
    """A fingerprint of all that was put into a database to bring it to this revision; None when the package has no such revision."""
    revisions = _revisions(package)
    if revision not in revisions:
        return None
    found = hashlib.sha256()
    at: str | None = revision
    while at is not None:
        at, text = revisions[at]
        scripts = [(resources.files(of) / name).read_text(encoding="utf-8") for of, name in _SCRIPT.findall(text)]
        for line in _lines(text, *scripts):
            found.update(f"{line}\n".encode())
    return found.hexdigest()[:16]


def _revisions(package: str) -> dict[str, tuple[str | None, str]]:
    """Of each revision the one that it follows, and its text."""
    found: dict[str, tuple[str | None, str]] = {}
    for file in (resources.files(package) / "migrations" / "versions").iterdir():
        if file.name.endswith(".py"):
            text = file.read_text(encoding="utf-8")
            names = _named("revision", text)
            follows = _named("down_revision", text)
            found.update((name, (follows[0] if follows else None, text)) for name in names)
    return found


def _named(name: str, text: str) -> list[str]:
    return re.findall(rf"^{name}\b[^=]*=\s*[\"'](\w+)[\"']", text, flags=re.MULTILINE)


def _lines(*texts: str) -> Iterator[str]:
    """What does something: without blank lines, indentation and comments of SQL."""
    for text in texts:
        for line in text.splitlines():
            bare = line.strip()
            if bare and not bare.startswith("--"):
                yield bare
