"""`mwfs why-miss`: why a node did not take, or would not take, an earlier result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mwfs.cli.options import Home, Output, RunArgument
from mwfs.cli.screen import Format, Screen

if TYPE_CHECKING:
    from mwfs.cache.misses import Entry
    from mwfs.client import BlockingClient
    from mwfs_api.dags.v1 import dag_pb2
    from mwfs_api.orchestrator.v1 import orchestrator_pb2
    from mwfs_api.types.v1 import types_pb2

_EXAMPLES = """Examples:

$ mwfs why-miss 1a2b3c4d 7

$ mwfs why-miss 1a2b3c4d 7 --output json"""


def register(app: typer.Typer) -> None:
    app.command(name="why-miss", epilog=_EXAMPLES)(why_miss)


def why_miss(
    run: RunArgument,
    node: Annotated[
        int, typer.Argument(min=0, help="Number of the node, as `mwfs nodes` shows it.", show_default=False)
    ],
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """Say why no earlier result was taken for a node. Names the part of its key (code, environment, types, an input) that differs from the nearest earlier result."""
    from mwfs.cache.misses import Entry, explain_miss, nearest_of
    from mwfs.client import BlockingClient
    from mwfs.errors import InvalidInput
    from mwfs.replay import is_control
    from mwfs_types.cache_keys import key_of, key_parts

    screen = Screen(output)
    with screen.waiting("Looking at earlier results"), BlockingClient(home) as client:
        found = client.node_inputs(run, node)
        if is_control(found.operator):
            raise InvalidInput(
                f"Node {node} is `{found.operator.qualname}`, which the engine does itself: it has no result to take.",
                f"Ask about one of the nodes that it added: mwfs nodes {found.run_id[:8]}",
            )
        operator, types = _local_types(found)
        parts = key_parts(operator, types, found.arguments)
        name = f"{operator.module}:{operator.qualname}"
        now = Entry(parts=parts)
        earlier = [
            Entry(parts=dict(result.parts), origin=(result.run_id, result.node))
            for result in client.list_results(name, limit=100)
            if (result.run_id, result.node) != (found.run_id, node)
        ]
        nearest = nearest_of(parts, earlier)
        if nearest is not None and nearest.origin is not None:
            now = _with_inside(client, now, found.run_id)
            earlier = [_with_inside(client, nearest, nearest.origin[0])]
    reasons = explain_miss(operator, now, earlier)
    if screen.json:
        screen.document(
            {
                "run_id": found.run_id,
                "node": node,
                "operator": name,
                "key": key_of(parts),
                "parts": parts,
                "reasons": reasons,
            }
        )
    else:
        for reason in reasons:
            screen.print(reason)


def _with_inside(client: BlockingClient, entry: Entry, run_id: str) -> Entry:
    """With what its digests of code and environment are made of, by the Dag of their run; as it is when that is gone."""
    from dataclasses import replace

    from mwfs.errors import NotFound
    from mwfs_types.cache_keys import CODE, ENVIRONMENT

    try:
        rows = client.dag(run_id).digest_parts
    except NotFound:
        return entry
    known = {row.digest: dict(zip(row.names, row.values, strict=True)) for row in rows}
    parts = entry.parts
    return replace(entry, code=known.get(parts[CODE], {}), environment=known.get(parts[ENVIRONMENT], {}))


def _local_types(
    found: orchestrator_pb2.GetNodeInputsResponse,
) -> tuple[dag_pb2.Operator, list[types_pb2.Type]]:
    """The operator with indices into the types that come with the answer."""
    from mwfs_api.dags.v1 import dag_pb2

    operator = dag_pb2.Operator()
    operator.CopyFrom(found.operator)
    rows: list[dag_pb2.Parameter | dag_pb2.Output] = [*operator.parameters, *operator.outputs]
    for index, row in enumerate(rows):
        row.type = index
    return operator, [*found.parameter_types, *found.output_types]
