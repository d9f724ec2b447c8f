"""One shard read, changed and put back, such that nobody else's change is lost."""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from precomp.engine.scratch import Scratch
from precomp.engine.shards.build import Parts, check_size, finish, join, take_apart
from precomp.engine.shards.index import Contents
from precomp.engine.shards.reader import ShardReader
from precomp.engine.update import updater
from precomp.errors import TooLargeError, UnsupportedError
from precomp.interfaces import Blob, SupportsUpdate

__all__ = ["Edit", "rewrite"]

_TYPE = "application/octet-stream"


class Edit(NamedTuple):
    """What becomes of a shard.

    Attributes:
        layers: new chunks, a later one's instead of the same of an earlier one.
        removed: ids of chunks that shall not be there.
    """

    layers: Sequence[Parts] = ()
    removed: Collection[int] = ()


class _UnchangedError(Exception):
    """There is nothing to write."""


def rewrite(
    reader: ShardReader,
    shard: int,
    edit: Callable[[Parts, str | None], Edit],
    *,
    anew: bool = False,
    cache_control: str | None = None,
    scratch: Scratch | None = None,
) -> None:
    """Replace a shard by what `edit` makes of its chunks and its version; it may be called again.

    A shard that is left without chunks is deleted where the store updates under a lock. Elsewhere nobody can
    delete on a condition, so that an empty one is put.

    Args:
        reader: of the folder.
        shard: its number.
        edit: gets no chunks where there is no such shard; what it raises passes through.
        anew: nothing of the old shard stays, so that it is not read.
        cache_control: of the file.
        scratch: memory for the new shard.

    Raises UnsupportedError for a shard in the old form and for one with too large an index, ChunkDecodeError
    for a damaged one (it is left as it is), TooLargeError and StoreError.
    """
    objects, form, key = reader.objects, reader.form, reader.key(shard)
    check_size(form, objects.where(key))
    room = Scratch() if scratch is None else scratch
    may_go = isinstance(objects.store, SupportsUpdate)

    def modify(blob: Blob | None) -> Blob | None:
        old = _old_parts(reader, shard, blob)
        layers, removed = edit(old, None if blob is None else blob.version)
        held = old.contents.ids
        if not (anew or layers or any(old.contents.place(number) for number in removed)):
            raise _UnchangedError
        if (
            not len(held)
            and len(layers) == 1
            and not removed
            and _is_in_place(form.locator.index_length, layers[0])
        ):
            parts = layers[0]
        else:
            parts = join(form, [old, *layers], removed, room)
        if not len(parts.contents.ids) and (may_go or blob is None):
            return None
        return Blob(finish(form, parts), None, _TYPE, cache_control)

    try:
        if anew:
            _put_anew(reader, key, modify)
        else:
            updater(objects.store, objects.where)(key, modify)
    except _UnchangedError:
        return
    except TooLargeError:
        raise
    except MemoryError as error:
        raise TooLargeError(
            f"{objects.where(key)}: not enough memory to write this shard anew, which takes three times its "
            "size; free some, lower `parallel`, or copy the volume to smaller shards"
        ) from error


def _put_anew(reader: ShardReader, key: str, modify: Callable[[Blob | None], Blob | None]) -> None:
    blob = modify(None)
    if blob is None:
        reader.objects.store.delete([key])
    else:
        reader.objects.store.put(key, blob)


def _old_parts(reader: ShardReader, shard: int, blob: Blob | None) -> Parts:
    if blob is None:
        _refuse_old_form(reader, shard)
        return Parts(memoryview(b""), Contents.none())
    where = reader.objects.where(reader.key(shard))
    if blob.content_encoding is not None:
        raise reader.form.damaged(
            where, None, f"expected a plain file, found {blob.content_encoding}: shards are not compressed"
        )
    return take_apart(reader.form, where, shard, blob.data)


def _refuse_old_form(reader: ShardReader, shard: int) -> None:
    key = reader.key(shard, ".index")
    if reader.objects.store.stat(key) is not None:
        raise UnsupportedError(
            f"{reader.objects.where(key)}: this shard is stored in the old form of two files, which is read "
            "only; copy the volume with transfer_to and write to the copy"
        )


def _is_in_place(first: int, parts: Parts) -> bool:
    """Whether chunks lie one after the other behind the room for the index, as `Gathered` puts them."""
    ids, starts, stops = parts.contents
    return len(ids) > 0 and int(starts[0]) == first and bool((starts[1:] == stops[:-1]).all())
