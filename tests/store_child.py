"""The other process of the file store's tests: `python store_child.py COMMAND ROOT [NUMBER]`."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from precomp.errors import StoreError
from precomp.interfaces import Blob
from precomp_plugins._file.store import FileStore

SUFFIXES = {"gzip": (".gz",), "br": (".br",), "zstd": (".zstd", ".zst")}
KEY = "8_8_40/0-64_0-64_0-64"
SIZE = 300_000


def opened(root: str) -> FileStore:
    store = FileStore(root)
    store.set_suffixes(SUFFIXES)
    return store


def pattern(encoding: str | None) -> bytes:
    """A content that tells its encoding, and in which a torn file would show."""
    return str(encoding).encode() * (SIZE // 4)


def say(word: str) -> None:
    print(word, flush=True)


def increment(root: str, times: str) -> None:
    """Add one to the number under KEY, many times."""
    store = opened(root)
    for _ in range(int(times)):
        store.update(KEY, lambda blob: Blob(b"%d" % (1 + int(bytes(blob.data) if blob else b"0"))))


def rewrite(root: str, times: str) -> None:
    """Put KEY again and again, each time with another compression."""
    store = opened(root)
    for turn in range(int(times)):
        encoding = [None, "gzip", "br"][(turn + os.getpid()) % 3]
        store.put(KEY, Blob(pattern(encoding), encoding))


def put_for_ever(root: str) -> NoReturn:
    store = opened(root)
    say("started")
    while True:
        for encoding in (None, "gzip"):
            store.put(KEY, Blob(pattern(encoding), encoding))


def update_for_ever(root: str) -> NoReturn:
    store = opened(root)
    say("started")
    while True:
        for encoding in (None, "gzip"):
            store.update(KEY, lambda _, e=encoding: Blob(pattern(e), e))  # type: ignore[misc]


def hang_in_update(root: str) -> None:
    def modify(blob: Blob | None) -> NoReturn:
        say("inside")
        while True:
            time.sleep(60)

    opened(root).update(KEY, modify)


def hang_in_update_with_a_child(root: str) -> None:
    """Say "inside" and hang in an update, with a forked child that outlives it."""

    def hang(blob: Blob | None) -> NoReturn:
        if os.fork():
            say("inside")
        else:
            os.close(1)
        time.sleep(20)
        os._exit(0)

    opened(root).update(KEY, hang)


def hang_in_put(root: str) -> None:
    """Stop when all is written and nothing is moved."""

    def replace(source: str, target: str) -> None:
        say("inside")
        while True:
            time.sleep(60)

    os.replace = replace  # type: ignore[assignment]
    opened(root).put(KEY, Blob(b"new"))


def fork_in_update(root: str) -> None:
    """Fork while holding the lock, another thread waiting for it: the child must not keep it."""
    import fcntl

    store = opened(root)
    waiter = threading.Thread(target=store.update, args=(KEY, lambda _: Blob(b"waiter")))
    arrived = threading.Event()
    children = []
    flock = fcntl.flock

    def announced(fd: int, operation: int) -> None:
        if threading.current_thread() is waiter:
            arrived.set()
        flock(fd, operation)

    def modify(blob: Blob | None) -> Blob:
        waiter.start()
        arrived.wait()
        time.sleep(0.1)  # the short way from there into the system call
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
        children.append(child)
        return Blob(b"holder")

    fcntl.flock = announced  # type: ignore[assignment]
    store.update(KEY, modify)
    waiter.join(20)
    say("still waiting" if waiter.is_alive() else "done")
    os.kill(children[0], signal.SIGKILL)
    os.waitpid(children[0], 0)


def limited(root: str) -> None:
    """Put and update more than the limit of a file's size allows (Python ignores SIGXFSZ)."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE // 2, SIZE // 2))
    store = opened(root)
    puts: list[Callable[[], None]] = [
        lambda: store.put(KEY, Blob(pattern(None))),
        lambda: store.put(KEY, Blob(pattern("gzip"), "gzip")),
        lambda: store.update(KEY, lambda _: Blob(pattern(None))),
        lambda: store.put("new/key", Blob(pattern(None))),
    ]
    for put in puts:
        try:
            put()
        except StoreError as error:
            say(str(error))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
