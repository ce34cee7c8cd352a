"""Types that a team adds: `@mwfs.register_type("GeoPoint", version=2, …)` on a class, and the list of them."""

from __future__ import annotations

import inspect
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeVar

from mwfs.errors import BadDefinition, Site
from mwfs.locations import calling_user_frame, site_of_frame
from mwfs_api.types.v1 import types_pb2
from mwfs_types.annotations import UnsupportedType, type_of
from mwfs_types.encoding import encode
from mwfs_types.errors import BadValue
from mwfs_types.semantics import BUILT_IN, layouts_of
from mwfs_types.telling_apart import share_values
from mwfs_types.type_rules import check_type
from mwfs_types.values import Files, decode

C = TypeVar("C", bound=type)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredType:
    """One version of a type, and the class whose objects it is for."""

    name: str
    version: int
    cls: type
    type: types_pb2.Type
    doc: str
    #: Where it was registered; None for those that come with mwfs.
    site: Site | None

    @property
    def class_name(self) -> str:
        """`module.qualname`."""
        return f"{self.cls.__module__}.{self.cls.__qualname__}"


_REGISTERED: dict[tuple[str, int], RegisteredType] = {}


def register_type(
    name: str,
    *,
    version: int = 1,
    travels_as: Any = None,
    encode: Callable[[Any], Any] | None = None,
    decode: Callable[[Any], Any] | None = None,
    reads: Mapping[int, tuple[Any, Callable[[Any], Any]] | None] | None = None,
    viewer: str = "",
    widget: str = "",
) -> Callable[[C], C]:
    """Makes a class a type of its own, with a name and a version, for operators to take and give.

        @mwfs.register_type("GeoPoint", travels_as=tuple[float, float], encode=astuple, decode=lambda pair: GeoPoint(*pair))

    travels_as: the annotation of what `encode` makes of an object and `decode` makes an object of; without `decode` the class is
    called with it. Left out for subclasses of `mwfs.File` and for classes that have `__mwfs_encode__` and `__mwfs_decode__` of their own.
    reads: older version → (what it travelled as, what makes an object of that); values of these may be given to this version.
    For classes that decode by themselves, such as files: older version → None.
    viewer, widget: names of what shows a value, and of what asks for one, in the console.
    Raises BadDefinition.
    """
    site = site_of_frame(calling_user_frame())

    def wrong(message: str, fix: str) -> BadDefinition:
        return BadDefinition(f"type `{str(name)[:80]}` version {version}: {message}", site=site, fix=fix)

    _check_arguments(name, version, encode, decode, reads, (viewer, widget), wrong)
    older = dict(reads or {})
    layouts = {old: one for old, one in older.items() if one is not None}

    def register(cls: C) -> C:
        if not isinstance(cls, type) or not cls.__flags__ & _HEAP_TYPE:
            raise wrong(f"{cls!r} is no class of yours", "put the decorator on a class")
        _check_name(name, wrong)
        if travels_as is not None and encode is None:
            raise wrong("`travels_as` needs `encode`", "say what makes such a value of an object")
        if travels_as is None and (encode is not None or decode is not None or layouts):
            raise wrong("`encode`, `decode` and layouts in `reads` need `travels_as`", "say what the values travel as")
        if travels_as is not None and len(layouts) < len(older):
            raise wrong(
                "`reads` does not say how an older version travelled", "write reads={1: (float, make_from_float)}"
            )
        made: Any = cls
        made.__mwfs_semantic__ = (name, version)
        made.__mwfs_reads__ = {old: layouts[old][0] if old in layouts else None for old in older}
        made.__mwfs_viewer__, made.__mwfs_widget__ = viewer, widget
        if travels_as is not None and encode is not None:
            made.__mwfs_representation__ = travels_as
            try:
                kind = type_of(travels_as)
            except UnsupportedType as error:
                raise wrong(str(error), "name another `travels_as`") from None
            _add_methods(
                made, kind, encode, [(travels_as, decode or cls), *(layouts[old] for old in sorted(layouts)[::-1])]
            )
        elif hasattr(cls, "__mwfs_representation__") and "__mwfs_representation__" not in vars(cls):
            raise wrong(
                "it would make objects of the class that it inherits from", "give travels_as, encode and decode"
            )
        elif not hasattr(cls, "__mwfs_encode__") or not hasattr(cls, "__mwfs_decode__"):
            raise wrong("it is not said how values travel", "give travels_as, encode and decode, or subclass mwfs.File")
        try:
            type_ = type_of(cls)
            check_type(type_)
        except UnsupportedType as error:
            raise wrong(str(error), "change what it says there") from None
        versions = [version, *(one.version for one in reversed(type_.semantic.reads))]
        for (newer, layout), (old, another) in combinations(zip(versions, layouts_of(type_.semantic), strict=False), 2):
            if share_values(layout, another):
                raise wrong(
                    f"values of version {old} look like those of version {newer}, so they would be taken for them",
                    "mark the newer layout, such as by a field `layout: Literal[2]`",
                )
        registered = RegisteredType(
            name=name, version=version, cls=cls, type=type_, doc=inspect.getdoc(cls) or "", site=site
        )
        other = _REGISTERED.get((name, version))
        # The same class again is a reload of its module.
        if other is not None and other.class_name != registered.class_name:
            place = f" at {other.site.file}:{other.site.line}" if other.site else ""
            raise wrong(
                f"{registered.class_name} and {other.class_name}{place} both have it",
                "raise the version of one, or rename it",
            )
        _REGISTERED[name, version] = registered
        return cls

    return register


