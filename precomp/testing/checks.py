"""Assertions whose messages tell the author of a plugin what was found and what was expected."""

import itertools
from collections.abc import Callable
from typing import Any, ParamSpec

import numpy as np
from numpy.typing import NDArray

from precomp.interfaces import Blob

__all__ = ["content", "data_of", "expect_error", "expect_voxels", "shown"]

P = ParamSpec("P")

_LONG = 60  # bytes; more are told by their number


def shown(data: bytes | None) -> str:
    """Return bytes as a message shows them."""
    if data is None:
        return "None, as for an absent object"
    return repr(data) if len(data) <= _LONG else f"{data[:_LONG]!r}... ({len(data)} bytes)"


def content(blob: Blob | None, expected: bytes, what: str) -> Blob:
    """Assert that `blob` holds exactly the bytes `expected`, and return it."""
    __tracebackhide__ = True
    assert blob is not None, f"{what}: expected {shown(expected)}, found {shown(None)}"
    assert isinstance(blob, Blob), f"{what}: expected a precomp.interfaces.Blob, found {blob!r}"
    found = data_of(blob, what)
    # Compared here: the report of a test runner would compare long bytes one by one.
    equal = found == expected
    assert equal, f"{what}: expected {shown(expected)}, found {shown(found)}"
    return blob


def data_of(blob: Blob, what: str) -> bytes:
    """Return the bytes of a blob, having asserted that there are some."""
    __tracebackhide__ = True
    buffer = isinstance(blob.data, (bytes, bytearray, memoryview))
    assert buffer, f"{what}: expected bytes as Blob.data, found {blob.data!r}"
    return bytes(blob.data)


def expect_error(
    kind: type[Exception], what: str, call: Callable[P, object], *args: P.args, **kwargs: P.kwargs
) -> Exception:
    """Assert that `call(*args, **kwargs)` raises an error of this kind, and return it."""
    __tracebackhide__ = True
    try:
        found = call(*args, **kwargs)
    except kind as error:
        return error
    except Exception as error:
        raise AssertionError(
            f"{what}: expected {kind.__name__}, it raised {type(error).__name__}: {error}"
        ) from error
    raise AssertionError(f"{what}: expected {kind.__name__}, it returned {_brief(found)}")


def expect_voxels(
    found: NDArray[Any], expected: NDArray[Any], what: str, tolerance: float | None = None
) -> None:
    """Assert equal shape, dtype and voxels: bit by bit, or up to a difference of `tolerance`."""
    __tracebackhide__ = True
    assert isinstance(found, np.ndarray), f"{what}: expected a numpy array, found {_brief(found)}"
    assert found.shape == expected.shape, (
        f"{what}: expected shape {expected.shape} (x, y, z, channel), found {found.shape}"
    )
    assert found.dtype == expected.dtype, f"{what}: expected dtype {expected.dtype}, found {found.dtype}"
    wrong = _bits(found) != _bits(expected) if tolerance is None else _apart(found, expected, tolerance)
    if wrong.any():
        where = tuple(map(int, np.argwhere(wrong)[0]))
        raise AssertionError(
            f"{what}: {wrong.sum()} of {wrong.size} voxels are wrong{_guess(found, expected, tolerance)}; "
            f"the first is {where} (x, y, z, channel): expected {expected[where]}, found {found[where]}"
        )


def _bits(voxels: NDArray[Any]) -> NDArray[Any]:
    """Return the voxels as unsigned integers, which compare NaN and the sign of zero too."""
    return np.ascontiguousarray(voxels).view(f"u{voxels.dtype.itemsize}")


def _apart(found: NDArray[Any], expected: NDArray[Any], tolerance: float) -> NDArray[Any]:
    with np.errstate(all="ignore"):  # damaged floats may be anything
        difference = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    return ~(difference <= tolerance)  # negated, so that NaN is too far away


def _guess(found: NDArray[Any], expected: NDArray[Any], tolerance: float | None) -> str:
    """Name the mistake where it is one of the usual ones."""
    shape = expected.shape
    stored = expected.ravel("F")
    suspects = {
        "the channels are in reverse order": expected[..., ::-1],
        "the byte order is swapped": expected.byteswap(),
        "they were written in C order and read in Fortran order": expected.ravel("C").reshape(
            shape, order="F"
        ),
        "they were written in Fortran order and read in C order": stored.reshape(shape),
    }
    for (a, first), (b, second) in itertools.combinations(enumerate("xyz"), 2):
        swapped = expected.swapaxes(a, b)
        guess = f"{first} and {second} are swapped"
        suspects[guess] = swapped.ravel("F").reshape(shape, order="F")
        suspects[f"{guess} in reading"] = stored.reshape(swapped.shape, order="F").swapaxes(a, b)
    for guess, suspect in suspects.items():
        wrong = _bits(found) != _bits(suspect) if tolerance is None else _apart(found, suspect, tolerance)
        if not wrong.any():
            return f" ({guess})"
    return ""


def _brief(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}, shape {value.shape}"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return shown(bytes(value))
    text = repr(value)
    return text if len(text) <= 2 * _LONG else f"{text[: 2 * _LONG]}..."
