"""Vec: a short immutable vector of plain Python numbers, such as a position, a size or a resolution."""

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Set
from itertools import repeat
from typing import Any, Self, SupportsIndex, cast, overload

import numpy as np
from numpy.typing import DTypeLike

from precomp.errors import ArgumentError

__all__ = ["Vec", "holds_elements", "number"]


def holds_elements(value: object) -> bool:
    """Tell whether `value` is a list, an array or the like; text, sets and 0-d arrays are not."""
    if isinstance(value, (tuple, list)):
        return True
    is_ordered = isinstance(value, Iterable) and not isinstance(value, (str, bytes, Set, Mapping))
    return is_ordered and getattr(value, "ndim", 1) != 0


def number(value: Any, name: str) -> Any:
    """Return `value`, a Python or numpy scalar, as a plain int or float.

    Raises:
        ArgumentError: `value`, which the message calls `name`, is NaN, a bool, text or no number.
    """
    if type(value) is int:  # nearly all are
        return value
    if getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, (float, np.floating)) and not math.isnan(value):
        return float(value)
    raise ArgumentError(
        f"{name} is {value!r} ({type(value).__name__}); expected an int, or a float other than NaN"
    )


def _is_left_to_numpy(vec: "Vec", other: Any, reflected: bool = False) -> bool:
    """Tell whether the result is an array: of `array op vec`, and of tables of shape (..., len(vec))."""
    is_array = isinstance(other, np.ndarray) and other.shape[-1:] == (len(vec),)
    return is_array and (reflected or other.ndim > 1)


def _operand(vec: "Vec", other: Any) -> Any:
    """Return numbers to pair with the elements of `vec`, or NotImplemented where `other` has none."""
    if isinstance(other, (int, float)) or getattr(other, "ndim", None) == 0:
        return repeat(number(other, "the operand of a Vec"), len(vec))
    if not holds_elements(other):
        return NotImplemented
    values = other if isinstance(other, np.ndarray) else Vec(other)
    shape = getattr(values, "shape", (len(values),))
    if shape != (len(vec),):
        raise ArgumentError(f"{vec!r} does not fit shape {shape}; expected {len(vec)} elements or a number")
    return Vec(values)


def _arithmetic(apply: Callable[[Any, Any], Any], reflected: bool = False) -> Callable[["Vec", Any], "Vec"]:
    """Make the method of one arithmetic operator; `reflected` for `other op vec`."""

    def method(self: "Vec", other: Any) -> Any:
        if _is_left_to_numpy(self, other, reflected):
            left, right = (other, self) if reflected else (self, other)
            return apply(np.asarray(left), np.asarray(right))
        values = _operand(self, other)
        if values is NotImplemented:
            return NotImplemented
        try:
            return Vec(map(apply, values, self) if reflected else map(apply, self, values))
        except (ArithmeticError, ArgumentError) as error:
            name = f"{apply.__name__} of {self!r} and {other!r}"
            raise ArgumentError(f"{name} has no result in finite numbers: {error}") from error

    return method


def _comparison(apply: Callable[[Any, Any], Any]) -> Callable[["Vec", Any], Any]:
    """Make the method of one ordering operator, elementwise: a bool array."""

    def method(self: "Vec", other: Any) -> Any:
        if _is_left_to_numpy(self, other):
            return apply(np.asarray(self), other)
        values = _operand(self, other)
        if values is NotImplemented:
            return NotImplemented
        return np.fromiter(map(apply, self, values), bool, len(self))

    return method


