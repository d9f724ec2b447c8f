"""The files of a volume, info and provenance: read, edit, save."""

from collections.abc import Mapping, Sequence
from typing import Any

from precomp import create, url
from precomp.errors import ArgumentError
from precomp.interfaces import CloudPath
from precomp.plugins import Registry
from precomp.provenance import Provenance
from precomp.volume.check import check_scale, warn_unviewable
from precomp.volume.document import InfoDocument
from precomp.volume.layer import Layer

__all__ = ["Documents"]


class Documents:
    """The part of CloudVolume that deals with info, provenance and the layer's place."""

    _layer: Layer
    _mip: int

    def _open(self, path: CloudPath, registry: Registry, info: Any = None, provenance: Any = None) -> None:
        raise NotImplementedError

    @property
    def info(self) -> dict[str, Any]:
        """The info as a dict that may be edited in place; `commit_info()` saves it."""
        return self._layer.document.plain()

    @info.setter
    def info(self, value: Mapping[str, Any]) -> None:
        self._layer.set_info(value)

    @property
    def provenance(self) -> Provenance:
        """Sources, owners, processing and description; `commit_provenance()` saves it."""
        return self._layer.provenance

    @provenance.setter
    def provenance(self, value: Provenance | Mapping[str, Any] | str) -> None:
        if value is None:
            raise ArgumentError("provenance: expected a dict or JSON text, got None; {} is an empty one")
        self._layer.set_provenance(value)

    def commit_info(self) -> None:
        """Save the info. Raises InfoError, UnknownEncodingError (before it writes) and StoreError."""
        self._layer.commit_info()

    def refresh_info(self) -> dict[str, Any]:
        """Fetch the info anew, dropping unsaved edits, and return it."""
        self._layer.refresh_info()
        return self.info

    def commit_provenance(self) -> None:
        """Save the provenance. Raises InfoError, StoreError."""
        self._layer.commit_provenance()

    def refresh_provenance(self) -> Provenance:
        """Fetch the provenance anew, dropping unsaved edits, and return it."""
        self._layer.refresh_provenance()
        return self.provenance

    def add_scale(
        self,
        factor: Sequence[int],
        encoding: str | None = None,
        chunk_size: Sequence[int] | None = None,
    ) -> dict[str, Any]:
        """Append the scale that is `factor` (x, y, z) times coarser than mip 0, and return it.

        A scale of that resolution is replaced. The info is not saved. `encoding` and `chunk_size`
        are mip 0's where not given. Raises ArgumentError, InfoError.
        """
        document = self._layer.document
        document.model()
        draft = InfoDocument.copy_of(document.raw, document.name)  # so that what is refused leaves no trace
        scale = create.add_scale(draft.raw, factor, encoding=encoding, chunk_size=chunk_size)
        number = draft.raw["scales"].index(scale)
        warn_unviewable(check_scale(self._layer.registry, draft.model(), number, document.name))
        return create.add_scale(document.raw, factor, encoding=encoding, chunk_size=chunk_size)

    def reset_scales(self) -> None:
        """Forget all scales but mip 0 and save the info at once; where that fails nothing is forgotten."""
        document = self._layer.document
        document.model()
        draft = InfoDocument.copy_of(document.raw, document.name)
        create.reset_scales(draft.raw)
        self._layer.commit_info(draft)
        create.reset_scales(document.raw)  # the dict is the user's: it stays the same one
        self._mip = 0

    @property
    def dataset_name(self) -> str:
        """The last folder but one of the path; setting it moves to that dataset and reads its info.

        The mip stays; where the layer there has no such mip the volume stays too, with a ScaleNotFoundError.
        """
        return self._layer.path.dataset

    @dataset_name.setter
    def dataset_name(self, value: str) -> None:
        _check_name("dataset_name", value)
        self._open(url.sibling(self._layer.path, dataset=value), self._layer.registry)

    @property
    def layer(self) -> str:
        """The last folder of the path; setting it moves to that layer as setting `dataset_name` does."""
        return self._layer.path.layer

    @layer.setter
    def layer(self, value: str) -> None:
        _check_name("layer", value)
        self._open(url.sibling(self._layer.path, layer=value), self._layer.registry)


def _check_name(what: str, value: Any) -> None:
    if not isinstance(value, str):
        raise ArgumentError(f"{what}: expected the name of a folder, got {value!r}")
