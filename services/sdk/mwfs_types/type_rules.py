"""What a Type must keep to before it is believed: `check_type`. Types that `type_of` gives always do."""

from google.protobuf.message import DecodeError, EncodeError

from mwfs_api.types.v1 import types_pb2
from mwfs_types.constraints import problem_in
from mwfs_types.errors import UnsupportedType
from mwfs_types.limits import MAX_DEPTH, MAX_FIELDS, MAX_LONG_NAME, MAX_NAME, MAX_TYPE_BYTES, MAX_UNION_ARMS

_CHOICE_KIND = {
    types_pb2.SCALAR_KIND_BOOL: "boolean",
    types_pb2.SCALAR_KIND_INT: "integer",
    types_pb2.SCALAR_KIND_FLOAT: "number",
    types_pb2.SCALAR_KIND_STRING: "text",
    types_pb2.SCALAR_KIND_BYTES: "data",
}


def parse_type(serialised: bytes) -> types_pb2.Type:
    """The Type in these bytes; UnsupportedType where there is none, or one that nests too deep to be read."""
    try:
        return types_pb2.Type.FromString(serialised)
    except DecodeError:
        raise UnsupportedType(
            f"The type cannot be read: it is damaged, or nests more than {MAX_DEPTH} levels."
        ) from None


def check_type(type_: types_pb2.Type) -> None:
    """Raises UnsupportedType unless the type is complete, in its one normal form, and within bounds.

    The normal form: no optional or null inside an optional, no optional, null or union inside a union, no two equal arms.
    Defaults of fields are checked for being values of their field.
    """
    try:
        size = type_.ByteSize()
    except (EncodeError, RecursionError):
        size = MAX_TYPE_BYTES + 1
    if size > MAX_TYPE_BYTES:
        raise UnsupportedType(f"A type has at most {MAX_TYPE_BYTES} bytes. Use a File for such a structure.")
    _check(type_, 0)


