"""What semantic types look like as values: those that come with the platform, and those of teams that say so."""

from typing import Final

from mwfs_api.types.v1 import types_pb2
from mwfs_types.moments import MOMENTS

#: Always an artifact.
ARTIFACTS: Final = frozenset(("Dataset", "Model", "File", "Directory"))


def _scalar(kind: types_pb2.ScalarKind.ValueType) -> types_pb2.Type:
    return types_pb2.Type(scalar=kind)


def _semantic(name: str) -> types_pb2.Type:
    return types_pb2.Type(semantic=types_pb2.SemanticType(name=name, version=1))


def _record(name: str, **fields: types_pb2.Type) -> types_pb2.Type:
    rows = [types_pb2.Field(name=field, type=type_) for field, type_ in fields.items()]
    return types_pb2.Type(record=types_pb2.RecordType(name=name, fields=rows))


_INT: Final = _scalar(types_pb2.SCALAR_KIND_INT)
_FLOAT: Final = _scalar(types_pb2.SCALAR_KIND_FLOAT)
_TEXT: Final = _scalar(types_pb2.SCALAR_KIND_STRING)
_SETTING: Final = types_pb2.Type(
    union=types_pb2.UnionType(arms=[_scalar(types_pb2.SCALAR_KIND_BOOL), _INT, _FLOAT, _TEXT])
)

#: Travel inline, as values of these types; `value_from_json` takes them as plain JSON.
INLINE: Final = {
    **dict.fromkeys(MOMENTS, _TEXT),
    "Metrics": types_pb2.Type(map=types_pb2.MapType(value=_FLOAT)),
    "HyperparameterSet": types_pb2.Type(map=types_pb2.MapType(value=_SETTING)),
    # A Directory as content is an artifact like a File, and told apart by its encoding.
    "Checkpoint": _record(
        "mwfs.types.training.Checkpoint", content=_semantic("File"), step=_INT, epoch=_INT, metrics=_semantic("Metrics")
    ),
    "FeatureSet": _record(
        "mwfs.types.feature_sets.FeatureSet",
        data=_semantic("Dataset"),
        keys=types_pb2.Type(list=types_pb2.ListType(item=_TEXT)),
        time=types_pb2.Type(optional=types_pb2.OptionalType(item=_TEXT)),
    ),
}

#: Names that no team may take.
BUILT_IN: Final = ARTIFACTS | frozenset(INLINE)


def layouts_of(semantic: types_pb2.SemanticType) -> list[types_pb2.Type]:
    """The types that its inline values may be of: its own, then those of the older versions that it reads, newest first."""
    own = representation_of(semantic)
    older = [one.representation for one in reversed(semantic.reads) if one.HasField("representation")]
    return older if own is None else [own, *older]


def representation_of(semantic: types_pb2.SemanticType) -> types_pb2.Type | None:
    """The type that its values travel as; None for artifacts and for types that do not say."""
    if semantic.name in INLINE:
        return INLINE[semantic.name]
    return semantic.representation if semantic.HasField("representation") else None
