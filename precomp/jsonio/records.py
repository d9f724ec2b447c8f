"""Plain values to attrs records and back: the one cattrs converter."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import attrs
from cattrs import Converter
from cattrs.errors import StructureHandlerNotFoundError

from precomp.errors import InfoError, PrecompError, did_you_mean
from precomp.jsonio import hooks
from precomp.jsonio.problems import Problems, located, member, named, wrong
from precomp.jsonio.text import loads, plain
from precomp.provenance import Provenance, ProvenanceFields

__all__ = ["attempt", "provenance", "structure", "unstructure"]

T = TypeVar("T")

_MAX_LINES = 50  # an error is to be read by a person
_COMPUTED = object()  # stands for a default that depends on the record


def structure(data: Any, cls: type[T], root: str, error: type[PrecompError] = InfoError) -> T:
    """Make a `cls` of plain values. Values under `Any` are not copied.

    Raises `error` that lists every problem of `data`, one a line, each behind its path:
    `info.scales[0].size[2]: must be at least 1, got 0` where `root` is `info`.
    """
    hook = _hook_of(cls, root, error)
    try:
        made: T = hook(data, cls)
    except Exception as cause:
        found = located(cause, root)
        lines = [f"{path}: {text}" for path, text in found[:_MAX_LINES]]
        if len(found) > _MAX_LINES:
            lines.append(f"and {len(found) - _MAX_LINES} more")
        raise error("\n".join(lines)) from cause
    return made


def attempt(
    data: Any, cls: type[T], root: str, error: type[PrecompError] = InfoError
) -> tuple[T | None, list[tuple[str, str]]]:
    """Return a `cls` of plain values and nothing; or None and every problem, as pairs of path and text.

    Raises `error` only where `cls` itself is wrong, so that nothing could be made of it.
    """
    hook = _hook_of(cls, root, error)
    try:
        return hook(data, cls), []
    except Exception as cause:  # noqa: BLE001  a plugin's validator may raise anything
        return None, located(cause, "")


def _hook_of(cls: type[Any], root: str, error: type[PrecompError]) -> Callable[[Any, Any], Any]:
    """Return what makes a `cls`. A stranger's class may hold names and types that nobody can resolve."""
    try:
        return _converter.get_structure_hook(cls)
    except StructureHandlerNotFoundError as cause:
        raise error(
            f"{root}: {cause.type_!r} is no type that JSON holds; annotate {cls!r} otherwise"
        ) from cause
    except Exception as cause:
        raise error(
            f"{root}: {cls!r} cannot be used ({named(cause)}); expected annotations and default values "
            "that are there at run time; correct the class"
        ) from cause


def unstructure(record: Any) -> Any:
    """Return the plain JSON values of a record, or of anything that holds records."""
    return _converter.unstructure(record)


def provenance(value: Mapping[str, Any] | bytes | str | None, name: str) -> Provenance:
    """Return a checked copy of a provenance: of a dict, its JSON text, or None for an empty one.

    Raises InfoError, its text starting with `name` and listing every problem.
    """
    data = loads(value, name) if isinstance(value, (bytes, str)) else value
    try:
        fields = {} if data is None else plain(data, "provenance", InfoError)
        structure(fields, ProvenanceFields, "provenance")
    except InfoError as error:
        raise InfoError(f"{name}: this provenance breaks the format\n{error}") from error
    return Provenance(fields)


class _Field(NamedTuple):
    """A field of a record: what attrs knows of it, its JSON name, annotation and default value."""

    attribute: "attrs.Attribute[Any]"
    key: str
    kind: Any
    default: Any


def _fields(cls: type[Any]) -> tuple[list[_Field], bool]:
    """The fields that the JSON may name, and whether others are kept in `extra`."""
    attrs.resolve_types(cls)
    fields = []
    for attribute in attrs.fields(cls):
        default = attribute.default
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
            default = _COMPUTED if default.takes_self else default.factory()
        key = attribute.metadata.get("json", attribute.alias)
        kind = Any if attribute.type is None else attribute.type
        if attribute.init and attribute.name != "extra":
            fields.append(_Field(attribute, key, kind, default))
    return fields, hasattr(attrs.fields(cls), "extra")


def _structure_record(cls: Any, converter: Converter) -> Callable[[Any, Any], Any]:
    fields, is_open = _fields(cls)
    keys = {field.key: None for field in fields}
    steps = [
        (
            field.key,
            field.attribute.alias,
            converter.get_structure_hook(field.kind),
            field.kind,
            field.default,
        )
        for field in fields
    ]

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise wrong("an object", value)
        made: dict[Any, Any] = {}
        found: list[tuple[str, str]] = []
        extra = {key: item for key, item in value.items() if key not in keys}
        if is_open:
            made["extra"] = extra
        else:
            found += [(member(key), _refusal(key, keys)) for key in extra]
        for key, argument, structure, kind, default in steps:
            if key not in value:
                if default is attrs.NOTHING:
                    found.append((member(key), "required field missing"))
                continue
            given = value[key]
            try:
                item = made[argument] = structure(given, kind)
            except Exception as cause:  # noqa: BLE001  a plugin's validator may raise anything
                found += located(cause, member(key))
            else:
                if item == default:
                    extra[key] = given
        if found:
            raise Problems(found + _invalid(cls, fields, value, made))
        try:
            return cls(**made)
        except Exception as cause:
            raise Problems(_invalid(cls, fields, value, made) or located(cause, "", cls)) from cause

    return hook


def _refusal(key: object, known: Iterable[str]) -> str:
    hint = did_you_mean(key, known) if isinstance(key, str) else ""
    return f"unknown field{hint}, expected {', '.join(known) or 'none'}"


def _invalid(
    cls: Any, fields: list[_Field], given: Mapping[str, Any], made: Mapping[Any, Any]
) -> list[tuple[str, str]]:
    """The problems that the fields' validators find, all of them: attrs itself stops at the first."""
    draft = cls.__new__(cls)
    sound = []
    for field in fields:
        attribute, key, _, default = field
        value = made.get(attribute.alias, attrs.NOTHING if key in given else default)
        if value is not attrs.NOTHING and value is not _COMPUTED:
            object.__setattr__(draft, attribute.name, value)
            sound.append((attribute, key, value))
    found = []
    for attribute, key, value in sound:
        # A converter's result is not known here; what its validator finds is reported for the record.
        if attribute.validator is not None and attribute.converter is None:
            try:
                attribute.validator(draft, attribute, value)
            except AttributeError:
                continue  # it looks at another field, which is itself wrong
            except Exception as cause:  # noqa: BLE001  a plugin's validator may raise anything
                found += located(cause, member(key), cls)
    return found


def _unstructure_record(cls: Any, converter: Converter) -> Callable[[Any], Any]:
    fields, is_open = _fields(cls)

    def hook(record: Any) -> Any:
        extra = dict(record.extra) if is_open else {}
        made = {}
        for attribute, key, _, default in fields:
            value = getattr(record, attribute.name)
            if not is_open or value != default:
                made[key] = converter.unstructure(value)
                extra.pop(key, None)
            elif key in extra:
                made[key] = extra.pop(key)
        return made | converter.unstructure(extra)

    return hook


def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and attrs.has(kind)


def _make_converter() -> Converter:
    converter = Converter(
        detailed_validation=False, unstruct_collection_overrides={tuple: list, set: list, frozenset: list}
    )
    hooks.register(converter)
    converter.register_structure_hook_factory(_is_record, _structure_record)
    converter.register_unstructure_hook_factory(_is_record, _unstructure_record)
    return converter


_converter = _make_converter()
