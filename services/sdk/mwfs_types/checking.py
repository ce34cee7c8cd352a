"""Whether a value from the wire is of a type: `check(value, type)`. Needs no user code, so servers use it."""

from collections.abc import Callable, Iterable
from functools import lru_cache

from mwfs_api.types.v1 import types_pb2
from mwfs_types.constraints import narrowing_of
from mwfs_types.errors import BadValue, UnsupportedType, show
from mwfs_types.files import SPILLED
from mwfs_types.limits import MAX_DEPTH
from mwfs_types.moments import MOMENTS
from mwfs_types.rendering import describe
from mwfs_types.semantics import ARTIFACTS, layouts_of
from mwfs_types.shapes import check_artifact, check_keys, check_well_formed, found_in
from mwfs_types.type_rules import parse_type

Checker = Callable[[types_pb2.Value], None]


def check(value: types_pb2.Value, type_: types_pb2.Type, *, path: str = "", patterns: bool = False) -> None:
    """Raises BadValue unless the value is of the type.

    A spilled value (an artifact with encoding "value") passes as any type: its reader checks it. Regular expressions are left to
    clients and workers unless `patterns` is set, because Python cannot bound the time that a hostile one takes.
    """
    try:
        checker_for(type_.SerializeToString(), patterns)(value)
    except BadValue as error:
        raise (error.under(path) if path else error) from None


@lru_cache(maxsize=4096)
def checker_for(serialised_type: bytes, patterns: bool = False) -> Checker:
    """The function that checks values of one type."""
    return _build(parse_type(serialised_type), patterns, 0)


def first_fit(value: types_pb2.Value, types: Iterable[types_pb2.Type]) -> types_pb2.Type | None:
    """The first of these types that the value is of."""
    for type_ in types:
        try:
            checker_for(type_.SerializeToString())(value)
        except BadValue:
            continue
        return type_
    return None


def read_as(value: types_pb2.Value, type_: types_pb2.Type) -> types_pb2.Type:
    """What a value is read as: the item of an optional, the arm of a union, the layout of a semantic type that travels inline."""
    while True:
        kind = type_.WhichOneof("kind")
        if kind == "optional" and value.WhichOneof("kind") != "null":
            type_ = type_.optional.item
            continue
        within = list(type_.union.arms) if kind == "union" else []
        if kind == "semantic" and value.WhichOneof("kind") != "artifact":
            within = layouts_of(type_.semantic)
        found = within[0] if len(within) == 1 else first_fit(value, within)
        if found is None:
            return type_
        type_ = found


def _build(type_: types_pb2.Type, patterns: bool, depth: int) -> Checker:
    if depth > MAX_DEPTH:
        raise UnsupportedType(f"Types may nest at most {MAX_DEPTH} levels.")
    test = narrowing_of(type_, patterns=patterns)
    plain = _build_plain(type_, patterns, depth)
    is_list = type_.WhichOneof("kind") == "list"

    def check_value(value: types_pb2.Value) -> None:
        kind = value.WhichOneof("kind")
        if kind == "artifact" and value.artifact.encoding == SPILLED:
            check_artifact(value.artifact)
            return
        plain(value)
        if test is not None and kind is not None:
            expected = test(value.list.items if is_list else getattr(value, kind))
            if expected:
                raise BadValue(expected=expected, found=found_in(value))

    return check_value


_KINDS: dict[int, tuple[tuple[str, ...], str]] = {
    types_pb2.SCALAR_KIND_NULL: (("null",), "None"),
    types_pb2.SCALAR_KIND_BOOL: (("boolean",), "bool"),
    types_pb2.SCALAR_KIND_INT: (("integer",), "int"),
    types_pb2.SCALAR_KIND_FLOAT: (("number", "integer"), "float"),
    types_pb2.SCALAR_KIND_STRING: (("text",), "str"),
    types_pb2.SCALAR_KIND_BYTES: (("data",), "bytes"),
}


def kinds_of(scalar: int) -> tuple[str, ...]:
    """The kinds of Value that a scalar type takes: a float also takes an integer."""
    return _KINDS[scalar][0] if scalar in _KINDS else ()


def _build_plain(type_: types_pb2.Type, patterns: bool, depth: int) -> Checker:
    kind = type_.WhichOneof("kind")
    if kind == "scalar" and type_.scalar in _KINDS:
        return _of_kind(*_KINDS[type_.scalar])
    if kind == "optional":
        return _optional(_build(type_.optional.item, patterns, depth + 1))
    if kind == "list":
        item = type_.list.item
        plain = () if item.HasField("constraints") else kinds_of(item.scalar)
        return _list(_build(item, patterns, depth + 1), frozenset(plain), describe(type_))
    if kind == "map":
        return _map(_build(type_.map.value, patterns, depth + 1), describe(type_))
    if kind == "enum":
        return _enum(type_)
    if kind == "record":
        return _record(type_, [_build(field.type, patterns, depth + 1) for field in type_.record.fields])
    if kind == "tuple":
        return _tuple([_build(item, patterns, depth + 1) for item in type_.tuple.items], describe(type_))
    if kind == "semantic":
        return _semantic(type_.semantic, patterns, depth)
    if kind == "union":
        return _union([(_takes(arm), _build(arm, patterns, depth + 1)) for arm in type_.union.arms], describe(type_))
    raise UnsupportedType("The type has no kind that this version knows. Update the platform.")


