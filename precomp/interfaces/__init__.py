"""What a plugin implements and the plain values that cross that border.

Everything here is a `typing.Protocol` or a `NamedTuple`: a store, a codec or a compressor needs no
base class of ours, and one value per chunk must cost next to nothing. The optional protocols are
probed once, when a layer is opened, never per chunk.
"""

from precomp.interfaces.codecs import (
    Codec,
    Compressor,
    DecodesInto,
    DecodesPoints,
    HasLayout,
    Layout,
    ListsLabels,
    MeshExporter,
)
from precomp.interfaces.stores import (
    AsksAhead,
    FiltersSegments,
    GetsRanges,
    Modify,
    ReadsInto,
    SplitsBoxes,
    Store,
    SupportsCutout,
    SupportsUpdate,
    TellsOrigin,
    UsesSuffixes,
    UsesWorkers,
)
from precomp.interfaces.values import (
    Blob,
    Buffer,
    ByteRange,
    ChunkSpec,
    CloudPath,
    Condition,
    Slices3,
    Slices4,
    Stat,
)

__all__ = [
    "AsksAhead",
    "Blob",
    "Buffer",
    "ByteRange",
    "ChunkSpec",
    "CloudPath",
    "Codec",
    "Compressor",
    "Condition",
    "DecodesInto",
    "DecodesPoints",
    "FiltersSegments",
    "GetsRanges",
    "HasLayout",
    "Layout",
    "ListsLabels",
    "MeshExporter",
    "Modify",
    "ReadsInto",
    "Slices3",
    "Slices4",
    "SplitsBoxes",
    "Stat",
    "Store",
    "SupportsCutout",
    "SupportsUpdate",
    "TellsOrigin",
    "UsesSuffixes",
    "UsesWorkers",
]
