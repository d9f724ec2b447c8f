"""The other process of the file store's tests: `python store_child.py COMMAND ROOT [NUMBER]`."""

import itertools
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from precomp.errors import StoreError
from precomp.interfaces import Blob
from precomp_plugins._file import moves, update
from precomp_plugins._file.store import FileStore

SUFFIXES = {"gzip": (".gz",), "br": (".br",), "zstd": (".zstd", ".zst")}
KEY = "8_8_40/0-64_0-64_0-64"
SIZE = 300_000
ENCODINGS = {"plain": None, "gzip": "gzip", "br": "br", "zstd": "zstd"}


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


def kill_updates() -> None:
    """For each line of the input update in a process that is killed before a step of its own.

    Before an earlier step, or the same, a put moves its file: from `source` to `target`.
    """
    for line in sys.stdin:
        root, encoding, source, target, moved, killed = line.split()
        if not (child := os.fork()):
            _update_killed(root, ENCODINGS[encoding], (source, target), int(moved), int(killed))
        os.waitpid(child, 0)
        say("killed")


def _update_killed(
    root: str, encoding: str | None, put: tuple[str, str], moved: int, killed: int
) -> NoReturn:
    steps = itertools.count()
    replace = os.replace

    def step() -> None:
        number = next(steps)
        if number == moved:
            replace(*put)
        if number == killed:
            os.kill(os.getpid(), signal.SIGKILL)

    on_each_step(step)
    opened(root).update(KEY, lambda blob: Blob((bytes(blob.data) if blob else b"none") + b"+", encoding))
    while True:  # it had fewer steps
        step()


def on_each_step(step: Callable[[], None], put: Callable[..., None] = setattr) -> None:
    """Have `step` called before all that an update does to names, once it has written its file."""

    def stepped(call: Callable[..., object]) -> Callable[..., object]:
        def announced(*arguments: object) -> object:
            step()
            return call(*arguments)

        return announced

    for module in (moves, update):
        for name in ("exchange", "move_to_free"):
            put(module, name, stepped(getattr(module, name)))
    put(os, "rename", stepped(os.rename))
    put(os, "unlink", stepped(os.unlink))


def put_numbers(root: str, encoding: str) -> NoReturn:
    """Put rising numbers for ever; say so when one that was put is not there."""
    store = opened(root)
    number = int(bytes(store.get(KEY).data).split()[0])  # type: ignore[union-attr]
    say("started")
    while True:
        number += 1
        store.put(KEY, Blob(b"%d" % number, ENCODINGS[encoding]))
        found = store.get(KEY)
        if found is None or int(bytes(found.data).split()[0]) != number:
            say(f"lost the put {number}, found {found}")
        time.sleep(random.uniform(0, 0.0005))


def add_words(root: str, encoding: str) -> NoReturn:
    """Add a word of our own again and again; say so when one is gone though no number was put since."""
    store = opened(root)
    seen = b""

    def modify(blob: Blob | None) -> Blob:
        nonlocal seen
        seen = bytes(blob.data) if blob else b"none"
        return Blob(b" ".join((seen, word)), ENCODINGS[encoding])

    say("started")
    for turn in itertools.count():
        word = b"%d-%d" % (os.getpid(), turn)
        store.update(KEY, modify)
        found = bytes(store.get(KEY).data).split()  # type: ignore[union-attr]
        if int(found[0]) < int(seen.split()[0]) or (found[0] == seen.split()[0] and word not in found):
            say(f"lost the update {word!r} of {seen!r}, found {found}")
    raise AssertionError


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
