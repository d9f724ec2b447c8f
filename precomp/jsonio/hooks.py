"""How values are structured by annotation: cattrs hooks that are strict and collect every problem.

A hook takes a value and its annotation; it returns the structured value or raises a ValueError, which is
a `Problems` where there may be several. What makes hooks is named after the annotations they are for.
"""

import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import repeat
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from cattrs import Converter

from precomp.errors import did_you_mean
from precomp.jsonio.problems import Problems, located, member, shown, wrong

__all__ = ["register"]

_Hook = Callable[[Any, Any], Any]

_NAMES: dict[Any, str] = {
    int: "an integer",
    float: "a number",
    str: "a text",
    bool: "true or false",
    types.NoneType: "null",
}


def _scalar(kind: Any) -> _Hook:
    def hook(value: Any, target: Any) -> Any:
        if type(value) is not kind:
            if kind is str and isinstance(value, str):
                value = str(value)  # one that remembers how it was written
            elif kind is int and type(value) is float and value.is_integer():
                value = int(value)
            elif kind is float and type(value) is int:
                value = float(value)
            else:
                raise wrong(_NAMES[kind], value)
        return value if target is kind else target(value)  # an IntEnum, say, is an int to cattrs

    return hook


def _literal(kind: Any) -> _Hook:
    members = get_args(kind)
    known = {(type(choice), choice) for choice in members}  # 1 is not True
    texts = [choice for choice in members if isinstance(choice, str)]

    def hook(value: Any, _: Any) -> Any:
        if isinstance(value, str):
            value = str(value)
        if isinstance(value, (str, int)) and (type(value), value) in known:
            return value
        raise wrong(_choices(kind) + (did_you_mean(value, texts) if isinstance(value, str) else ""), value)

    return hook


def _choices(kind: Any) -> str:
    return " or ".join(repr(choice) for choice in get_args(kind))


def _annotated(kind: Any, converter: Converter) -> _Hook:
    inner, *notes = get_args(kind)
    structure = converter.get_structure_hook(inner)
    checks = [note for note in notes if callable(note)]

    def hook(value: Any, _: Any) -> Any:
        result = structure(value, inner)
        try:
            for check in checks:
                check(result)
        except ValueError as cause:
            raise ValueError(f"{cause}, got {shown(value)}") from cause
        return result

    return hook


def _union(kind: Any, converter: Converter) -> _Hook:
    members = get_args(kind)
    expected = " or ".join(
        _describe(choice) for choice in members if choice is not int or float not in members
    )
    as_it_is = {choice for choice in members if choice in _NAMES}
    hooks = [
        (converter.get_structure_hook(choice), choice) for choice in members if choice is not types.NoneType
    ]

    def hook(value: Any, _: Any) -> Any:
        if type(value) in as_it_is:
            return value
        for structure, choice in hooks:
            try:
                return structure(value, choice)
            except (TypeError, ValueError):
                if len(hooks) == 1:
                    raise  # it says more than the names of the members could
        raise wrong(expected, value)

    return hook


def _describe(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return _choices(kind)
    return _NAMES.get(kind) or str(getattr(kind, "__name__", kind))


_LISTS: dict[Any, Callable[[list[Any]], Any]] = {
    list: list,
    set: set,
    frozenset: frozenset,
    tuple: tuple,
    Sequence: tuple,
}


def _list(kind: Any, converter: Converter) -> _Hook:
    origin, args = get_origin(kind) or kind, get_args(kind)
    collect = _LISTS[origin]
    length = len(args) if origin is tuple and args and args[-1] is not Ellipsis else None
    kinds = [inner for inner in args or (Any,) if inner is not Ellipsis]
    members = [(converter.get_structure_hook(inner), inner) for inner in kinds]
    (structure, inner), alike = members[0], all(other == kinds[0] for other in kinds)

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            raise wrong("a list", value)
        if length is not None and len(value) != length:
            raise wrong(f"{length} values", value)
        try:
            if alike:
                return collect([structure(item, inner) for item in value])
            return collect([each(item, own) for item, (each, own) in zip(value, members, strict=True)])
        except Exception as cause:
            pairs = repeat(members[0]) if alike else members
            raise Problems(_one_by_one(value, pairs) or located(cause, "")) from cause

    return hook


def _one_by_one(value: Sequence[Any], members: Iterable[tuple[_Hook, Any]]) -> list[tuple[str, str]]:
    """The problems of all items, once one is known to have some."""
    found = []
    for number, (item, (structure, kind)) in enumerate(zip(value, members, strict=False)):
        try:
            structure(item, kind)
        except Exception as cause:  # noqa: BLE001  a plugin's validator may raise anything
            found += located(cause, f"[{number}]")
    return found


def _mapping(kind: Any, converter: Converter) -> _Hook:
    inner = (get_args(kind) or (str, Any))[1]
    structure = converter.get_structure_hook(inner)

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise wrong("an object", value)
        made, found = {}, []
        for key, item in value.items():
            try:
                if not isinstance(key, str):
                    raise wrong("a text as key", key)
                made[key] = structure(item, inner)
            except Exception as cause:  # noqa: BLE001  a plugin's validator may raise anything
                found += located(cause, member(key))
        if found:
            raise Problems(found)
        return made

    return hook


def register(converter: Converter) -> None:
    """Give a converter the hooks of this module."""
    for kind in (int, float, str, bool):
        converter.register_structure_hook(kind, _scalar(kind))
    for origins, factory in (
        ((Literal,), _literal),
        ((Annotated,), _annotated),
        ((Union, types.UnionType), _union),
        (tuple(_LISTS), _list),
        ((dict, Mapping), _mapping),
    ):
        converter.register_structure_hook_factory(_is_one_of(origins), factory)


def _is_one_of(origins: tuple[Any, ...]) -> Callable[[Any], bool]:
    return lambda kind: any((get_origin(kind) or kind) is origin for origin in origins)
