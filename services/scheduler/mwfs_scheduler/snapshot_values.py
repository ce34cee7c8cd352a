"""The values of a snapshot file: each is checked, and what is wrong with one is said with its place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from decimal import Context, Decimal, DecimalException
from fractions import Fraction
from typing import Any, Final, NoReturn

from mwfs_scheduler.fair_share.model import Knobs, Selector, Time

#: Bounds of what is believed. A time may be nanoseconds since 1970.
MAX_AMOUNT: Final = 10**15
MAX_TIME: Final = 10**19
MAX_DIGITS: Final = 12
MAX_ID: Final = 500
#: Digits enough for any number within these bounds.
_ROUNDING: Final = Context(prec=64)
#: Of what was found so much is shown.
_SHOWN: Final = 60

_CHOICES: Final = {
    "reclaim_priority": ("any", "lower_or_equal", "lower"),
    "share_basis": ("borrowed", "total"),
    "backfill": ("none", "easy"),
}
_KNOBS: Final = frozenset(each.name for each in fields(Knobs))


class BadSnapshot(ValueError):
    """Where in the file, what was expected and what was found."""


def parse(text: bytes | str) -> Any:
    """The JSON of a snapshot, with exact numbers. Raises BadSnapshot."""
    try:
        data = json.loads(text, parse_float=_exact, parse_constant=_constant, object_pairs_hook=_object)
    except RecursionError:
        raise BadSnapshot("The file nests too deeply to be a snapshot.") from None
    except ValueError as error:
        if isinstance(error, BadSnapshot):
            raise
        raise BadSnapshot(f"The file is not JSON: {error}.") from None
    except MemoryError:
        raise BadSnapshot("The file is too large for the memory of this machine.") from None
    if (b"\\ud" in text.lower() if isinstance(text, bytes) else "\\ud" in text.lower()) and _has_half(data):
        raise BadSnapshot("The file contains half of a character (\\ud800 to \\udfff alone), which no text has.")
    return data


def _constant(name: str) -> NoReturn:
    raise BadSnapshot(f"The file contains {name}; amounts and times must be finite numbers.")


def _exact(text: str) -> Decimal:
    try:
        return Decimal(text)
    except DecimalException:
        raise BadSnapshot(f"The file contains {cut(text)}, which is no amount and no time.") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise BadSnapshot(f"An object of the file has the key {cut(twice)!r} twice; which of them holds is not clear.")
    return found


def _has_half(data: Any) -> bool:
    try:
        json.dumps(data, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return True
    return False


# --- what was found, in words ---------------------------------------------------------------------------------------


def cut(text: str) -> str:
    """The text, or its beginning."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def found(value: Any) -> str:
    """The value for a message of one line."""
    if isinstance(value, (dict, list)):
        return kind(value)
    return cut(repr(value) if isinstance(value, str) else str(value))


