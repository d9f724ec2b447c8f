"""A helper process, see `_helper.pool`: decodes what comes in at its input until that ends, into memory that
both sides see. Run by its path.

It forks a worker that does it. A worker that has refused data, or has died of them, is followed by another:
who knows what they did to its memory. Forking costs a millisecond, starting an interpreter a hundred.
"""

import json
import os
import signal
import struct
import sys
from collections.abc import Callable
from typing import Any, NoReturn

__all__: list[str] = []

_GOOD, _REFUSED, _DIED = range(3)
_ENDED, _ANSWERED = 0, 77  # exit codes of a worker; Python's own are smaller
_DECODING, _ANSWERING = b"?", b"<"
_LEAST_TIME = 1.0  # seconds of the processor for a chunk, and more for a large one:
_LEAST_SPEED = 2e6  # bytes in a second, a tenth of what the slowest decoder does


def _crackle() -> Callable[..., None]:
    from precomp_plugins.codecs._crackle import library

    if not library.notices_damage():
        raise ImportError("this build of crackle decodes wrongly, or does not let damage be noticed")
    return library.decode


def _compresso() -> Callable[..., None]:
    import compresso
    import numpy as np

    def decode(data: bytes, room: memoryview) -> None:
        labels = compresso.decompress(data)
        np.ndarray(labels.shape, labels.dtype, room, order="F")[...] = labels

    return decode


def _to_compresso() -> Callable[..., bytes]:
    import compresso
    import numpy as np

    def encode(data: bytes, room: memoryview, shape: list[int], dtype: str) -> bytes:
        stream: bytes = compresso.compress(np.ndarray(shape, dtype, room, order="F"))
        return stream

    return encode


def _fpzip() -> Callable[..., None]:
    from ctypes import c_float

    from precomp_plugins.codecs._fpzip import library

    library.library()

    def decode(data: bytes, room: memoryview, shape: list[int]) -> None:
        voxels = (c_float * (shape[0] * shape[1] * shape[2] * shape[3])).from_buffer(room)
        library.read(data, (shape[0], shape[1], shape[2], shape[3]), voxels)

    return decode


_WORKS: dict[str, Callable[[], Callable[..., bytes | None]]] = {
    "compresso": _compresso,
    "to compresso": _to_compresso,
    "crackle": _crackle,
    "fpzip": _fpzip,
}


def _read(source: int, size: int) -> bytearray:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        count = os.readv(source, [view])
        if not count:
            os._exit(_ENDED)
        view = view[count:]
    return data


def _answer(target: int, status: int, data: Any) -> None:
    view = memoryview(data).cast("B")
    head = struct.pack("<BQ", status, len(view))
    while head:
        head = head[os.write(target, head) :]
    while view:
        view = view[os.write(target, view) :]


def _work(source: int, target: int, told: int, room: Any, decode: Callable[..., bytes | None]) -> NoReturn:
    """Decode until the input ends or something is refused.

    Bytes to `told` say when all of a chunk has come in, and when the answer begins. Damaged data may keep a
    decoder busy for ever, so each chunk has its share of the processor's time; a signal ends who takes more.
    """
    while True:
        facts_size, size, wanted = struct.unpack("<QQQ", _read(source, 24))
        facts = json.loads(_read(source, facts_size))
        data = bytes(_read(source, size))
        os.write(told, _DECODING)
        signal.setitimer(signal.ITIMER_PROF, _LEAST_TIME + wanted / _LEAST_SPEED)
        try:
            with room.take(wanted) as voxels:
                made = decode(data, voxels, **facts)
            room.let_go()
        except Exception as error:  # noqa: BLE001  it is told to the one who asked
            os.write(told, _ANSWERING)
            _answer(target, _REFUSED, (str(error) or type(error).__name__).encode())
            os._exit(_ANSWERED)
        signal.setitimer(signal.ITIMER_PROF, 0)
        os.write(told, _ANSWERING)
        _answer(target, _GOOD, made or b"")


def main(decoder: str) -> None:
    """Serve until the input ends."""
    source, target = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)  # a library that prints does not break the answers
    sys.path[:] = json.loads(sys.argv[3])
    try:
        from precomp_plugins.codecs._helper.room import Room

        room = Room(int(sys.argv[2]))
        decode = _WORKS[decoder]()
    except Exception as error:  # noqa: BLE001  it is told to the one who asked
        _answer(target, _REFUSED, str(error).encode())
        return
    _answer(target, _GOOD, b"")  # ready
    while True:
        seen, told = os.pipe()
        worker = os.fork()
        if not worker:
            _work(source, target, told, room, decode)
        os.close(told)
        notes = b""
        while note := os.read(seen, 4096):  # until the worker is gone
            notes = (notes + note)[-1:]
        os.close(seen)
        code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
        if code == _ANSWERED:
            continue
        if notes != _DECODING:  # it ended, or somebody ended it, and nobody waits for a whole answer
            return
        _answer(target, _DIED, f"{decoder}: the decoder died of it (exit code {code})".encode())


if __name__ == "__main__":
    main(sys.argv[1])
