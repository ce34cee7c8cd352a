"""The programs that promise to keep the contract: (snapshot, rounds) → decisions."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

from unit.scheduler.contract import reference

Planner = Callable[..., list[dict[str, Any]]]

PLANNERS: dict[str, Planner] = {"reference": reference.plan}
if importlib.util.find_spec("mwfs_scheduler.plan"):
    from mwfs_scheduler.plan import plan as engine_plan

    PLANNERS["engine"] = engine_plan