def kind(value: Any) -> str:
    """What sort of value it is."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "nothing"}
    return names.get(type(value), "a number")


def place(where: str, key: str) -> str:
    """The place of a key; one that cannot be printed as it is comes in quotes."""
    return f"{where}.{key if key.isprintable() and len(key) <= _SHOWN else cut(repr(key))}"


# --- values ---------------------------------------------------------------------------------------------------------


def record(value: Any, where: str, keys: Iterable[str] | None) -> Mapping[str, Any]:
    """An object with no other keys than these."""
    if not isinstance(value, dict):
        raise BadSnapshot(f"{where} must be an object; found {kind(value)}.")
    if keys is not None:
        for key in value:
            if key not in keys:
                raise BadSnapshot(f"{where} has no key {cut(key)!r}; it has {', '.join(sorted(keys))}.")
    return value


def id_of(row: Mapping[str, Any], where: str) -> str:
    """The name of a row."""
    id = row.get("id")
    if not isinstance(id, str) or not id or len(id) > MAX_ID:
        raise BadSnapshot(f"{where}.id must be a string of 1 to {MAX_ID} characters; found {found(id)}.")
    return id


def time(value: Any, where: str, default: Time) -> Time:
    """Seconds, or another number that may be below 0."""
    return _number(value, where, default, MAX_TIME)


def not_negative(value: Any, where: str, default: Time) -> Time:
    """Seconds that pass."""
    seconds = time(value, where, default)
    if seconds < 0:
        raise BadSnapshot(f"{where} must not be negative; found {found(value)}.")
    return seconds


def weight(value: Any, where: str) -> Fraction:
    """Above 0."""
    number = _number(value, where, 1, MAX_AMOUNT)
    if number <= 0:
        raise BadSnapshot(f"{where} must be above 0; found {found(value)}.")
    return Fraction(number)


def whole(value: Any, where: str, default: int) -> int:
    """A whole number."""
    number = _number(value, where, default, MAX_AMOUNT)
    if not isinstance(number, int):
        raise BadSnapshot(f"{where} must be a whole number; found {found(value)}.")
    return number


def _number(value: Any, where: str, default: Time, most: int) -> Time:
    if value is None:
        return default
    if type(value) is int and -most <= value <= most:
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise BadSnapshot(f"{where} must be a number; found {found(value)}.")
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not exact.is_finite() or not -most <= exact <= most:
        raise BadSnapshot(f"{where} must be at most {most:,}; found {found(value)}.")
    if int(exact.as_tuple().exponent) < -MAX_DIGITS:
        exact = exact.quantize(Decimal(1).scaleb(-MAX_DIGITS), context=_ROUNDING)
    fraction = Fraction(exact)
    return int(fraction) if fraction.denominator == 1 else fraction


def flag(value: Any, where: str, default: bool) -> bool:
    """True or false."""
    if value is None:
        return default
    if not isinstance(value, bool):
        raise BadSnapshot(f"{where} must be true or false; found {found(value)}.")
    return value


def amounts(value: Any, where: str) -> Mapping[str, Time]:
    """An amount for each resource that is named with one."""
    if value is None:
        return {}
    given = record(value, where, None)
    for amount in given.values():
        if type(amount) is not int or not 0 <= amount <= MAX_AMOUNT:
            break
    else:
        return given
    read = {}
    for name, amount in given.items():
        if amount is None:
            continue
        exact = _number(amount, place(where, name), 0, MAX_AMOUNT)
        if exact < 0:
            raise BadSnapshot(f"{place(where, name)} must not be negative; found {found(amount)}.")
        read[name] = exact
    return read


def labels(value: Any, where: str) -> Selector:
    """Of each label the values that will do."""
    if value is None:
        return ()
    read = []
    for key, wanted in sorted(record(value, f"{where}.labels", None).items()):
        if wanted is None:
            continue
        values = wanted if isinstance(wanted, list) else [wanted]
        if not values or not all(isinstance(each, (str, int, bool)) for each in values):
            raise BadSnapshot(f"{place(f'{where}.labels', key)} must be a value or a list of values that will do.")
        read.append((key, tuple(sorted({str(each) for each in values}))))
    return tuple(read)


def labels_of_node(value: Any, where: str) -> dict[str, str]:
    """A node has one value of each label."""
    read = {}
    for key, values in labels(value, where):
        if isinstance(value[key], list):
            raise BadSnapshot(f"{place(f'{where}.labels', key)} must be one value; found a list.")
        read[key] = values[0]
    return read


def knobs(value: Any) -> Knobs:
    """The knobs of the contract (C11)."""
    read: dict[str, Any] = {}
    for name, setting in record({} if value is None else value, "knobs", _KNOBS).items():
        where = f"knobs.{name}"
        if setting is None:
            continue
        if name in _CHOICES:
            if setting not in _CHOICES[name]:
                raise BadSnapshot(f"{where} must be one of {', '.join(_CHOICES[name])}; found {found(setting)}.")
            read[name] = setting
        elif name == "rank":
            if not isinstance(setting, (str, bool)) or setting not in ("on", "off", True, False):
                raise BadSnapshot(f"{where} must be on or off; found {found(setting)}.")
            read[name] = setting in ("on", True)
        elif name == "fair_preemption":
            read[name] = flag(setting, where, False)
        elif name == "max_preemptions_per_job":
            read[name] = whole(setting, where, 0)
            if read[name] < 0:
                raise BadSnapshot(f"{where} must not be negative; found {found(setting)}.")
        else:
            read[name] = not_negative(setting, where, 0)
            if name == "half_life_s" and not read[name]:
                raise BadSnapshot(f"{where} must be above 0; found {found(setting)}.")
    return Knobs(**read)
