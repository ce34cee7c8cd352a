"""Calling one node of a run again, in this process, on what the run recorded."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mwfs.attempt_context import entered, plain_attempt
from mwfs.cache.local_cache import artifacts_in
from mwfs.errors import InvalidInput
from mwfs.failures import describe_exception
from mwfs.invoke import invoke, load_operator
from mwfs.local_files import LocalFiles
from mwfs_api.dags.v1 import dag_pb2
from mwfs_api.events.v1 import events_pb2
from mwfs_api.types.v1 import types_pb2
from mwfs_types.cache_keys import value_digest
from mwfs_types.dag_values import BoundValues
from mwfs_types.values import is_spilled, unspill

if TYPE_CHECKING:
    from mwfs.client import BlockingClient
    from mwfs_api.orchestrator.v1 import orchestrator_pb2

Value = types_pb2.Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What came of calling the operator again."""

    outputs: tuple[Value, ...] = ()
    error: BaseException | None = None
    failure: events_pb2.Failure | None = None
    #: None: the run did not record a digest of the code.
    same_code: bool | None
    #: None: the run has no outputs of this node to compare with.
    same_outputs: bool | None = None


def replay_node(
    client: BlockingClient,
    recorded: orchestrator_pb2.GetNodeInputsResponse,
    *,
    calling: Callable[[], object] = lambda: None,
) -> Replayed:
    """Fetches what the arguments refer to, and calls the operator; what it prints goes to stderr. Raises NotLoadable when it is not here,
    and InvalidInput when there is no code of a user's to call.

    calling: is called when all is here and the operator is called next.
    """
    row = recorded.operator
    if is_control(row):
        raise InvalidInput(
            f"Node {recorded.node} is `{row.qualname}`, which the engine does itself: there is no code to replay.",
            f"Replay one of the nodes that it added: mwfs nodes {recorded.run_id[:8]}",
        )
    operator = load_operator(row.module, row.qualname)
    same_code = None
    if row.code_digest:
        from mwfs.code_closure import code_digest

        same_code = code_digest(operator) == row.code_digest
    with tempfile.TemporaryDirectory(prefix="mwfs-replay-") as folder:
        store = LocalFiles(copies=True)
        _download(client, store, Path(folder), recorded.arguments)
        for pending in recorded.pending:
            _download(client, store, Path(folder), pending.values)
        calling()
        try:
            # As a first attempt: what others have kept is of their run.
            with redirect_stdout(sys.stderr), entered(plain_attempt()):
                outputs = invoke(operator, _arguments(recorded, store), store)
        except (Exception, SystemExit) as error:
            return Replayed(error=error, failure=describe_exception(error), same_code=same_code)
    same = None
    if recorded.state == events_pb2.NODE_STATE_SUCCEEDED:
        same = [value_digest(one) for one in outputs] == [value_digest(one) for one in recorded.outputs]
    return Replayed(outputs=tuple(outputs), same_code=same_code, same_outputs=same)


def is_control(row: dag_pb2.Operator) -> bool:
    """Whether the engine does it, without any code of a user's."""
    return row.module == "mwfs"


def _download(client: BlockingClient, store: LocalFiles, folder: Path, values: Sequence[Value]) -> None:
    """Brings every artifact that values refer to here, those inside spilled values included."""
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        for artifact in _unknown(store, value):
            target = folder / artifact.digest.removeprefix("sha256:") / (artifact.file_name or "value")
            target.parent.mkdir(parents=True, exist_ok=True)
            store.paths[artifact.digest] = client.download(artifact, target)
        if is_spilled(value):
            waiting.append(unspill(value, store))


def _unknown(store: LocalFiles, value: Value) -> Iterator[types_pb2.Artifact]:
    return (artifact for artifact in artifacts_in([value]) if artifact.digest not in store.paths)


def _arguments(recorded: orchestrator_pb2.GetNodeInputsResponse, store: LocalFiles) -> list[Value]:
    """The arguments, with those computed that are read from the content of others. Raises FunctionFailed."""
    arguments = list(recorded.arguments)
    for pending in recorded.pending:
        dag = dag_pb2.Dag(constants=pending.values, items=pending.items)
        values = BoundValues(dag, _no_node, lambda value: unspill(value, store))
        arguments[pending.parameter] = values.item(len(pending.items.kind) - 1)
    return arguments


def _no_node(node: int, output: int) -> Value:
    raise AssertionError("a pending argument refers to no node")