#: Of `type.__flags__`: a class that Python code made, which takes attributes.
_HEAP_TYPE = 1 << 9


def _check_arguments(
    name: Any,
    version: Any,
    encode: Any,
    decode: Any,
    reads: Any,
    shown: tuple[Any, Any],
    wrong: Callable[..., Exception],
) -> None:
    if not isinstance(name, str):
        raise wrong("the name is no str", 'write register_type("GeoPoint", …)')
    if isinstance(version, bool) or not isinstance(version, int) or not 0 < version < 1 << 32:
        raise wrong("the version is no int from 1", "count versions 1, 2, 3")
    for what, given in (("encode", encode), ("decode", decode)):
        if given is not None and not callable(given):
            raise wrong(f"`{what}` cannot be called", f"give a function: {what}=lambda value: …")
    if not all(isinstance(one, str) for one in shown):
        raise wrong("`viewer` or `widget` is no str", "give the name of one")
    if reads is not None and not (
        isinstance(reads, Mapping)
        and all(
            one is None or (isinstance(one, tuple) and len(one) == 2 and callable(one[1])) for one in reads.values()
        )
    ):
        raise wrong("`reads` does not say how older versions travelled", "write reads={1: (float, make_from_float)}")
    if any(isinstance(old, bool) or not isinstance(old, int) or not 0 < old < version for old in reads or ()):
        raise wrong("`reads` names versions that are not older", f"name versions from 1 to {version - 1}")


def _check_name(name: str, wrong: Callable[..., Exception]) -> None:
    """Names that look like another are as good as taken: Python reads identifiers in NFKC, and people do not read case."""
    if name in BUILT_IN:
        raise wrong("the name belongs to mwfs", "choose another name")
    if not name.isidentifier():
        raise wrong("the name is no identifier", "choose another name, such as GeoPoint")
    if name != (plain := unicodedata.normalize("NFKC", name)):
        raise wrong("the name is not in the Unicode form NFKC", f"write {plain}")
    for other in (*BUILT_IN, *(known for known, _ in _REGISTERED)):
        if other != name and other.casefold() == name.casefold():
            raise wrong(f"the name differs from `{other}` only by case", "choose another name")


def registered_types() -> list[RegisteredType]:
    """Every version that the modules imported so far have registered, by name and version; those of mwfs itself first."""
    return [*_built_in(), *(_REGISTERED[key] for key in sorted(_REGISTERED))]


def class_of(semantic: types_pb2.SemanticType) -> type | None:
    """The class for values of this type, as far as the modules imported so far say; None when none does."""
    registered = _REGISTERED.get((semantic.name, semantic.version))
    if registered is not None:
        return registered.cls
    return next((one.cls for one in _built_in() if one.name == semantic.name), None)


def _built_in() -> list[RegisteredType]:
    import mwfs.types as semantic_types
    from mwfs_types.moments import MOMENTS

    classes = {name: getattr(semantic_types, name) for name in BUILT_IN if name not in MOMENTS}
    classes |= {name: moment.cls for name, moment in MOMENTS.items()}
    return [
        RegisteredType(
            name=name,
            version=type_of(cls).semantic.version,
            cls=cls,
            type=type_of(cls),
            doc=inspect.getdoc(cls) or "",
            site=None,
        )
        for name, cls in sorted(classes.items())
    ]


def _add_methods(
    cls: Any,
    kind: types_pb2.Type,
    to_plain: Callable[[Any], Any],
    layouts: list[tuple[Any, Callable[[Any], Any]]],
) -> None:
    def mwfs_encode(self: Any, files: Files) -> types_pb2.Value:
        return encode(to_plain(self), kind, files)

    def mwfs_decode(cls: Any, value: types_pb2.Value, files: Files) -> Any:
        """The newest layout that the value has."""
        refused: BadValue | None = None
        for annotation, from_plain in layouts:
            try:
                plain = decode(value, annotation, files)
            except BadValue as error:
                refused = refused or error
                continue
            return from_plain(plain)
        assert refused is not None
        raise refused

    cls.__mwfs_encode__, cls.__mwfs_decode__ = mwfs_encode, classmethod(mwfs_decode)