class Vec(tuple[Any, ...]):
    """An immutable vector: a tuple of Python ints and floats with elementwise arithmetic.

    `Vec(1, 2, 3)` and `Vec([1, 2, 3])` are the same; numpy scalars become Python numbers, so
    integers stay exact at any size. Being a tuple it serves as a shape, a dict key and in JSON.

    `+ - * / // % **` take numbers and sequences of the same length and give a Vec. `array op vec`
    gives an array, and so does an array of shape (..., n), a table of n-vectors, on either side;
    `array += vec` changes the array in place.
    `==` with a sequence or a 1-D array gives one bool, `<`, `<=`, `>`, `>=` a bool array.

    >>> Vec(64, 64, 40) // 2 + (0, 0, 1)
    Vec(32, 32, 21)

    Raises:
        ArgumentError: an element is NaN, a bool, text or no number; operands differ in length; an
            operation has no result, such as a division by zero.
    """

    __slots__ = ()

    def __new__(cls, *values: Any) -> Self:
        """Make a Vec of numbers, or of one sequence of numbers."""
        if len(values) == 1 and type(values[0]) is cls:
            return values[0]
        elements = values[0] if len(values) == 1 and holds_elements(values[0]) else values
        return super().__new__(cls, (number(e, f"element {i} of a Vec") for i, e in enumerate(elements)))

    def __repr__(self) -> str:
        return f"Vec({', '.join(map(repr, self))})"

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> Any: ...
    @overload
    def __getitem__(self, index: slice, /) -> "Vec": ...
    def __getitem__(self, index: SupportsIndex | slice, /) -> Any:
        part = super().__getitem__(index)
        return Vec(part) if isinstance(index, slice) else part

    def _component(self, index: int, name: str) -> Any:
        if index < len(self):
            return self[index]
        raise AttributeError(f"{self!r} has no .{name}; that takes {index + 1} elements, it has {len(self)}")

    @property
    def x(self) -> Any:
        """The first element."""
        return self._component(0, "x")

    @property
    def y(self) -> Any:
        """The second element."""
        return self._component(1, "y")

    @property
    def z(self) -> Any:
        """The third element."""
        return self._component(2, "z")

    @property
    def c(self) -> Any:
        """The fourth element, the channel axis."""
        return self._component(3, "c")

    def astype(self, dtype: DTypeLike) -> "Vec":
        """Return the elements as `dtype` holds them, as Python numbers; integers are cut towards zero.

        Raises:
            ArgumentError: an element does not fit, or `dtype` is neither integer nor floating.
        """
        try:
            kind = np.dtype(dtype)
            with np.errstate(over="raise"):
                return Vec([_cast(value, kind) for value in self])
        except (ArithmeticError, TypeError, ValueError) as error:
            raise ArgumentError(f"{self!r} does not go into dtype {dtype!r}: {error}") from error

    __hash__ = tuple.__hash__

    def __eq__(self, other: Any) -> bool:
        if _is_left_to_numpy(self, other):
            return cast(bool, np.asarray(self) == other)
        if not holds_elements(other):
            return NotImplemented
        return tuple.__eq__(self, tuple(other.tolist() if isinstance(other, np.ndarray) else other))

    def __ne__(self, other: Any) -> bool:
        if _is_left_to_numpy(self, other):
            return cast(bool, np.asarray(self) != other)
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    __lt__ = _comparison(operator.lt)
    __le__ = _comparison(operator.le)
    __gt__ = _comparison(operator.gt)
    __ge__ = _comparison(operator.ge)

    __add__ = _arithmetic(operator.add)
    __sub__ = _arithmetic(operator.sub)
    __mul__ = _arithmetic(operator.mul)
    __truediv__ = _arithmetic(operator.truediv)
    __floordiv__ = _arithmetic(operator.floordiv)
    __mod__ = _arithmetic(operator.mod)
    __pow__ = _arithmetic(operator.pow)
    __radd__ = _arithmetic(operator.add, reflected=True)
    __rsub__ = _arithmetic(operator.sub, reflected=True)
    __rmul__ = _arithmetic(operator.mul, reflected=True)
    __rtruediv__ = _arithmetic(operator.truediv, reflected=True)
    __rfloordiv__ = _arithmetic(operator.floordiv, reflected=True)
    __rmod__ = _arithmetic(operator.mod, reflected=True)
    __rpow__ = _arithmetic(operator.pow, reflected=True)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Make `array op vec` what `vec` says of it: `==` is one bool, `np.int64(2) * vec` a Vec."""
        reflected = _REFLECTED.get(ufunc)
        if reflected and method == "__call__" and not kwargs and inputs[1] is self:
            result = getattr(self, reflected)(inputs[0])
            if result is not NotImplemented:
                return result
            if reflected in ("__eq__", "__ne__"):  # a single number is no vector
                return reflected == "__ne__"
        arrays = [np.asarray(value) if isinstance(value, Vec) else value for value in inputs]
        return getattr(ufunc, method)(*arrays, **kwargs)

    def __neg__(self) -> "Vec":
        return Vec(map(operator.neg, self))

    def __abs__(self) -> "Vec":
        return Vec(map(abs, self))


_REFLECTED: Mapping[Any, str] = {
    np.add: "__radd__",
    np.subtract: "__rsub__",
    np.multiply: "__rmul__",
    np.true_divide: "__rtruediv__",
    np.floor_divide: "__rfloordiv__",
    np.remainder: "__rmod__",
    np.power: "__rpow__",
    np.equal: "__eq__",
    np.not_equal: "__ne__",
    np.less: "__gt__",
    np.less_equal: "__ge__",
    np.greater: "__lt__",
    np.greater_equal: "__le__",
}


def _cast(value: Any, dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "f":
        return float(dtype.type(value))
    whole, limits = int(value), np.iinfo(dtype)
    if not limits.min <= whole <= limits.max:
        raise OverflowError(f"{whole} lies outside {limits.min} to {limits.max}")
    return whole
