"""The type system: what a value may be, how it travels, and whether a Dag can be believed. Pure: protobuf and the standard library."""

from mwfs_types.errors import BadDag, BadValue, TypeSystemError, UnsupportedType

__all__ = ["BadDag", "BadValue", "TypeSystemError", "UnsupportedType"]
