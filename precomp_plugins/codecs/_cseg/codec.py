"""The encoding `compressed_segmentation`: small blocks, each with a table of its labels and indices into it.

For uint32 and uint64 and any number of channels. A box is decoded from the blocks that it touches.

The library of that name trusts its input, so every header and every index is checked before it sees a
stream; what it gets wrong it does not get: several channels at once, and indices of 32 bits.
"""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from precomp.errors import ArgumentError
from precomp.interfaces import Buffer, ChunkSpec, Slices4
from precomp_plugins.codecs._cseg import compiled, decoding
from precomp_plugins.codecs._cseg.labels import labels_of
from precomp_plugins.codecs._cseg.library import decoder, encoder
from precomp_plugins.codecs._cseg.points import voxels_at
from precomp_plugins.codecs._cseg.stream import Channel, Triple, channel_words, check_headers, open_channel
from precomp_plugins.codecs._whole import decode_whole

__all__ = ["CompressedSegmentation"]

_MOST_LABELS = 2**16  # in a block: the library hangs where there are more
_MOST_VOXELS = 2**24  # of a block; no viewer could show larger ones


@attrs.frozen
class CompressedSegmentation:
    """Codec, DecodesInto, DecodesPoints and ListsLabels of the encoding `compressed_segmentation`.

    Attributes:
        block: voxels x, y, z of a block. ArgumentError where it is too large.
    """

    block: Triple = (8, 8, 8)

    def __attrs_post_init__(self) -> None:
        if prod(self.block) > _MOST_VOXELS:
            raise ArgumentError(
                f"compressed_segmentation_block_size: expected at most {_MOST_VOXELS} voxels, "
                f"found {self.block}"
            )

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """Return the stream; ArgumentError where the chunk is too varied for the format or the library."""
        bodies = [self._encode_channel(chunk[..., c]) for c in range(chunk.shape[3])]
        starts = np.cumsum([len(bodies), *(len(body) // 4 for body in bodies[:-1])])
        if starts[-1] >= 2**32:
            raise ArgumentError("compressed_segmentation: too large a chunk; choose a smaller chunk_size")
        return b"".join((starts.astype("<u4").tobytes(), *bodies))

    def _encode_channel(self, voxels: NDArray[Any]) -> Buffer:
        try:
            if prod(self.block) <= compiled.MOST_VOXELS:
                quick = compiled.encoder(voxels.itemsize, voxels.size)
                if quick is not None:
                    return quick(voxels if compiled.is_line(voxels) else _packed(voxels), self.block)
            if prod(map(min, self.block, voxels.shape)) > _MOST_LABELS:
                self._count(voxels)
            voxels, encode = np.asfortranarray(voxels), encoder(voxels.itemsize)
            if encode is not None and voxels.flags.aligned:
                return encode(voxels, self.block)
            return _encode(voxels, self.block)
        except OverflowError as error:
            raise ArgumentError(
                "compressed_segmentation: the chunk has too many different labels for the format, whose "
                "tables lie in the first 64 MiB; choose a smaller chunk_size"
            ) from error

    def _count(self, voxels: NDArray[Any]) -> None:
        bx, by, bz = self.block
        for x in range(0, voxels.shape[0], bx):
            for y in range(0, voxels.shape[1], by):
                for z in range(0, voxels.shape[2], bz):
                    found = len(np.unique(voxels[x : x + bx, y : y + by, z : z + bz]))
                    if found > _MOST_LABELS:
                        raise ArgumentError(
                            f"compressed_segmentation: a block has {found} labels, at most {_MOST_LABELS} "
                            "can be written; choose a smaller compressed_segmentation_block_size"
                        )

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray[Any]:
        """Return the chunk; ValueError where it is damaged or truncated."""
        return decode_whole(self, data, spec)

    def decode_into(self, data: Buffer, spec: ChunkSpec, box: Slices4, out: NDArray[Any]) -> None:
        """Decode a box from the blocks that it touches; ValueError where they are damaged."""
        places = _places(spec, box)
        if not all(places):
            return
        x, y, z = self._inside(places)
        quick = compiled.decoder(spec.dtype.itemsize, (x[-1] + 1) * (y[-1] + 1) * (z[-1] + 1))
        if quick is not None and x.step == y.step == z.step == 1 and compiled.is_line(out[..., 0]):
            self._decode_at_once(quick, data, spec, places, out)
            return
        size = (x[-1] + 1, y[-1] + 1, z[-1] + 1)  # what lies beyond the box is not decoded
        cut = tuple(slice(part.start, part.stop, part.step) for part in (x, y, z))
        for number, whole in enumerate(self._channels(data, spec, places)):
            channel, target = whole._replace(size=size), out[..., number]
            if target.shape == size:
                _decode(channel, target)
            else:
                labels = np.empty(size, spec.dtype, order="F")
                _decode(channel, labels)
                target[...] = labels[cut]

    def _decode_at_once(
        self,
        decode: compiled.Decode,
        data: Buffer,
        spec: ChunkSpec,
        places: Sequence[range],
        out: NDArray[Any],
    ) -> None:
        x, y, z, channels = spec.shape
        bx, by, bz = self.block
        grid, start = (-(-x // bx), -(-y // by), -(-z // bz)), (places[0][0], places[1][0], places[2][0])
        words = channel_words(data, channels)
        for number, c in enumerate(places[3]):
            check_headers(words[c], prod(grid))
            wrong = decode(words[c], grid, self.block, start, out[..., number])
            if wrong:
                raise ValueError(f"compressed_segmentation: {_WRONG[wrong]}")

    def labels_in(self, data: Buffer, spec: ChunkSpec, box: Slices4) -> NDArray[Any] | None:
        """Return the labels of a box, from the tables of the blocks that it touches; ValueError as above.

        None where the box cuts many of them.
        """
        places = _places(spec, box)
        inside, found = self._inside(places), []
        for channel in self._channels(data, spec, places):
            labels = labels_of(channel, inside, spec.dtype)
            if labels is None:
                return None
            found.append(labels)
        return np.concatenate(found)

    def decode_points(self, data: Buffer, spec: ChunkSpec, points: NDArray[np.int64]) -> NDArray[Any]:
        """Return the voxels at points (n, 3); ValueError where their blocks are damaged."""
        x, y, z, channels = spec.shape
        words = channel_words(data, channels)
        found = [voxels_at(one, (x, y, z), self.block, points, spec.dtype) for one in words]
        return np.stack(found, axis=1)

    def _channels(self, data: Buffer, spec: ChunkSpec, places: Sequence[range]) -> Iterator[Channel]:
        """The blocks that the wanted voxels touch, channel by channel."""
        x, y, z, channels = spec.shape
        blocks = [(place[0] // b, place[-1] // b + 1) for place, b in zip(places, self.block, strict=False)]
        words = channel_words(data, channels)
        for c in places[3]:
            yield open_channel(words[c], (x, y, z), self.block, spec.dtype.itemsize // 4, blocks)

    def _inside(self, places: Sequence[range]) -> list[range]:
        """The wanted voxels along x, y, z, counted from the first block that they touch."""
        along = zip(places, self.block, strict=False)
        return [range(place[0] % b, place[-1] - place[0] // b * b + 1, place.step) for place, b in along]


_WRONG = {
    decoding.BAD_WIDTH: "a block's indices have an impossible width",
    decoding.BAD_PLACE: "a block points out of the stream",
    decoding.BAD_INDEX: "an index points out of the stream",
}


def _packed(voxels: NDArray[Any]) -> NDArray[Any]:
    return np.array(voxels, voxels.dtype.newbyteorder("="), order="F")


def _places(spec: ChunkSpec, box: Slices4) -> list[range]:
    return [range(length)[part] for length, part in zip(spec.shape, box, strict=True)]


def _encode(voxels: NDArray[Any], block: Triple) -> Buffer:
    import compressed_segmentation

    voxels = voxels if voxels.flags.writeable else voxels.copy(order="F")  # the package insists
    stream = compressed_segmentation.compress(voxels, block, order="F")
    return memoryview(stream)[4:]  # behind the offset of the only channel


def _decode(channel: Channel, out: NDArray[Any]) -> None:
    """Decode all blocks of a channel that was checked."""
    if channel.wide:
        channel.decode(out)
        return
    decode = decoder(out.itemsize)
    if decode is not None and out.flags.aligned and not any(step % out.itemsize for step in out.strides):
        decode(channel.body(), channel.size, channel.block, out)
        return
    import compressed_segmentation

    stream = b"\1\0\0\0" + channel.body().data
    out[...] = compressed_segmentation.decompress(stream, channel.size, out.dtype, channel.block, order="F")
