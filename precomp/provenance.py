"""The provenance of a layer: where its voxels come from, who made them, what was done to them."""

import json
from collections.abc import Mapping
from typing import Any

import attrs

from precomp.errors import InfoError

__all__ = ["Provenance", "ProvenanceFields"]


@attrs.frozen
class ProvenanceFields:
    """What the provenance file may hold, for checking; `Provenance` is what users work with.

    Attributes:
        sources: cloudpaths of the layers that this one was made from.
        owners: usually e-mail addresses.
        processing: one object per step, in the order they were done.
        description: free text.
        extra: unknown fields, and the above where they are stated but empty.
    """

    sources: list[str] = attrs.field(factory=list)
    owners: list[str] = attrs.field(factory=list)
    processing: list[dict[str, Any]] = attrs.field(factory=list)
    description: str = ""
    extra: Mapping[str, Any] = attrs.field(factory=dict)


class Provenance(dict[str, Any]):
    """A dict whose fields are attributes too; `sources`, `owners`, `processing`, `description` are there.

    It is not checked while it is edited: `precomp.jsonio.provenance` does that when it is read and saved.

    >>> provenance = Provenance(owners=["ada@example.org"])
    >>> provenance.processing.append({"method": "contrast"})
    >>> provenance["processing"], provenance.description
    ([{'method': 'contrast'}], '')
    """

    __slots__ = ()

    sources: list[str]
    owners: list[str]
    processing: list[dict[str, Any]]
    description: str

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(sources=[], owners=[], processing=[], description="")
        self.update(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the provenance has no field {name!r}; it has {', '.join(self)}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        if hasattr(type(self), name):
            raise AttributeError(f"{name!r} is a method of the provenance; set provenance[{name!r}] instead")
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(f"the provenance has no field {name!r}; it has {', '.join(self)}") from None

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]

    def serialize(self) -> str:
        """Return the JSON text of the file. Raises InfoError where a value inside is no JSON."""
        try:
            text = json.dumps(self, indent=1, ensure_ascii=False, allow_nan=False, default=_as_list)
        except (TypeError, ValueError, RecursionError) as error:
            raise InfoError(
                f"provenance: cannot be written as JSON ({error}); keep to numbers, texts, lists and dicts"
            ) from error
        # Half of a surrogate pair has no UTF-8; its JSON escape has.
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _as_list(value: Any) -> Any:
    """Turn numpy arrays and scalars, which users like to note as parameters, into JSON."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON type")
