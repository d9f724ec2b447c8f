"""Work in helper processes, for libraries that crash on damage which nothing finds before, or hold the lock.

A helper is a child process that waits for work at a pipe. There are as many as threads decode at once; they
are kept for the next chunk and end with this process. Their libraries hold no lock of this one, so that
threads decode in parallel.
"""

import atexit
import fcntl
import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

from precomp.interfaces import Buffer
from precomp_plugins.codecs._helper.room import Room, open_room

__all__ = ["decode_outside", "encode_outside"]

Give: TypeAlias = Callable[[memoryview], None]
"""Reads or writes the voxels' bytes, and keeps none of them."""

_SCRIPT = Path(__file__).with_name("child.py")
_TIMEOUT = 60  # seconds without a sign of life, and more for a large chunk:
_LEAST_SPEED = 1e5  # bytes in a second
# glibc gives freed memory of a chunk back at once, and getting it anew takes as long as decoding into it.
_MALLOC = dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(2**26))
_ANSWER = struct.Struct("<BQ")
_GOOD = 0


class _GoneError(Exception):
    """The helper ended or hangs."""


class _Helper:
    def __init__(self, decoder: str) -> None:
        self.process, self._room = _started(decoder)
        _living.add(self)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._to, self._from = self.process.stdin.fileno(), self.process.stdout.fileno()
        self._answers = select.poll()
        self._answers.register(self._from, select.POLLIN)
        self.fresh = True  # its worker has not decoded anything yet
        for pipe in (self._to, self._from):
            _widen(pipe)
        try:
            status, reason = self._answer(_TIMEOUT)
            if status != _GOOD:
                raise _no_start(decoder, reason.decode())
        except BaseException as error:
            self.close()
            if isinstance(error, _GoneError):
                raise _no_start(decoder, "it ended or hangs") from error
            raise

    def ask(self, facts: bytes, data: Buffer, wanted: int, give: Give | None) -> tuple[int, bytearray]:
        """Return the status, and what was encoded or the reason of a refusal. Raises _GoneError."""
        with self._room.take(wanted) as voxels:
            if give is not None:
                give(voxels)
        try:
            for part in (struct.pack("<QQQ", len(facts), len(data), wanted), facts, data):
                view = memoryview(part).cast("B")
                while view:
                    view = view[os.write(self._to, view) :]
        except OSError as error:
            raise _GoneError from error
        return self._answer(_TIMEOUT + wanted / _LEAST_SPEED)

    def show(self, wanted: int, take: Give) -> None:
        """Show `take` the voxels of a good answer."""
        with self._room.take(wanted) as voxels:
            take(voxels)

    def tidy(self) -> None:
        """Give much memory back, after an answer."""
        self._room.let_go()
        self._room.shrink()

    def _answer(self, patience: float) -> tuple[int, bytearray]:
        status, size = _ANSWER.unpack(self._read(_ANSWER.size, patience))
        return status, self._read(size, patience)

    def _read(self, size: int, patience: float) -> bytearray:
        answer = bytearray(size)
        view = memoryview(answer)
        while view:
            if not self._answers.poll(1000 * patience):
                raise _GoneError
            count = os.readv(self._from, [view])
            if not count:
                raise _GoneError
            view = view[count:]
        return answer

    def close(self) -> None:
        _living.discard(self)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        with self.process:  # closes the pipes and waits
            self._room.close()

    def forget(self) -> None:
        """Close this forked child's side; the helper stays the parent's."""
        self.process.returncode = 0  # so that nothing waits for it here
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self._room.abandon()


def _started(decoder: str) -> "tuple[subprocess.Popen[bytes], Room]":
    if not sys.executable:
        raise _no_start(decoder, "sys.executable does not tell where Python is")
    try:
        room = Room(open_room())
        try:
            return _process(decoder, room.file), room
        except BaseException:
            room.close()
            raise
    except OSError as error:
        raise _no_start(decoder, error) from error


def _process(decoder: str, room: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-P", str(_SCRIPT), decoder, str(room), json.dumps(list(map(str, sys.path)))],
        pass_fds=[room],
        env={**os.environ, **_MALLOC},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # where the C library tells what it dies of
        bufsize=0,
        start_new_session=True,  # so that its workers can be ended with it
    )


def _no_start(decoder: str, reason: object) -> ImportError:
    """That is no fault of the data."""
    return ImportError(f"the helper process of {decoder} does not start: {reason}")


def _widen(pipe: int) -> None:
    """Let a pipe take a chunk in few steps, where the system can."""
    with suppress(AttributeError, OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 2**20)


_idle: dict[str, list[_Helper]] = {}
_living: "weakref.WeakSet[_Helper]" = weakref.WeakSet()  # those that threads work with, too
_lock = threading.Lock()


def decode_outside(decoder: str, data: Buffer, size: int, take: Give, **facts: Any) -> None:
    """Have `decoder` of a helper decode the data, and show `take` the voxels.

    `take` gets their `size` bytes, in Fortran order, in memory of the helper: it must copy what it keeps.
    Raises ValueError where the helper refuses the data or dies of it, and so does one that has seen nothing
    else; ImportError where none can be started.
    """
    _outside(decoder, data, size, None, take, facts)


def encode_outside(encoder: str, size: int, give: Give, **facts: Any) -> bytes:
    """Have `encoder` of a helper encode voxels, which `give` writes into memory of the helper.

    Those are `size` bytes, in Fortran order. Raises as `decode_outside` does.
    """
    return bytes(_outside(encoder, b"", size, give, None, facts))


def _outside(
    work: str, data: Buffer, size: int, give: Give | None, take: Give | None, facts: dict[str, Any]
) -> bytearray:
    text = json.dumps(facts).encode()
    with _lock:
        kept = _idle.setdefault(work, [])
        helper = kept.pop() if kept else None
    try:
        for _ in range(2):
            helper = helper or _Helper(work)
            try:
                status, answer = helper.ask(text, data, size, give)
            except _GoneError:
                helper.close()
                helper, answer = None, bytearray(f"{work}: the library died or hung of it".encode())
                continue
            fresh, helper.fresh = helper.fresh, status != _GOOD
            if status == _GOOD and take is not None:
                helper.show(size, take)
            helper.tidy()
            if status == _GOOD:
                return answer
            if fresh:
                break
    except BaseException:  # whoever interrupts leaves half an answer in the pipe
        if helper is not None:
            helper.close()
            helper = None
        raise
    finally:
        if helper is not None:
            with _lock:
                _idle.setdefault(work, []).append(helper)
    raise ValueError(answer.decode())


def _forget() -> None:
    """In a forked child: the helpers are the parent's."""
    global _lock
    _lock = threading.Lock()
    for helper in list(_living):
        helper.forget()
    _living.clear()
    _idle.clear()


@atexit.register
def _close_all() -> None:
    with _lock:  # daemon threads may still be at work
        helpers = list(chain.from_iterable(_idle.values()))
        _idle.clear()
    for helper in helpers:
        helper.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
