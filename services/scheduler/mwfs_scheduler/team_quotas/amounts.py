"""Amounts of resources as people write and read them: `gpu=8,cpu=64,memory=512GiB`. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Final

from mwfs_scheduler.quotas import MAX_AMOUNT, BadQuotas, check_resource

NONE: Final = "none"
_MAX_TEXT: Final = 100
_NUMBER: Final = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?)\s*([A-Za-z]*)")
_BYTES: Final[Mapping[str, int]] = {
    "": 1,
    "B": 1,
    **{f"{letter}{byte}": 1000**power for power, letter in enumerate("KMGTP", 1) for byte in ("", "B")},
    **{f"{letter}i{byte}": 1024**power for power, letter in enumerate("KMGTP", 1) for byte in ("", "B")},
}
_SHOWN: Final = (("PiB", 1 << 50), ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))


def parse(text: str) -> dict[str, int | None]:
    """Amounts in the units of the engine, of `RESOURCE=AMOUNT,…`; None where the text says none. Raises BadQuotas."""
    amounts: dict[str, int | None] = {}
    for part in text.split(","):
        resource, equals, amount = (each.strip() for each in part.partition("="))
        if not equals:
            raise BadQuotas(
                f"{part[:_MAX_TEXT]!r} is not RESOURCE=AMOUNT.", "Write such as gpu=8,cpu=64,memory=512GiB."
            )
        if resource in amounts:
            raise BadQuotas(f"{resource} is there twice in {text[:_MAX_TEXT]!r}.", "Name each resource once.")
        check_resource(resource)
        amounts[resource] = None if amount == NONE else amount_of(resource, amount)
    return amounts


def amount_of(resource: str, given: object) -> int:
    """An amount in the unit of the engine: of cores, of bytes or with a unit of memory, of GPUs, of whole units of all else. Raises BadQuotas."""
    kind = check_resource(resource)
    number, unit = _split(resource, given)
    if unit and kind != "memory":
        raise _bad(resource, given, "A number without a unit is meant.")
    if unit not in _BYTES:
        raise _bad(resource, given, "Units of memory are KiB, MiB, GiB, TiB, PiB, and KB to PB.")
    exact = number * {"cpu": 1000, "memory": _BYTES[unit], "gpu": 1, "custom": 1}[kind]
    if exact.denominator != 1 and kind != "memory":
        what = "Cores come in thousandths." if kind == "cpu" else f"{resource} comes in whole units."
        raise _bad(resource, given, what)
    if exact > MAX_AMOUNT[kind]:
        raise _bad(resource, given, f"At most {shown(resource, MAX_AMOUNT[kind])} is believed.")
    return int(exact)


def _split(resource: str, given: object) -> tuple[Fraction, str]:
    if isinstance(given, str):
        found = _NUMBER.fullmatch(given[:_MAX_TEXT].strip())
        if found is None:
            raise _bad(resource, given, "Write a number that is not negative, such as 8, or 512GiB of memory.")
        return Fraction(found[1].replace("_", "")), found[2]
    if isinstance(given, bool) or not isinstance(given, (int, float, Decimal)):
        raise _bad(resource, given, "Write a number, or memory with its unit in quotes.")
    try:
        number = Fraction(Decimal(repr(given)) if isinstance(given, float) else given)
    except (InvalidOperation, ValueError, OverflowError):
        raise _bad(resource, given, "Amounts are finite.") from None
    if number < 0:
        raise _bad(resource, given, "Amounts are not negative.")
    return number, ""


def _bad(resource: str, given: object, next_step: str) -> BadQuotas:
    return BadQuotas(f"{str(given)[:_MAX_TEXT]!r} is not an amount of {resource}.", next_step)


def weight_of(given: object) -> Fraction:
    """A weight as it is written. Raises BadQuotas when it is not a number; `check` knows which numbers will do."""
    try:
        if isinstance(given, bool) or not isinstance(given, (int, float, str, Decimal)):
            raise ValueError
        exact = Decimal(repr(given) if isinstance(given, float) else str(given)[:_MAX_TEXT])
        if not exact.is_finite() or abs(exact.adjusted()) > 20:
            raise ValueError
    except (InvalidOperation, ValueError):
        raise BadQuotas(
            f"{str(given)[:_MAX_TEXT]!r} is not a weight.", "Write a number above 0, such as 2 or 0.5."
        ) from None
    return Fraction(exact)


def document(amounts: Mapping[str, int] | None) -> dict[str, int | float] | None:
    """As JSON has it: cores, bytes, GPUs."""
    if amounts is None:
        return None
    return {name: _plain(name, amount) for name, amount in sorted(amounts.items())}


def _plain(resource: str, amount: int) -> int | float:
    return amount if resource != "cpu" else amount // 1000 if amount % 1000 == 0 else amount / 1000


def shown(resource: str, amount: int) -> str:
    """`8`, `0.5`, `512 GiB`: exact, with the largest unit in which it is short."""
    if resource == "memory":
        for unit, size in _SHOWN:
            if amount >= size:
                text = f"{amount / size:.2f}".rstrip("0").rstrip(".")
                return f"{text} {unit}"
        return f"{amount} B"
    return f"{_plain(resource, amount):,}"


def listed(amounts: Mapping[str, int] | None, *, empty: str = "") -> str:
    """`cpu 64, gpu 8, memory 512 GiB`, in that order."""
    if not amounts:
        return empty
    return ", ".join(f"{name} {shown(name, amount)}" for name, amount in sorted(amounts.items()))
