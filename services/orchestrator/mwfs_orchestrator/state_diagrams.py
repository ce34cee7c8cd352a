"""The README's diagrams of states, drawn from the tables: `python -m mwfs_orchestrator.state_diagrams services/orchestrator/README.md` writes them there."""

import sys
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path
from typing import Final, TypeVar

from .states import NODE_ENDED, NODE_TRANSITIONS, RUN_ENDED, RUN_TRANSITIONS, NodeState, RunState

S = TypeVar("S", bound=IntEnum)

_BEGIN: Final = "<!-- begin: drawn by mwfs_orchestrator.state_diagrams -->"
_END: Final = "<!-- end -->"


def diagram(first: S, table: Mapping[S, Mapping[S, str]], ended: frozenset[S]) -> str:
    """A table as a Mermaid state diagram. States that lead nowhere and come from nowhere are left out."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {first.name}"]
    for state, following in table.items():
        lines += [f"    {state.name} --> {after.name}: {why}" for after, why in following.items()]
    reached = {after for following in table.values() for after in following}
    lines += [f"    {state.name} --> [*]" for state in table if state in ended and state in reached]
    return "\n".join([*lines, "```"])


def with_diagrams(readme: str) -> str:
    """The README with its diagrams as they should be."""
    before, _, rest = readme.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    drawn = (
        "A run:",
        diagram(RunState.ACCEPTED, RUN_TRANSITIONS, RUN_ENDED),
        "A node:",
        diagram(NodeState.PENDING, NODE_TRANSITIONS, NODE_ENDED),
    )
    return "\n\n".join((before + _BEGIN, *drawn, _END + after))


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_diagrams(path.read_text()))
