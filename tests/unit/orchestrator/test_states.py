"""The states are the same in the code, in the contract and in the database."""

import re
from importlib import resources
from pathlib import Path

from mwfs_api.events.v1 import events_pb2
from mwfs_orchestrator.state_diagrams import with_diagrams
from mwfs_orchestrator.states import (
    NODE_ENDED,
    NODE_TRANSITIONS,
    RUN_ENDED,
    RUN_TRANSITIONS,
    AttemptState,
    NodeState,
    RunState,
)


def test_states_have_the_numbers_of_the_contract() -> None:
    for mine, theirs, prefix in (
        (RunState, events_pb2.RunState, "RUN_STATE_"),
        (NodeState, events_pb2.NodeState, "NODE_STATE_"),
    ):
        contract = {name.removeprefix(prefix): number for name, number in theirs.items() if number}
        assert {state.name: state.value for state in mine} == contract
    contract = {name.removeprefix("ATTEMPT_STATE_"): number for name, number in events_pb2.AttemptState.items()}
    assert {state.name: contract[state.name] for state in AttemptState} == {s.name: s.value for s in AttemptState}


def test_the_database_allows_exactly_these_states() -> None:
    schema = (resources.files("mwfs_orchestrator.shard") / "schema.sql").read_text()
    ranges = [(int(low), int(high)) for low, high in re.findall(r"CHECK \(state BETWEEN (\d+) AND (\d+)\)", schema)]
    assert ranges == [(min(RunState), max(RunState)), (min(NodeState), max(NodeState))]
    ended = re.search(r"WHERE state < (\d+)", schema)
    assert ended is not None
    assert set(RUN_ENDED) == {state for state in RunState if state >= int(ended.group(1))}


def test_every_state_says_where_it_leads_and_ended_nodes_lead_nowhere_but_into_another_round() -> None:
    assert set(RUN_TRANSITIONS) == set(RunState)
    assert set(NODE_TRANSITIONS) == set(NodeState)
    assert all(set(NODE_TRANSITIONS[state]) <= {NodeState.PENDING} for state in NODE_ENDED)


def test_the_diagrams_in_the_readme_are_drawn_from_the_tables() -> None:
    readme = (Path(__file__).parents[3] / "services/orchestrator/README.md").read_text()
    assert with_diagrams(readme) == readme, (
        "run: python -m mwfs_orchestrator.state_diagrams services/orchestrator/README.md"
    )
