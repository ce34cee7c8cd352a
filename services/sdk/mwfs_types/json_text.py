"""JSON text to objects, strictly: `load_json`. What Python's reader lets through silently is a BadValue here."""

import json
from typing import Any, NoReturn

from mwfs_types.errors import BadValue, show


def load_json(text: str | bytes) -> Any:
    """The object in a JSON document. Raises BadValue for damaged JSON, a key given twice, NaN, Infinity, and absurd nesting."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise BadValue(expected="JSON", found=f"{error.msg} at {where}") from None
    except UnicodeDecodeError:
        raise BadValue(expected="JSON in UTF-8", found="bytes of another encoding") from None
    except RecursionError:
        raise BadValue(expected="JSON of reasonable depth", found="hundreds of levels of nesting") from None
    except ValueError:  # an integer of thousands of digits
        raise BadValue(expected="JSON with numbers of 64 bits", found="an integer of thousands of digits") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise BadValue(expected="each key once", found=f"{show(twice)} twice")
    return result


def _refuse(constant: str) -> NoReturn:
    raise BadValue(expected="a finite number", found=constant, fix="JSON has no NaN and no Infinity; use null.")
