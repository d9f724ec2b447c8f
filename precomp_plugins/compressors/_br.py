"""The compression `br`, Brotli (RFC 7932): slower than gzip and tighter."""

import attrs

from precomp.interfaces import Buffer

__all__ = ["Brotli"]

# Makes electron micrographs a tenth smaller than gzip; 5 gains little more at two thirds of the speed.
_LEVEL = 4


@attrs.frozen
class Brotli:
    """Compressor `br`.

    Attributes:
        level: Brotli's quality, 0 to 11.
    """

    level: int = _LEVEL

    def compress(self, data: Buffer) -> bytes:
        """Return one Brotli stream; equal data give equal bytes."""
        import brotli

        compressed: bytes = brotli.compress(data, quality=self.level)
        return compressed

    def decompress(self, data: Buffer, max_size: int) -> bytes:
        """Return the content of the stream.

        Raises ValueError where it is empty, damaged as far as can be seen (Brotli has no checksum),
        truncated, followed by anything or longer than `max_size` bytes.
        """
        import brotli

        stream = brotli.Decompressor()
        try:
            content: bytes = stream.process(data, output_buffer_limit=max_size + 1)
        except brotli.error as error:
            raise ValueError(f"br: expected one stream, found {len(data)} damaged bytes: {error}") from error
        if len(content) > max_size:
            raise ValueError(f"br: expected at most {max_size} bytes, found a longer stream")
        if not stream.is_finished():
            raise ValueError(f"br: truncated, the stream does not end within its {len(data)} bytes")
        return content
