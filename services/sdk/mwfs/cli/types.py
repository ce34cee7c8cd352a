"""`mwfs types`: the semantic types that there are, and how their values travel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mwfs.cli.options import NoHome, Output
from mwfs.cli.screen import Format, Screen

if TYPE_CHECKING:
    from mwfs.type_registry import RegisteredType
    from mwfs_api.types.v1 import types_pb2

_LIST_EXAMPLES = """Examples:

$ mwfs types list

$ mwfs types list --import my_project.types --output json"""

_SHOW_EXAMPLES = """Examples:

$ mwfs types show Metrics

$ mwfs types show GeoPoint --import my_project.types"""

_Import = Annotated[
    list[str] | None,
    typer.Option("--import", metavar="MODULE", help="A module that registers types. Repeat it.", show_default=False),
]


def register(app: typer.Typer) -> None:
    types = typer.Typer(no_args_is_help=True, help="Types that operators take and give.", rich_markup_mode=None)
    types.command(name="list", epilog=_LIST_EXAMPLES)(list_types)
    types.command(name="show", epilog=_SHOW_EXAMPLES)(show_type)
    app.add_typer(types, name="types")


def list_types(modules: _Import = None, home: NoHome = None, output: Output = Format.TEXT) -> None:
    """List the semantic types. Those of mwfs, and those that the named modules register."""
    screen = Screen(output)
    found = _found(modules or [])
    if screen.json:
        screen.document({"types": [_document(one) for one in found]})
        return
    screen.table(
        ["NAME", "VERSION", "READS", "TRAVELS AS", "CLASS"],
        [
            (
                one.name,
                str(one.version),
                ", ".join(str(older.version) for older in one.type.semantic.reads),
                _travels_as(one),
                one.class_name,
            )
            for one in found
        ],
        right=("VERSION",),
    )


def show_type(
    name: Annotated[str, typer.Argument(help="Name of the type.", show_default=False)],
    modules: _Import = None,
    home: NoHome = None,
    output: Output = Format.TEXT,
) -> None:
    """Show every version of one type, with the JSON Schema of its values."""
    import difflib
    import json

    from mwfs.errors import NotFound

    screen = Screen(output)
    known = _found(modules or [])
    found = [one for one in known if one.name == name]
    if not found:
        near = difflib.get_close_matches(name, [one.name for one in known], n=1)
        fix = f"Did you mean {near[0]}?" if near else "Name the module that registers it: --import MODULE."
        raise NotFound(f"There is no type {name}.", fix)
    if screen.json:
        screen.document({"types": [_document(one) for one in found]})
        return
    for one in found:
        screen.print(f"{one.name} version {one.version}")
        if one.doc:
            screen.print(f"  {one.doc.splitlines()[0]}")
        rows: list[tuple[str, object]] = [
            ("class", one.class_name),
            ("defined at", f"{one.site.file}:{one.site.line}" if one.site else "mwfs"),
            ("travels as", _travels_as(one)),
            ("also reads", ", ".join(_layout_of(older) for older in one.type.semantic.reads)),
            ("viewer", one.type.semantic.viewer),
            ("widget", one.type.semantic.widget),
            ("JSON Schema", json.dumps(_document(one)["schema"])),
        ]
        for label, shown in rows:
            if shown:
                screen.print(f"  {label:<12} {shown}")


def _found(modules: list[str]) -> list[RegisteredType]:
    from mwfs.invoke import import_module_of_user
    from mwfs.type_registry import registered_types

    for module in modules:
        import_module_of_user(module)
    return registered_types()


def _document(one: RegisteredType) -> dict[str, Any]:
    from mwfs_types.json_schema import schema_of

    semantic = one.type.semantic
    return {
        "name": one.name,
        "version": one.version,
        "reads": [older.version for older in semantic.reads],
        "class": one.class_name,
        "file": one.site.file if one.site else None,
        "line": one.site.line if one.site else None,
        "doc": one.doc,
        "travels_as": _travels_as(one),
        "viewer": semantic.viewer or None,
        "widget": semantic.widget or None,
        "schema": schema_of(one.type),
    }


def _layout_of(older: types_pb2.OlderVersion) -> str:
    from mwfs_types.rendering import describe

    shown = describe(older.representation) if older.HasField("representation") else "artifact"
    return f"version {older.version} ({shown})"


def _travels_as(one: RegisteredType) -> str:
    from mwfs_types.rendering import describe
    from mwfs_types.semantics import representation_of

    representation = representation_of(one.type.semantic)
    return "artifact" if representation is None else describe(representation)