def _check(type_: types_pb2.Type, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise UnsupportedType(f"Types may nest at most {MAX_DEPTH} levels.")
    kind = type_.WhichOneof("kind")
    if kind is None:
        raise UnsupportedType("A type is empty. Build types with mwfs_types.annotations.type_of.")
    if type_.HasField("constraints"):
        _check_constraints(type_)
    if kind == "scalar":
        if type_.scalar not in _CHOICE_KIND and type_.scalar != types_pb2.SCALAR_KIND_NULL:
            raise UnsupportedType(f"There is no scalar type number {type_.scalar}.")
    elif kind == "optional":
        _check_optional(type_.optional.item, depth)
    elif kind == "list":
        _check(type_.list.item, depth + 1)
    elif kind == "map":
        _check(type_.map.value, depth + 1)
    elif kind == "enum":
        _check_names("members", list(type_.enum.members), type_.enum.name)
        if not type_.enum.members:
            raise UnsupportedType(f"The enum {type_.enum.name!r} has no members.")
    elif kind == "record":
        _check_record(type_.record, depth)
    elif kind == "tuple":
        if not 1 <= len(type_.tuple.items) <= MAX_FIELDS:
            raise UnsupportedType(f"A tuple has 1 to {MAX_FIELDS} items, found {len(type_.tuple.items)}.")
        for item in type_.tuple.items:
            _check(item, depth + 1)
    elif kind == "semantic":
        _check_semantic(type_.semantic, depth)
    elif kind == "union":
        _check_union(type_.union, depth)


def _check_constraints(type_: types_pb2.Type) -> None:
    problem = problem_in(type_)
    if problem:
        raise UnsupportedType(f"Constraints of a type: {problem}.")
    for choice in type_.constraints.choices:
        if choice.WhichOneof("kind") != _CHOICE_KIND.get(type_.scalar):
            raise UnsupportedType("Constraints of a type: a choice is not a value of it.")


def _is_null(type_: types_pb2.Type) -> bool:
    return type_.scalar == types_pb2.SCALAR_KIND_NULL


def _check_optional(item: types_pb2.Type, depth: int) -> None:
    if item.WhichOneof("kind") == "optional" or _is_null(item):
        raise UnsupportedType("An optional of an optional or of None is the same as one alone.")
    _check(item, depth + 1)


def _check_union(union: types_pb2.UnionType, depth: int) -> None:
    if not 2 <= len(union.arms) <= MAX_UNION_ARMS:
        raise UnsupportedType(f"A union has 2 to {MAX_UNION_ARMS} arms, found {len(union.arms)}.")
    for arm in union.arms:
        if arm.WhichOneof("kind") in ("union", "optional") or _is_null(arm):
            raise UnsupportedType("The arms of a union are neither unions nor optional: put them side by side.")
        _check(arm, depth + 1)
    if len({arm.SerializeToString() for arm in union.arms}) < len(union.arms):
        raise UnsupportedType("Two arms of a union are the same.")


def _check_semantic(semantic: types_pb2.SemanticType, depth: int) -> None:
    if not semantic.name.isidentifier() or len(semantic.name) > MAX_NAME or semantic.version == 0:
        raise UnsupportedType("A semantic type has an identifier for its name and a version from 1.")
    if len(semantic.arguments) > MAX_UNION_ARMS:
        raise UnsupportedType(f"A semantic type has at most {MAX_UNION_ARMS} arguments.")
    for argument in semantic.arguments:
        _check(argument, depth + 1)
    reads = [one.version for one in semantic.reads]
    if len(reads) > MAX_UNION_ARMS or reads != sorted({version for version in reads if 0 < version < semantic.version}):
        raise UnsupportedType(
            f"{semantic.name} version {semantic.version}: the older versions that it reads are ascending, at most {MAX_UNION_ARMS}."
        )
    if semantic.HasField("representation"):
        _check(semantic.representation, depth + 1)
    for older in semantic.reads:
        if older.HasField("representation"):
            _check(older.representation, depth + 1)
    for shown in (semantic.viewer, semantic.widget):
        if len(shown) > MAX_NAME or (shown and not shown.isprintable()):
            raise UnsupportedType(
                f"{semantic.name}: a viewer or widget has a printable name of at most {MAX_NAME} characters."
            )


def _check_record(record: types_pb2.RecordType, depth: int) -> None:
    from mwfs_types.checking import check  # checking parses types with this module
    from mwfs_types.errors import BadValue

    _check_names("fields", [field.name for field in record.fields], record.name)
    for field in record.fields:
        _check(field.type, depth + 1)
        if field.HasField("default"):
            try:
                check(field.default, field.type)
            except BadValue as error:
                raise UnsupportedType(f"The default of {record.name}.{field.name} does not fit: {error}") from None


def _check_names(what: str, names: list[str], owner: str) -> None:
    if not owner or not owner.isprintable() or len(owner) > MAX_LONG_NAME:
        raise UnsupportedType(
            f"A record or enum is named `module.qualname`, at most {MAX_LONG_NAME} printable characters."
        )
    if len(names) > MAX_FIELDS:
        raise UnsupportedType(f"{owner} has more than {MAX_FIELDS} {what}.")
    if len(set(names)) < len(names):
        raise UnsupportedType(f"Two {what} of {owner} have one name.")
    for name in names:
        if not name.isidentifier() or len(name) > MAX_NAME:
            raise UnsupportedType(f"The {what} of {owner} are identifiers of at most {MAX_NAME} characters.")


def height_of(type_: types_pb2.Type) -> int:
    """Levels of types below it."""
    match type_.WhichOneof("kind"):
        case "optional":
            parts = [type_.optional.item]
        case "list":
            parts = [type_.list.item]
        case "map":
            parts = [type_.map.value]
        case "record":
            parts = [field.type for field in type_.record.fields]
        case "tuple":
            parts = list(type_.tuple.items)
        case "union":
            parts = list(type_.union.arms)
        case "semantic":
            parts = [
                *type_.semantic.arguments,
                type_.semantic.representation,
                *(one.representation for one in type_.semantic.reads),
            ]
        case _:
            return 0
    return 1 + max(map(height_of, parts), default=0)
