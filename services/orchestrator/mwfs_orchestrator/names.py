"""What names, digests and ids from outside may look like. Everything else is refused before it reaches a database."""

import re
from collections.abc import Mapping
from typing import Final
from uuid import UUID

from mwfs_chassis.errors import InvalidArgument

_WORKFLOW = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_PREFIX = re.compile(r"[0-9a-f]{4,32}")
_MAX_NAME: Final = 512
_MAX_TAGS: Final = 32
_MAX_TAG: Final = 256


def check_workflow(name: str) -> None:
    """Raises InvalidArgument unless it is `module:qualname`."""
    if len(name) > _MAX_NAME or not _WORKFLOW.fullmatch(name):
        raise InvalidArgument(
            f"{name[:80]!r} is not the name of a workflow.", "Write module:name, such as my.training:train."
        )


def check_request_id(request_id: str) -> None:
    if not _REQUEST_ID.fullmatch(request_id):
        raise InvalidArgument("The request id must have 1 to 128 visible ASCII characters.")


def check_digest(digest: str, what: str) -> None:
    if not _DIGEST.fullmatch(digest):
        raise InvalidArgument(f"The {what} {digest[:80]!r} is not `sha256:` and 64 hexadecimal digits.")


def check_tags(tags: Mapping[str, str]) -> None:
    if len(tags) > _MAX_TAGS:
        raise InvalidArgument(f"There are {len(tags)} tags; at most {_MAX_TAGS} are allowed.")
    for key, value in tags.items():
        if not 0 < len(key) <= _MAX_TAG or len(value) > _MAX_TAG or not (key + value).isprintable():
            raise InvalidArgument(f"The tag {key[:80]!r} must be printable and at most {_MAX_TAG} characters.")


def id_range(text: str) -> tuple[UUID, UUID]:
    """First and last run id that begin with `text`: both the same for a whole id. Raises InvalidArgument."""
    digits = text.replace("-", "").lower()
    if not _PREFIX.fullmatch(digits):
        raise InvalidArgument(
            f"{text[:80]!r} is not a run id, or the first four or more characters of one.",
            "List runs with `mwfs runs list`.",
        )
    return UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
