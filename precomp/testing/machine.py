"""A state machine that drives a volume and a plain numpy array side by side."""

import pickle
from collections.abc import Mapping
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from precomp.errors import AlignmentError, EmptyVolumeError
from precomp.geometry import Bbox
from precomp.volume import CloudVolume

__all__ = ["VolumeStateMachine"]


class VolumeStateMachine(RuleBasedStateMachine):
    """Random writes, reads, deletions, mip changes and reopenings of a volume of two mips.

    Subclass it, let `cloudpath` return a fresh place each time, and give its `TestCase` to pytest.
    Voxels are compared exactly, so `encoding` has to be a lossless one that holds `dtypes`. `options` are
    those of the protocol; `channels` and `offsets` what it can have, from the least to the most. `boxes`
    says that it is a service of boxes (see precomp.interfaces.SupportsCutout), which has all voxels from the
    start, and neither chunks nor compression. `shardings` are those of scales to draw from.
    """

    encoding = "raw"
    dtypes: tuple[str, ...] = ("uint8", "int16", "uint32", "uint64", "float32")
    compressions: tuple[Any, ...] = (None, "gzip")
    options: Mapping[str, Any] | None = None
    channels: tuple[int, int] = (1, 3)
    offsets: tuple[int, int] = (-9, 9)
    boxes: bool = False
    shardings: st.SearchStrategy[Mapping[str, Any] | None] = st.none()

    def cloudpath(self) -> str:
        """Return the path of a layer that does not exist yet."""
        raise NotImplementedError

    @initialize(
        data=st.data(),
        size=st.tuples(*[st.integers(1, 14)] * 3),
        chunk=st.tuples(*[st.integers(1, 8)] * 3),
        factor=st.sampled_from([(2, 2, 1), (2, 2, 2)]),
    )
    def create(
        self,
        data: st.DataObject,
        size: tuple[int, ...],
        chunk: tuple[int, ...],
        factor: tuple[int, ...],
    ) -> None:
        """Make the layer and its model: per mip the voxels, and which chunks are stored."""
        name = data.draw(st.sampled_from(self.dtypes))
        channels = data.draw(st.integers(*self.channels))
        offset = [data.draw(st.integers(*self.offsets)) for _ in range(3)]
        info = CloudVolume.create_new_info(
            channels,
            "image",
            name,
            self.encoding,
            (4, 4, 40),
            offset,
            size,
            chunk_size=chunk,
            max_mip=1,
            factor=factor,
        )
        for scale in info["scales"]:
            if (sharding := data.draw(self.shardings)) is not None:
                scale["sharding"] = dict(sharding)
        self.vol = CloudVolume(
            self.cloudpath(),
            info=info,
            create=self.boxes,
            non_aligned_writes=True,
            fill_missing=True,
            options=self.options,
        )
        self.vol.commit_info()
        self.models = [np.zeros(self.vol.mip_shape(mip), name) for mip in (0, 1)]
        self.stored = [np.full(model.shape[:3], self.boxes) for model in self.models]

    @property
    def model(self) -> np.ndarray[Any, Any]:
        """The voxels that the working mip has to hold."""
        return self.models[self.vol.mip]

    def box(self, data: st.DataObject) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Draw a box of the working mip: as absolute coordinates and as places in the model."""
        absolute, local = [], []
        for start, length in zip(self.vol.voxel_offset, self.vol.volume_size, strict=True):
            low = data.draw(st.integers(0, length))
            high = data.draw(st.integers(low, length))
            step = data.draw(st.sampled_from([1, 1, 1, 2, 5]))
            absolute.append(slice(start + low, start + high, step))
            local.append(slice(low, high, step))
        low = data.draw(st.integers(0, self.vol.num_channels - 1))
        high = data.draw(st.integers(low + 1, self.vol.num_channels))
        return (*absolute, slice(low, high)), (*local, slice(low, high))

    def touched(self, local: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        """Which voxels lie in chunks that hold a voxel of `local`."""
        hit = np.ones(self.model.shape[:3], bool)
        for axis, part in enumerate(local[:3]):
            chunks = np.arange(self.model.shape[axis]) // self.vol.chunk_size[axis]
            shape = [-1 if other == axis else 1 for other in range(3)]
            hit &= np.isin(chunks, chunks[part]).reshape(shape)
        return hit

    @rule(
        data=st.data(),
        seed=st.integers(0, 2**32 - 1),
        black=st.booleans(),
        form=st.sampled_from(["C", "F", "other byte order"]),
    )
    def write(self, data: st.DataObject, seed: int, black: bool, form: str) -> None:
        """Write any box, off the chunk grid too, of an array in any memory and byte order."""
        absolute, local = self.box(data)
        part = self.model[local]
        voxels = np.random.default_rng(seed).integers(0, 100, part.shape).astype(part.dtype)
        self.model[local] = 0 if black else voxels
        if form == "other byte order":
            voxels = voxels.astype(voxels.dtype.newbyteorder())
        else:
            voxels = np.asarray(voxels, order="C" if form == "C" else "F")
        self.vol[absolute] = 0 if black else voxels
        if part.size:
            self.stored[self.vol.mip] |= self.touched(local)

    @rule(data=st.data())
    def write_on_the_grid_only(self, data: st.DataObject) -> None:
        """With non_aligned_writes off, a write is aligned or refused whole."""
        absolute, local = self.box(data)
        self.vol.non_aligned_writes = False
        try:
            self.vol[absolute] = 7
        except AlignmentError:
            return
        finally:
            self.vol.non_aligned_writes = True
        self.model[local] = 7
        if self.model[local].size:
            self.stored[self.vol.mip] |= self.touched(local)

    @rule(data=st.data(), workers=st.sampled_from([1, 2, 5]))
    def read(self, data: st.DataObject, workers: int) -> None:
        """Read any box."""
        absolute, local = self.box(data)
        self.vol.parallel = workers
        np.testing.assert_array_equal(self.vol[absolute], self.model[local])

    @rule(data=st.data())
    def read_strictly(self, data: st.DataObject) -> None:
        """Without fill_missing, a box with a chunk that is not stored is an error."""
        absolute, local = self.box(data)
        whole = self.stored[self.vol.mip][local[:3]].all()
        self.vol.fill_missing = False
        try:
            np.testing.assert_array_equal(self.vol[absolute], self.model[local])
            assert whole
        except EmptyVolumeError:
            assert not whole
        finally:
            self.vol.fill_missing = True

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """Delete the chunks around a box; at a service of boxes, the box."""
        _, local = self.box(data)
        low = [axis.start + o for axis, o in zip(local, self.vol.voxel_offset, strict=False)]
        high = [axis.stop + o for axis, o in zip(local, self.vol.voxel_offset, strict=False)]
        around = Bbox(low, high)
        if not self.boxes:
            around = around.expand_to_chunk_size(self.vol.chunk_size, self.vol.voxel_offset)
            around = around.clamp(self.vol.bounds)
        self.vol.delete(around)
        gone = (around - self.vol.voxel_offset).to_slices()
        self.model[gone] = 0
        self.stored[self.vol.mip][gone] = self.boxes

    @precondition(lambda self: not self.boxes)
    @rule()
    def look(self) -> None:
        """`exists` tells which chunks are stored."""
        stored = self.stored[self.vol.mip]
        for key, there in self.vol.exists(self.vol.bounds).items():
            where = (Bbox.from_filename(key) - self.vol.voxel_offset).to_slices()
            assert (stored[where] == there).all()

    @rule(mip=st.integers(0, 1))
    def change_mip(self, mip: int) -> None:
        """Work on the other scale."""
        self.vol.mip = mip

    @precondition(lambda self: not self.boxes)
    @rule(data=st.data())
    def change_compression(self, data: st.DataObject) -> None:
        """Write with another compression from now on."""
        self.vol.compress = data.draw(st.sampled_from(self.compressions))

    @precondition(lambda self: not self.boxes)
    @rule(lru_bytes=st.sampled_from([0, 300, 10**6]))
    def keep_chunks(self, lru_bytes: int) -> None:
        """Keep decoded chunks in memory from now on, few or all."""
        self.vol.lru_bytes = lru_bytes

    @rule()
    def reopen(self) -> None:
        """Open the same place anew."""
        self.vol = CloudVolume(
            self.vol.cloudpath,
            mip=self.vol.mip,
            non_aligned_writes=True,
            fill_missing=True,
            compress=self.vol.compress,
            options=self.options,
        )

    @rule()
    def travel(self) -> None:
        """Go through pickle."""
        self.vol = pickle.loads(pickle.dumps(self.vol))
