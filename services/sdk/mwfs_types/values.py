"""Values and Python objects: `encode`, `decode`, and `check` for those who only have the type."""

from mwfs_types.checking import check, checker_for
from mwfs_types.decoding import Decoder, decode, decoder_for
from mwfs_types.encoding import Encoder, encode, encoder_for
from mwfs_types.errors import BadValue
from mwfs_types.files import NO_FILES, SPILLED, Files, is_spilled, unspill

__all__ = [
    "NO_FILES",
    "SPILLED",
    "BadValue",
    "Decoder",
    "Encoder",
    "Files",
    "check",
    "checker_for",
    "decode",
    "decoder_for",
    "encode",
    "encoder_for",
    "is_spilled",
    "unspill",
]
