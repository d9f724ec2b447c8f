"""Calls that Ctrl-C does not reach, such that it is heard all the same.

Python handles signals in its main thread, and only between its own steps: never while that thread waits in
obstore, which is written in Rust.
"""

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

__all__ = ["apart"]

T = TypeVar("T")


def apart(call: Callable[[], T], *, to_its_end: bool = False) -> T:
    """Return what a call returns. It is made in another thread where this is the main one.

    An interrupt leaves it alone; with `to_its_end` only once it is over, or at a second interrupt.
    """
    if threading.current_thread() is not threading.main_thread():
        return call()
    made = _Call(call)
    try:
        try:
            threading.Thread(target=made.run, name="precomp-s3", daemon=True).start()
        except RuntimeError:  # the system gives no more threads
            made.run()
        made.wait()
    except BaseException:
        if to_its_end and made.began:
            made.wait()
        raise
    return made.result()


class _Call(Generic[T]):
    """A call and what becomes of it.

    Attributes:
        began: whether it is, or was, made.
    """

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._running = threading.Lock()  # whose acquire an interrupt ends
        self._running.acquire()
        self.began = False
        self._result: Any = None
        self._error: BaseException | None = None

    def run(self) -> None:
        """Make the call."""
        self.began = True
        try:
            self._result = self._call()
        except BaseException as error:  # noqa: BLE001  carried to the other thread
            self._error = error
        finally:
            self._running.release()

    def wait(self) -> None:
        """Wait until it is over."""
        with self._running:
            pass

    def result(self) -> T:
        """Return what the call returned, or raise what it raised."""
        if self._error is None:
            result: T = self._result
            return result
        try:
            raise self._error
        finally:
            self._error = None  # whose traceback holds this frame: no cycle
