"""The whole tree of teams in one file, TOML or JSON, to be applied as it is written. Pure but for reading the file."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from mwfs_scheduler.quotas import BadQuotas, Quotas, TeamQuota, check
from mwfs_scheduler.team_quotas.amounts import NONE, amount_of, weight_of

MAX_BYTES: Final = 16 << 20
_KEYS: Final = ("parent", "weight", "guaranteed", "burst")
#: Further keys of a team as `mwfs quotas show --output json` prints it, so that its output can be applied.
_SHOWN: Final = ("team", "counted_guarantee", "in_use", "waiting")
_FORMAT: Final = (
    'Write such as [teams.ads] with parent = "org", weight = 2, guaranteed = {gpu = 8}, burst = {gpu = 16}.'
)


def read_file(path: str) -> Quotas:
    """Raises BadQuotas, also when the file cannot be read."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadQuotas(f"{path} cannot be read: {error.strerror}.", "Name a TOML or JSON file.") from None
    if len(data) > MAX_BYTES:
        raise BadQuotas(f"{path} is larger than {MAX_BYTES >> 20} MiB.", "Name a file of quotas.")
    try:
        text = data.decode()
        document = (
            json.loads(text, parse_float=Decimal)
            if path.lower().endswith(".json")
            else tomllib.loads(text, parse_float=Decimal)
        )
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.lower().endswith(".json") else "TOML"
        raise BadQuotas(f"{path} is not {kind}: {str(error)[:200]}.", _FORMAT) from None
    return quotas_of(document)


def quotas_of(document: Any) -> Quotas:
    """The tree that a parsed file describes. Raises BadQuotas."""
    if not isinstance(document, dict) or "teams" not in document:
        raise BadQuotas("The file has no teams.", _FORMAT)
    for key in document:
        if key not in ("teams", "version", "capacity", "notes"):
            raise BadQuotas(f"The file has no key {str(key)[:80]!r}.", _FORMAT)
    teams = tuple(_team(name, row) for name, row in _rows(document["teams"]))
    quotas = Quotas(teams=tuple(sorted(teams, key=lambda quota: quota.team)))
    check(quotas)
    return quotas


def _rows(teams: Any) -> list[tuple[str, Mapping[str, Any]]]:
    if isinstance(teams, dict):
        rows = list(teams.items())
    elif isinstance(teams, list):
        rows = [(row.get("team") if isinstance(row, dict) else None, row) for row in teams]
    else:
        raise BadQuotas("The teams of the file are no table.", _FORMAT)
    for name, row in rows:
        if not isinstance(name, str) or not isinstance(row, dict):
            raise BadQuotas(f"A team of the file is no table with a name: {str(row)[:80]}.", _FORMAT)
    return rows


def _team(name: str, row: Mapping[str, Any]) -> TeamQuota:
    where = f"Team {name[:80]!r}"
    for key in row:
        if key not in _KEYS and key not in _SHOWN:
            raise BadQuotas(f"{where} has no key {str(key)[:80]!r}; it has {', '.join(_KEYS)}.", _FORMAT)
    parent = row.get("parent")
    if parent is not None and not isinstance(parent, str):
        raise BadQuotas(f"{where}: the parent must be the name of a team.", _FORMAT)
    return TeamQuota(
        team=name,
        parent=parent or None,
        weight=weight_of(1 if row.get("weight") is None else row["weight"]),
        guaranteed=_amounts(row.get("guaranteed"), f"{where}, guaranteed"),
        burst=_amounts(row.get("burst"), f"{where}, burst"),
    )


def _amounts(given: Any, where: str) -> dict[str, int] | None:
    if given is None:
        return None
    if not isinstance(given, dict):
        raise BadQuotas(f"{where}: amounts by resource are needed.", _FORMAT)
    return {name: amount_of(name, amount) for name, amount in given.items() if amount is not None and amount != NONE}
