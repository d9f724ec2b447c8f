"""Parts of shard files as they are now, whatever the store can do: an index in memory is never trusted.

A part is read together with a proof that the file still is the one whose index is in memory. Where the store
gives versions that is the version. Elsewhere the index is read once more, in one go with the part where the
store can, and compared: as files are replaced as a whole, equal bytes at the same places lead to the same
chunk. Of a local file in the page cache that takes a microsecond.
"""

from collections.abc import Sequence
from typing import NamedTuple

from precomp.engine.objects import Objects
from precomp.interfaces import Blob, Buffer, ByteRange, GetsRanges, ReadsInto

__all__ = ["File", "Files", "Proof"]


class File(NamedTuple):
    """A file that has been read from.

    Attributes:
        key: in the store.
        size: in bytes; None where the store did not say.
        version: that the store gave it.
    """

    key: str
    size: int | None
    version: str | None


class Proof(NamedTuple):
    """Bytes of a file that were there when its index was read."""

    key: str
    start: int
    data: bytes

    @property
    def range(self) -> ByteRange:
        """Where they were."""
        return ByteRange(self.start, self.start + len(self.data))


class Files:
    """Reads parts of files of one store. Safe to share between threads."""

    def __init__(self, objects: Objects) -> None:
        store = objects.store
        self._get, self._stat = store.get, store.stat
        self._read_into = store.read_into if isinstance(store, ReadsInto) else None
        self._get_ranges = store.get_ranges if isinstance(store, GetsRanges) else None

    @property
    def are_near(self) -> bool:
        """True where one more request costs next to nothing."""
        return self._read_into is not None

    def get(self, key: str, start: int, stop: int) -> Blob | None:
        """Return a part as it is, without a proof; None where there is no such file."""
        return self._get(key, ByteRange(start, stop))

    def part(
        self, file: File, proofs: Sequence[Proof], start: int, stop: int, memory: memoryview | None = None
    ) -> Buffer | None:
        """Return bytes of `file`, in `memory` where that helps; None where the file is not what it was."""
        if self._read_into is not None and file.size is not None and _together(file, proofs):
            room = memoryview(bytearray(stop - start)) if memory is None else memory[: stop - start]
            if self._proven_into(file, file.size, proofs, [(start, room)]):
                return room
        elif is_strong(file.version):
            return _fitting(self._get(file.key, ByteRange(start, stop)), file, stop - start)
        return self._slowly(file, proofs, start, stop)

    def parts_into(
        self, file: File, proofs: Sequence[Proof], parts: Sequence[tuple[int, memoryview]]
    ) -> bool:
        """Fill each memory from its place in the file on; False where that cannot be done, or be proven."""
        together = file.size is not None and _together(file, proofs)
        return together and self._proven_into(file, file.size or 0, proofs, parts)

    def confirm(self, file: File, proofs: Sequence[Proof]) -> bool:
        """Tell whether the file is what it was, without reading more of it."""
        if self._read_into is not None and file.size is not None and _together(file, proofs):
            if self._proven_into(file, file.size, proofs, []):
                return True
        elif is_strong(file.version) and _together(file, proofs):
            now = self._stat(file.key)
            return now is not None and now.version == file.version and now.content_encoding is None
        return self._same(proofs)

    def _proven_into(
        self, file: File, size: int, proofs: Sequence[Proof], parts: Sequence[tuple[int, memoryview]]
    ) -> bool:
        if self._read_into is None:
            return False
        rooms = [bytearray(len(proof.data)) for proof in proofs]
        wanted = [(proof.start, memoryview(room)) for proof, room in zip(proofs, rooms, strict=True)]
        if not self._read_into(file.key, size, [*wanted, *parts]):
            return False
        return all(proof.data == room for proof, room in zip(proofs, rooms, strict=True))

    def _slowly(self, file: File, proofs: Sequence[Proof], start: int, stop: int) -> Buffer | None:
        # Not over a network: a server without versions might answer with the whole file.
        if self.are_near and self._get_ranges is not None and _together(file, proofs):
            ranges = [*(proof.range for proof in proofs), ByteRange(start, stop)]
            blobs = self._get_ranges(file.key, ranges)
            if blobs is None or not all(map(_is_in, blobs, proofs)):
                return None
            return _fitting(blobs[-1]._replace(version=file.version), file, stop - start)
        data = _fitting(self._get(file.key, ByteRange(start, stop)), file, stop - start)
        return data if data is not None and self._same(proofs) else None

    def _same(self, proofs: Sequence[Proof]) -> bool:
        return all(_is_in(self._get(proof.key, proof.range), proof) for proof in proofs)


def is_strong(version: str | None) -> bool:
    """Whether equal versions mean equal bytes; not those of a web server's weak ETag."""
    return version is not None and not version.startswith("W/")


def _together(file: File, proofs: Sequence[Proof]) -> bool:
    return all(proof.key == file.key for proof in proofs)


def _is_in(blob: Blob | None, proof: Proof) -> bool:
    return blob is not None and blob.content_encoding is None and bytes(blob.data) == proof.data


def _fitting(blob: Blob | None, file: File, length: int) -> Buffer | None:
    if blob is None or blob.content_encoding is not None or blob.version != file.version:
        return None
    if file.size is not None and blob.size not in (None, file.size):
        return None
    return blob.data if memoryview(blob.data).nbytes == length else None
