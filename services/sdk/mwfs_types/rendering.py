"""Types as the user would write them: `list[float]`, `Dataset`, `int | None`."""

import re

from mwfs_api.types.v1 import types_pb2
from mwfs_types.constraints import describe_bound, describe_choices
from mwfs_types.limits import MAX_DEPTH

_SCALARS = {
    types_pb2.SCALAR_KIND_NULL: "None",
    types_pb2.SCALAR_KIND_BOOL: "bool",
    types_pb2.SCALAR_KIND_INT: "int",
    types_pb2.SCALAR_KIND_FLOAT: "float",
    types_pb2.SCALAR_KIND_STRING: "str",
    types_pb2.SCALAR_KIND_BYTES: "bytes",
}


def describe(type_: types_pb2.Type, *, full: bool = False) -> str:
    """The type in Python's own notation. Never raises; what cannot be rendered is `?`.

    Classes are shown by their last name, with `full` by `module.qualname`.
    """
    return _describe(type_, full, 0)


def _describe(type_: types_pb2.Type, full: bool, depth: int) -> str:
    if depth > MAX_DEPTH:
        return "…"
    plain = _plain(type_, full, depth)
    if not type_.HasField("constraints"):
        return plain
    constraints = type_.constraints
    parts: list[str] = []
    bounds = [
        f"{name}={describe_bound(getattr(constraints, name))}"
        for name in ("minimum", "maximum", "exclusive_minimum", "exclusive_maximum")
        if constraints.HasField(name)
    ]
    if bounds:
        parts.append(f"Range({', '.join(bounds)})")
    lengths = [
        f"{name.removesuffix('_length')}imum={getattr(constraints, name)}"
        for name in ("min_length", "max_length")
        if constraints.HasField(name)
    ]
    if lengths:
        parts.append(f"Length({', '.join(lengths)})")
    if constraints.pattern:
        parts.append(f"Pattern({constraints.pattern!r})")
    if constraints.choices:
        if plain in ("str", "int", "bool"):
            plain = f"Literal[{describe_choices(constraints)}]"
        else:
            parts.append(f"Choices({describe_choices(constraints)})")
    if constraints.unit:
        parts.append(f"Unit({constraints.unit!r})")
    return f"Annotated[{plain}, {', '.join(parts)}]" if parts else plain


def _plain(type_: types_pb2.Type, full: bool, depth: int) -> str:
    below = depth + 1
    match type_.WhichOneof("kind"):
        case "scalar":
            return _SCALARS.get(type_.scalar, "?")
        case "optional":
            return f"{_describe(type_.optional.item, full, below)} | None"
        case "list":
            return f"list[{_describe(type_.list.item, full, below)}]"
        case "map":
            return f"dict[str, {_describe(type_.map.value, full, below)}]"
        case "tuple":
            return f"tuple[{', '.join(_describe(item, full, below) for item in type_.tuple.items)}]"
        case "enum":
            return _class_name(type_.enum.name, full)
        case "record":
            return _class_name(type_.record.name, full)
        case "union":
            return " | ".join(_describe(arm, full, below) for arm in type_.union.arms) or "?"
        case "semantic":
            semantic = type_.semantic
            arguments = ", ".join(_describe(argument, full, below) for argument in semantic.arguments)
            version = f"@{semantic.version}" if full else ""
            return f"{semantic.name}{version}[{arguments}]" if arguments else f"{semantic.name}{version}"
    return "?"


#: Text in quotes, or the module and outer classes of a name.
_QUALIFIER = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|(?:\w+\.|<locals>\.)+(?=[^\W\d])""")


def _class_name(name: str, full: bool) -> str:
    """The name of a generic class ends with its arguments: `shop.Pair[int, shop.Item]`."""
    if full:
        return name or "?"
    head, bracket, arguments = name.partition("[")
    short = head.rpartition("<locals>.")[2].rpartition(".")[2]
    return short + bracket + _QUALIFIER.sub(lambda found: found[0] if found[0][0] in "'\"" else "", arguments) or "?"
