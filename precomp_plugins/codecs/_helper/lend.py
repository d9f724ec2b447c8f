"""Memory that numpy takes for the next array of its size, whoever makes that.

For libraries that make the array of their result themselves. Done by numpy's C API for allocators,
`PyDataMem_SetHandler`, which has no function in Python. Imported by helpers, so nothing of precomp is
imported here.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any

__all__ = ["lent"]

_NAME = b"mem_handler"  # of the capsules; as it is kept, so has this to be
_SET_HANDLER = 304  # PyDataMem_SetHandler in the table of the API, in every numpy

_Malloc = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_Calloc = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t)
_Realloc = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_Free = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class _Handler(ctypes.Structure):
    """PyDataMem_Handler, version 1."""

    _fields_ = (
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("context", ctypes.c_void_p),
        ("malloc", _Malloc),
        ("calloc", _Calloc),
        ("realloc", _Realloc),
        ("free", _Free),
    )


class _Lender:
    """The allocator: what is lent goes to the first who wants as much, all else is C's."""

    def __init__(self) -> None:
        self.address = self.size = 0
        self.is_free = False
        library = ctypes.CDLL(None)
        self._malloc, self._calloc = library.malloc, library.calloc
        self._realloc, self._free = library.realloc, library.free
        self._malloc.restype = self._calloc.restype = self._realloc.restype = ctypes.c_void_p
        self._handler = _Handler(
            b"lender",
            1,
            None,
            _Malloc(self.malloc),
            _Calloc(self.calloc),
            _Realloc(self.realloc),
            _Free(self.free),
        )
        python = ctypes.pythonapi
        new, get = python.PyCapsule_New, python.PyCapsule_GetPointer
        new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        self.capsule = new(ctypes.addressof(self._handler), _NAME, None)
        numpy_c: Any = import_module("numpy._core._multiarray_umath")
        table = (ctypes.c_void_p * (_SET_HANDLER + 1)).from_address(get(numpy_c._ARRAY_API, None))
        self.set_handler: Any = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(
            table[_SET_HANDLER] or 0
        )

    def _takes(self, size: int) -> bool:
        taken = self.is_free and size == self.size
        self.is_free &= not taken
        return taken

    def malloc(self, _: Any, size: int) -> Any:
        return self.address if self._takes(size) else self._malloc(ctypes.c_size_t(size))

    def calloc(self, _: Any, count: int, size: int) -> Any:
        if self._takes(count * size):
            return ctypes.memset(self.address, 0, self.size)
        return self._calloc(ctypes.c_size_t(count), ctypes.c_size_t(size))

    def realloc(self, _: Any, old: int, size: int) -> Any:
        if old == self.address:
            return None
        return self._realloc(ctypes.c_void_p(old), ctypes.c_size_t(size))

    def free(self, _: Any, old: int, size: int) -> None:
        if old == self.address:
            self.is_free = True
        else:
            self._free(ctypes.c_void_p(old))


_lender = cache(_Lender)  # kept for ever, as arrays may be


@contextmanager
def lent(address: int, size: int) -> Iterator[None]:
    """Lend memory to the next array of `size` bytes, which may live as long as the memory is not lent again.

    For one thread at a time.
    """
    lender = _lender()
    lender.address, lender.size, lender.is_free = address, size, True
    before = lender.set_handler(lender.capsule)
    try:
        yield
    finally:
        lender.set_handler(before)
        lender.is_free = False
