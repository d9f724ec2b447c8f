"""JSON text to plain values and back, strictly."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from precomp.errors import ArgumentError, InfoError, PrecompError
from precomp.jsonio.problems import member, shown

__all__ = ["MAX_DEPTH", "dumps", "loads", "plain"]

MAX_DEPTH = 100
"""How deep lists and objects may be nested: copying and comparing recurse, so it must end somewhere."""

_BRACKETS_AND_TEXTS = re.compile(r'[][{}]|"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_STEPS = {"[": 1, "{": 1, "]": -1, "}": -1}


def loads(
    data: bytes | str, name: str, error: type[PrecompError] = InfoError, *, unique: bool = False
) -> Any:
    """Return the plain values of a JSON text in UTF-8.

    Of a key that stands twice in an object the last one counts; with `unique` that is an error.

    Raises `error`, its text starting with `name`, where `data` is not UTF-8, not JSON (NaN and
    Infinity are not) or nested deeper than MAX_DEPTH.
    """
    try:
        text = (data if isinstance(data, str) else data.decode("utf-8")).removeprefix("\ufeff")
    except UnicodeDecodeError as cause:
        found = f"byte {cause.start} is 0x{cause.object[cause.start]:02x}"
        raise error(f"{name}: expected UTF-8 text, but {found}; save the file as UTF-8") from cause
    if _too_deep(text):
        raise error(f"{name}: expected lists and objects at most {MAX_DEPTH} deep; repair the file")
    try:
        return (_UNIQUE if unique else _PLAIN).decode(text)
    except _TwiceError as cause:
        raise error(f"{name}: {cause}; keep one of them") from cause
    except json.JSONDecodeError as cause:
        where = f"line {cause.lineno} column {cause.colno}"
        raise error(f"{name}: this is not JSON: {cause.msg}: {where}; repair the file") from cause
    except ValueError as cause:
        raise error(f"{name}: this is not JSON: {cause}; repair the file") from cause


def dumps(value: Any, name: str = "JSON", *, compact: bool = False) -> bytes:
    """Return the JSON text of `value` in UTF-8, keys in their order; takes all that `plain` takes.

    Indented, with lists of numbers on one line; `compact` leaves out every blank. Raises
    ArgumentError, naming the place inside `name`, where something is no JSON value.
    """
    value = plain(value, name)
    if compact:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    else:
        # A bracket right before a line break is never inside a text, where the break would be escaped.
        text = json.dumps(value, ensure_ascii=False, indent=1)
        text = re.sub(r"\[\n\s*([^][{}\"]*?)\n\s*\]", lambda found: f"[{' '.join(found[1].split())}]", text)
    # Half of a surrogate pair has no UTF-8; its JSON escape has.
    return text.encode("utf-8", "backslashreplace")


def plain(value: Any, name: str, error: type[PrecompError] = ArgumentError) -> Any:
    """Return a deep copy of plain JSON values: tuples, Vec and arrays as lists, numpy scalars as numbers.

    Raises `error`, naming the place inside `name`, where something is no JSON value: another type, a key
    that is no text, NaN, or anything nested deeper than MAX_DEPTH.
    """
    return _plain(value, name, error, MAX_DEPTH)


def _plain(value: Any, place: str, error: type[PrecompError], depth: int) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if not depth:
        raise error(f"{place}: expected lists and dicts at most {MAX_DEPTH} deep; nest them less")
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{place}[{number}]", error, depth - 1) for number, item in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(item, place + member(key), error, depth - 1) for key, item in value.items()}
    raise error(
        f"{place}: expected None, a bool, a finite number, a text, a list or a dict with text keys, "
        f"got {shown(value)}"
    )


class _TwiceError(ValueError):
    """A key stands twice in one object."""


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in made if keys.count(key) > 1)
        raise _TwiceError(f"the key {twice!r} stands twice in one object, whose keys are {', '.join(keys)}")
    return made


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


def _too_deep(text: str) -> bool:
    """Whether brackets are nested too deep, found before the parser recurses into them."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    depth = 0
    for token in _BRACKETS_AND_TEXTS.finditer(text):
        depth += _STEPS.get(token[0], 0)
        if depth > MAX_DEPTH:
            return True
    return False


# json.loads would make one of these for every text.
_PLAIN = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)
_UNIQUE = json.JSONDecoder(parse_float=_finite, parse_constant=_finite, object_pairs_hook=_without_doubles)
