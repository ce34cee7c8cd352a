"""Which runs a list shows: what was asked, checked, and the question that finds it by an index."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import md5
from typing import Final
from uuid import UUID

from mwfs_api.orchestrator.v1 import orchestrator_pb2 as pb
from mwfs_chassis.errors import InvalidArgument

from .names import check_tags, check_workflow
from .states import RunState

_MAX_TEXT: Final = 200
_MAX_TIME: Final = 1 << 62
_ALL_STATES: Final = tuple(int(state) for state in RunState)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """What is empty lets everything through."""

    team: str
    states: tuple[int, ...] = ()
    workflow: str = ""
    created_after_us: int = 0
    #: Exclusive.
    created_before_us: int = _MAX_TIME
    tags: Mapping[str, str] = field(default_factory=dict)
    text: str = ""

    def question(self) -> tuple[str, list[object]]:
        """The name of the query that uses the narrowest index, and its arguments after the first five."""
        states = list(self.states or _ALL_STATES)
        tags = json.dumps(dict(self.tags))
        if self.text:
            return "list_runs_matching", [states, self.workflow, tags, self.text]
        if self.tags:
            return "list_runs_tagged", [states, self.workflow, tag_digest(*next(iter(self.tags.items()))), tags]
        if self.workflow:
            return "list_runs_of_workflow", [states, self.workflow]
        if self.states:
            return "list_runs_in_states", [states]
        return "list_runs", []


def tag_digest(name: str, value: str) -> UUID:
    """As the function of the same name in the shard computes it."""
    return UUID(md5(f"{name}={value}".encode(), usedforsecurity=False).hexdigest())


def filter_of(team: str, request: pb.ListRunsRequest) -> RunFilter:
    """Raises InvalidArgument."""
    states = tuple(dict.fromkeys(int(state) for state in request.states))
    for state in states:
        if state not in _ALL_STATES:
            raise InvalidArgument(f"{state} is no state of a run.", "Ask for states of RunState.")
    if request.workflow:
        check_workflow(request.workflow)
    check_tags(request.tags)
    if len(request.text) > _MAX_TEXT or not request.text.isprintable():
        raise InvalidArgument(f"The text to look for must be printable and at most {_MAX_TEXT} characters.")
    if request.text and not any(character.isalnum() for character in request.text):
        raise InvalidArgument("The text to look for has no word in it.", "Write letters or digits.")
    before = request.created_before_us or _MAX_TIME
    for time_us in (request.created_after_us, before):
        if not 0 <= time_us <= _MAX_TIME:
            raise InvalidArgument(f"{time_us} is no time in microseconds since 1970.")
    return RunFilter(
        team=team,
        states=states,
        workflow=request.workflow,
        created_after_us=request.created_after_us,
        created_before_us=before,
        tags=dict(request.tags),
        text=request.text,
    )
