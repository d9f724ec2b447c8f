"""What writes the chunks of a scale, by the options of a volume."""

from typing import TYPE_CHECKING

from precomp.engine.write import ChunkWriter
from precomp.volume.requests import fitting
from precomp.volume.scale_io import ScaleIO
from precomp.volume.settings import Settings, cache_control, compressor_name

if TYPE_CHECKING:
    from precomp.engine.shards.write import ShardWriter
    from precomp.volume.layer import Layer

__all__ = ["make_writer"]


def make_writer(io: ScaleIO, settings: Settings, layer: "Layer") -> "ChunkWriter | ShardWriter":
    """Return the writer of a scale. In shards single chunks are compressed, as the info says."""
    background = fitting(settings.background_color, io.info.dtype, "background_color")
    if io.shards is None:
        name = compressor_name(settings.compress, layer.protocol, io.plugin.compressible)
    else:
        name = io.shards.packed
    writer = ChunkWriter(
        io.objects,
        io.codec,
        io.encoding,
        io.reader,
        compression=None if name is None else (name, layer.registry.compressor(name)),
        content_type=io.plugin.content_type,
        cache_control=cache_control(settings.cdn_cache),
        delete_if=background if settings.delete_black_uploads else None,
        fill=background if settings.fill_missing else None,
    )
    if io.shards is None:
        return writer
    from precomp.engine.shards.write import ShardWriter  # most volumes have no use for it

    return ShardWriter(writer, io.shards)
