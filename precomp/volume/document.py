"""The info as a dict that users edit in place, with a typed view that follows the edits."""

from contextlib import suppress
from typing import Any

import numpy as np

from precomp import jsonio
from precomp.errors import InfoError, ScaleNotFoundError
from precomp.info import VolumeInfo

__all__ = ["InfoDocument"]

_LARGEST_KEPT, _MOST_KEPT = 2**16, 64  # bytes of an info whose typed view is kept; how many
_kept: dict[bytes, VolumeInfo] = {}


class InfoDocument:
    """An info dict and the VolumeInfo it amounts to.

    The dict belongs to the user. Each access compares its top-level fields and the scale asked for
    with a copy of what was last validated and validates again only on a difference.
    """

    def __init__(self, raw: Any, name: str) -> None:
        """Take `raw` over (it is not copied). `name` stands in errors, `gs://b/ds/layer/info`.

        Raises InfoError, listing every problem, where `raw` is no valid info.
        """
        self.name = name
        self.raw: dict[str, Any] = raw
        self._validate()

    @classmethod
    def of_json(cls, raw: Any, data: bytes, name: str) -> "InfoDocument":
        """Take over `raw`, which was parsed from `data`. Raises InfoError as the constructor does.

        What the same text was found to be before is not found out again: a pipeline opens a layer very often.
        """
        try:
            model = _model_of(raw, data)
        except InfoError:
            return cls(raw, name)  # which calls the file by its name
        document = object.__new__(cls)
        document.name, document.raw = name, raw
        document._remember(model, jsonio.loads(data, name))
        return document

    @classmethod
    def copy_of(cls, raw: Any, name: str) -> "InfoDocument":
        """Take a copy of `raw`. Raises InfoError as the constructor does."""
        return cls(_plain(raw, name), name)

    def plain(self) -> dict[str, Any]:
        """Return the dict itself, with arrays, tuples and numpy scalars in it made JSON values."""
        with suppress(InfoError):  # a wrong edit is told of when the info is used; here it can be repaired
            _make_plain(self.raw, self.name)
        return self.raw

    def checked(self) -> VolumeInfo:
        """Return the typed view after a look at every value: `True == 1`, and yet no number of channels."""
        self._validate()
        return self._model

    def model(self) -> VolumeInfo:
        """Return the typed view of the whole dict. Raises InfoError after a wrong edit."""
        try:
            same = self.raw == self._seen
        except ValueError:  # somebody put an array in, which has no truth value
            same = False
        if not same:
            self._validate()
        return self._model

    def model_at(self, mip: int) -> VolumeInfo:
        """Return the typed view, current in all but the other scales; scale `mip` exists in it.

        Raises InfoError after a wrong edit and ScaleNotFoundError where there is no such mip.
        """
        seen = self._seen_scales
        try:
            fields = self.raw.copy()  # compared as a whole: this runs at each access to a voxel
            scales = fields.pop("scales", None)
            same = (
                isinstance(scales, list)
                and len(scales) == len(seen)
                and fields == self._seen_fields
                and (mip >= len(seen) or scales[mip] == seen[mip])
            )
        except (AttributeError, ValueError, RuntimeError, IndexError):
            # No dict, an array in it, which has no truth value, or edits in another thread.
            same = False
        if not same:
            self._validate()
        if not 0 <= mip < len(self._model.scales):
            raise ScaleNotFoundError(self.no_mip(mip))
        return self._model

    def no_mip(self, mip: object) -> str:
        """The text of the error for a mip or resolution that the layer has not."""
        known = ", ".join(
            f"{number} ({' x '.join(f'{nm:g}' for nm in scale.resolution)} nm)"
            for number, scale in enumerate(self._model.scales)
        )
        return f"{self.name}: there is no mip {mip}; there are {known}"

    def _validate(self) -> None:
        if not isinstance(self.raw, dict):
            raise InfoError(f"{self.name}: expected a JSON object, found {type(self.raw).__name__}")
        _make_plain(self.raw, self.name)
        try:
            model = jsonio.structure(self.raw, VolumeInfo, "info")
        except InfoError as error:
            raise _broken(self.name, error) from error
        self._remember(model, _plain(self.raw, self.name))

    def _remember(self, model: VolumeInfo, seen: dict[str, Any]) -> None:
        """Keep the typed view, and a copy of the dict that it is the view of."""
        self._model, self._seen = model, seen
        self._seen_fields = {field: value for field, value in seen.items() if field != "scales"}
        self._seen_scales: list[Any] = seen["scales"]


def _model_of(raw: Any, data: bytes) -> VolumeInfo:
    model = _kept.get(data)
    if model is None:
        model = jsonio.structure(raw, VolumeInfo, "info")
        # Dicts inside could be changed by whoever holds the record: only what is immutable is shared.
        shared = not model.extra and not any(scale.extra or scale.sharding for scale in model.scales)
        if shared and len(data) <= _LARGEST_KEPT:
            if len(_kept) >= _MOST_KEPT:
                _kept.clear()
            _kept[data] = model
    return model


def _plain(raw: Any, name: str) -> Any:
    try:
        return jsonio.plain(raw, "info", InfoError)
    except InfoError as error:
        raise _broken(name, error) from error


def _broken(name: str, error: InfoError) -> InfoError:
    return InfoError(f"{name}: this info breaks the format\n{error}")


def _make_plain(container: Any, name: str, depth: int = jsonio.MAX_DEPTH) -> None:
    """Turn tuples, arrays and numpy scalars inside into JSON values; dicts and lists stay what they are."""
    if not depth:
        raise InfoError(f"{name}: expected lists and dicts at most {jsonio.MAX_DEPTH} deep; nest them less")
    items = container.items() if isinstance(container, dict) else enumerate(container)
    for key, value in list(items):
        if isinstance(value, (np.ndarray, np.generic)):
            container[key] = value.tolist()
        elif isinstance(value, tuple):
            container[key] = list(value)
        if isinstance(container[key], (dict, list)):
            _make_plain(container[key], name, depth - 1)
