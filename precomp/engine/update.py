"""Read-modify-write of one object that loses no concurrent update."""

import time
from collections.abc import Callable
from typing import TypeAlias

from precomp.errors import ConditionFailedError, StoreError
from precomp.interfaces import Blob, Condition, Modify, Store, SupportsUpdate
from precomp.retry import stopped_within

__all__ = ["Update", "update", "updater"]

Update: TypeAlias = Callable[[str, Modify], None]
"""Replaces the object at a key by `modify(object)`."""

_DEADLINE = 60.0  # seconds; contention on one chunk beyond that is a stuck or hostile writer,
_LEAST_ATTEMPTS = 16  # or there are many writers of a large shard, for which one attempt takes long
_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 1.0


def update(store: Store, key: str, modify: Modify) -> None:
    """Replace the object at `key` by `modify(object)`, see `updater`."""
    updater(store)(key, modify)


def updater(store: Store, where: Callable[[str], str] = str) -> Update:
    """Return what replaces objects of a store by `modify(object)`, which may be called again on contention.

    A store with an `update` of its own (a local lock) is asked; any other is read, and written on
    the condition that nobody wrote in between. Where `modify` returns None the object is deleted.
    `where` gives a key's name for errors. Raises StoreError when others keep writing until the deadline.
    """
    if isinstance(store, SupportsUpdate):
        return store.update
    # A copy on the local disk may be an older one, whose version will never do.
    get: Callable[[str], Blob | None] = getattr(store, "get_past_caches", store.get)

    def attempt(key: str, modify: Modify) -> ConditionFailedError | None:
        """Return what says that somebody was quicker; None where it is done."""
        before = get(key)
        after = modify(before)
        if after is None:
            if before is not None:
                store.delete([key])
            return None
        condition = Condition(None if before is None else _version(before.version, key, where))
        try:
            store.put(key, after, condition=condition)
        except ConditionFailedError as error:
            return error
        return None

    def insist(key: str, modify: Modify) -> None:
        start, pause, attempts = time.monotonic(), _FIRST_PAUSE, 1
        while (error := attempt(key, modify)) is not None:
            from random import uniform  # only a busy chunk needs it

            waited = time.monotonic() - start
            over = waited > _DEADLINE and attempts >= _LEAST_ATTEMPTS
            if over or stopped_within(uniform(0, pause)):
                raise StoreError(
                    f"{where(key)}: other writers changed it again and again for {waited:.0f} s; "
                    "nothing was written, write chunk-aligned boxes or fewer at a time"
                ) from error
            attempts += 1
            pause = min(2 * pause, _LONGEST_PAUSE)

    return insist


def _version(version: str | None, key: str, where: Callable[[str], str]) -> str:
    if version is None:
        raise StoreError(
            f"{where(key)}: the store gave no version, so a part of it cannot be rewritten safely; "
            "write whole chunks, or give the store versions or an `update` method"
        )
    return version
