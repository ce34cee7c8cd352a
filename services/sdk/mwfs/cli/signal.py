"""`mwfs signal`: tell a run what it waits for, or list what it waits for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from mwfs.cli.options import Home, Output, RunArgument
from mwfs.cli.screen import Format, Screen

if TYPE_CHECKING:
    from mwfs.client.signals import Payload
    from mwfs_api.orchestrator.v1 import orchestrator_pb2
    from mwfs_api.types.v1 import types_pb2

_EXAMPLES = """Examples:

$ mwfs signal 1a2b3c4d

$ mwfs signal 1a2b3c4d approved true

$ mwfs signal 1a2b3c4d settings '{"depth": 4, "note": "from Ada"}'"""


def register(app: typer.Typer) -> None:
    app.command(epilog=_EXAMPLES)(signal)


def signal(
    run: RunArgument,
    name: Annotated[
        str | None, typer.Argument(help="The signal, as the workflow names it.", show_default=False)
    ] = None,
    payload: Annotated[
        str | None,
        typer.Argument(metavar="JSON", help="Its payload as JSON; text may be written plainly.", show_default=False),
    ] = None,
    request_id: Annotated[
        str, typer.Option(help="Repeating the command with the same id changes nothing.", show_default=False)
    ] = "",
    home: Home = None,
    output: Output = Format.TEXT,
) -> None:
    """Send a signal into a run that waits for it, now or later. Without a name: list the signals of the run."""
    import asyncio
    import uuid

    from mwfs.client import Client, signals
    from mwfs.errors import InvalidInput

    screen = Screen(output)

    async def main() -> None:
        async with Client(home) as client:
            run_id = (await client.get_run(run)).run_id
            if name is None:
                _list(screen, run_id, await client.signals(run_id))
                return
            declared = await signals.declared_signals(client.connection, run_id)
            if payload is None and not _takes_none(declared.get(name)):
                raise InvalidInput(
                    f"The signal `{name}` has a payload, which is missing.",
                    f"Write mwfs signal {run_id[:8]} {name} JSON.",
                )
            encoded = _encode(name, "null" if payload is None else payload, declared)
            created = await signals.send(client.connection, run_id, name, encoded, request_id or str(uuid.uuid4()))
            if screen.json:
                screen.document({"run_id": run_id, "signal": name, "created": created})
            else:
                screen.print(f"{run_id} {name} {'sent' if created else 'was sent before'}")

    asyncio.run(main())


def _takes_none(kind: types_pb2.Type | None) -> bool:
    from mwfs_types.annotations import type_of
    from mwfs_types.assignability import is_assignable

    return kind is not None and is_assignable(type_of(type(None)), kind)


def _encode(name: str, text: str, declared: Mapping[str, types_pb2.Type]) -> Payload:
    from mwfs.cli.inputs import to_value
    from mwfs.client.signals import Payload, encode_payload
    from mwfs.local_files import LocalFiles
    from mwfs_api.types.v1 import types_pb2
    from mwfs_types.errors import BadValue
    from mwfs_types.json_text import load_json

    try:
        document = load_json(text)
    except BadValue:
        document = text  # a text, the member of an enum, a date or a path
    kind = declared.get(name)
    if kind is None:
        return encode_payload(name, document, declared)
    if kind.scalar == types_pb2.SCALAR_KIND_STRING and not isinstance(document, str):
        document = text
    files = LocalFiles()
    return Payload(value=files.spill(to_value(name, document, kind, files, what="Signal")), files=files.paths)


def _list(screen: Screen, run_id: str, found: list[orchestrator_pb2.Signal]) -> None:
    from mwfs.cli import words
    from mwfs_types.rendering import describe

    if screen.json:
        screen.document({"run_id": run_id, "signals": [_document(signal) for signal in found]})
    elif not found:
        screen.print("The run has no signals.")
    else:
        rows = [
            (
                signal.name,
                describe(signal.type) if signal.HasField("type") else "",
                f"{words.ago(signal.send_time_us)} by {signal.principal}" if signal.send_time_us else "",
                ", ".join(map(str, signal.waiting_nodes[:6])) + (", …" if len(signal.waiting_nodes) > 6 else ""),
                words.iso_time(signal.until_time_us) or "",
            )
            for signal in found
        ]
        screen.table(["SIGNAL", "TYPE", "SENT", "NODES THAT WAIT", "UNTIL"], rows)


def _document(signal: orchestrator_pb2.Signal) -> dict[str, object]:
    from mwfs.cli import words
    from mwfs_types.rendering import describe

    return {
        "name": signal.name,
        "type": describe(signal.type) if signal.HasField("type") else None,
        "sent": words.iso_time(signal.send_time_us) if signal.send_time_us else None,
        "principal": signal.principal or None,
        "waiting_nodes": list(signal.waiting_nodes),
        "until": words.iso_time(signal.until_time_us) if signal.until_time_us else None,
    }
