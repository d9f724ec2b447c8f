"""The wanted parts of plain chunks of a shard that is near, in one go."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from precomp.engine.read import ChunkReader
from precomp.engine.scratch import Scratch
from precomp.engine.shards.files import File, Files, Proof
from precomp.engine.shards.reader import Minishard, proven
from precomp.engine.window import Window, window_of
from precomp.grid import ChunkRef

__all__ = ["WindowReader"]

_ROOM = 2**20  # bytes that are read before they are pasted, so that they stay in the processor's cache
_LINE = 64
_SKIPPED = 2**15  # bytes between two channels that are rather read along than left out


class WindowReader:
    """Reads parts of chunks for one thread."""

    def __init__(
        self, chunks: ChunkReader, files: Files, scratch: Scratch, out: NDArray[Any], channels: slice
    ) -> None:
        self._known, self._files, self._scratch = chunks.decoder.known, files, scratch
        self._out, self._channels = out, channels

    def paste(self, places: Sequence[tuple[int, int, tuple[ChunkRef, Minishard]]]) -> bool:
        """Paste chunks of one shard, given where they begin and end; False where that cannot be done here."""
        indices = proven(index for _, _, (_, index) in places)
        if indices is None:
            return False
        file, proofs = indices
        windows: list[tuple[int, Window, NDArray[Any]]] = []
        room = 0
        for start, stop, (ref, _) in places:
            layout = self._known(ref.shape)[1]
            if layout is None or stop - start != layout.size:
                return False
            target = self._out[ref.target]
            window = window_of(layout, ref.source, self._channels, target.shape, _SKIPPED)
            length = window.apart * (window.length + 2 * _LINE)
            if room + length > _ROOM and windows:
                if not self._pasted(file, proofs, windows, room):
                    return False
                windows, room = [], 0
            windows.append((start, window, target))
            room += length
        return self._pasted(file, proofs, windows, room)

    def _pasted(
        self, file: File, proofs: list[Proof], windows: list[tuple[int, Window, NDArray[Any]]], room: int
    ) -> bool:
        memory, used = self._scratch.take(room), 0
        parts: list[tuple[int, memoryview]] = []
        for start, window, _ in windows:
            for low, high in window.ranges():
                # The kernel copies faster to memory that is as much off its alignment.
                begin = used + (start + low - used) % _LINE
                used = begin + high - low
                parts.append((start + low, memory[begin:used]))
        if not self._files.parts_into(file, proofs, parts):
            return False
        at = 0
        for _, window, target in windows:
            window.paste([data for _, data in parts[at : at + window.apart]], target)
            at += window.apart
        return True