def _of_kind(kinds: tuple[str, ...], words: str) -> Checker:
    def check_kind(value: types_pb2.Value) -> None:
        if value.WhichOneof("kind") not in kinds:
            raise BadValue(expected=words, found=found_in(value))

    return check_kind


def _optional(item: Checker) -> Checker:
    def check_optional(value: types_pb2.Value) -> None:
        if value.WhichOneof("kind") != "null":
            item(value)

    return check_optional


def _list(item: Checker, plain: frozenset[str], words: str) -> Checker:
    """`plain`: the kinds of value that are fine as items without a closer look."""

    def check_list(value: types_pb2.Value) -> None:
        if value.WhichOneof("kind") != "list":
            raise BadValue(expected=words, found=found_in(value))
        if plain and {element.WhichOneof("kind") for element in value.list.items} <= plain:
            return
        for index, element in enumerate(value.list.items):
            try:
                item(element)
            except BadValue as error:
                raise error.under(f"[{index}]") from None

    return check_list


def _map(item: Checker, words: str) -> Checker:
    def check_map(value: types_pb2.Value) -> None:
        if value.WhichOneof("kind") != "map":
            raise BadValue(expected=words, found=found_in(value))
        check_keys(value.map)
        for key, element in zip(value.map.keys, value.map.values, strict=True):
            try:
                item(element)
            except BadValue as error:
                raise error.under(f"[{key!r}]") from None

    return check_map


def _enum(type_: types_pb2.Type) -> Checker:
    members = frozenset(type_.enum.members)

    def check_member(value: types_pb2.Value) -> None:
        if value.WhichOneof("kind") != "member" or value.member not in members:
            known = ", ".join(type_.enum.members[:20])
            found = show(value.member) if value.WhichOneof("kind") == "member" else found_in(value)
            raise BadValue(expected=f"a member of {describe(type_)}: {known}", found=found)

    return check_member


def _record(type_: types_pb2.Type, fields: list[Checker]) -> Checker:
    names = [field.name for field in type_.record.fields]

    def check_record(value: types_pb2.Value) -> None:
        if value.WhichOneof("kind") != "record":
            raise BadValue(expected=describe(type_), found=found_in(value))
        if len(value.record.fields) != len(fields):
            expected = f"{describe(type_)} of {len(fields)} fields"
            raise BadValue(expected=expected, found=f"{len(value.record.fields)} fields")
        for name, checker, field in zip(names, fields, value.record.fields, strict=True):
            try:
                checker(field)
            except BadValue as error:
                raise error.under(f".{name}") from None

    return check_record


def _tuple(items: list[Checker], words: str) -> Checker:
    def check_tuple(value: types_pb2.Value) -> None:
        if value.WhichOneof("kind") != "record":
            raise BadValue(expected=words, found=found_in(value))
        if len(value.record.fields) != len(items):
            raise BadValue(expected=f"{words}, of {len(items)} items", found=f"{len(value.record.fields)} items")
        for index, (checker, field) in enumerate(zip(items, value.record.fields, strict=True)):
            try:
                checker(field)
            except BadValue as error:
                raise error.under(f"[{index}]") from None

    return check_tuple


def _semantic(semantic: types_pb2.SemanticType, patterns: bool, depth: int) -> Checker:
    name, layouts = semantic.name, layouts_of(semantic)
    inline: Callable[[types_pb2.Value], object] = check_well_formed
    if name in MOMENTS:
        inline = MOMENTS[name].check
    elif layouts:
        inline = _first_of([_build(layout, patterns, depth + 1) for layout in layouts])

    def check_semantic(value: types_pb2.Value) -> None:
        if value.WhichOneof("kind") == "artifact":
            check_artifact(value.artifact)
        elif name in ARTIFACTS:
            raise BadValue(expected=f"{name}, as an artifact", found=found_in(value))
        else:
            inline(value)

    return check_semantic


def _first_of(layouts: list[Checker]) -> Checker:
    """The newest layout says what is wrong with a value that has none of them."""
    if len(layouts) == 1:
        return layouts[0]

    def check_layouts(value: types_pb2.Value) -> None:
        refused: BadValue | None = None
        for layout in layouts:
            try:
                layout(value)
                return
            except BadValue as error:
                refused = refused or error
        raise refused or AssertionError

    return check_layouts


def _takes(type_: types_pb2.Type) -> tuple[str, ...]:
    """The kinds of value that a type can take at all; a semantic type may take any."""
    kind = type_.WhichOneof("kind")
    if kind == "scalar":
        return kinds_of(type_.scalar)
    return {"list": ("list",), "map": ("map",), "record": ("record",), "tuple": ("record",), "enum": ("member",)}.get(
        kind or "", _ALL
    )


_ALL = ("null", "boolean", "integer", "number", "text", "data", "list", "map", "record", "artifact", "member")


def _union(arms: list[tuple[tuple[str, ...], Checker]], words: str) -> Checker:
    by_kind = {kind: [arm for kinds, arm in arms if kind in kinds] for kind in _ALL}

    def check_union(value: types_pb2.Value) -> None:
        inner: BadValue | None = None
        for arm in by_kind.get(value.WhichOneof("kind") or "", ()):
            try:
                arm(value)
                return
            except BadValue as error:
                if error.path and inner is None:
                    inner = error
        raise inner or BadValue(expected=words, found=found_in(value))

    return check_union
