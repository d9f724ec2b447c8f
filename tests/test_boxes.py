"""Services of boxes, the second kind of protocol, with one in memory that can be wrong."""

import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit_wrong import RightService, SplitsTwice, SplitsWithAGap, service_info
from volumes import make, noise, parts

from precomp import Bbox, CloudVolume
from precomp.engine.boxes import Box, Boxes, keep_only
from precomp.errors import (
    AlignmentError,
    ArgumentError,
    InfoError,
    InfoNotFoundError,
    PluginError,
    ReadOnlyError,
    StoreError,
    TooLargeError,
)
from precomp.hookspecs import ProtocolPlugin, hookimpl
from precomp.plugins import Registry
from precomp_plugins import memory
from precomp_plugins.codecs import raw
from precomp_plugins.compressors import gzip

SIZE = (40, 30, 20)
START = (5, 0, 3)


class Whole(RightService):
    """Divides nothing, and knows nothing of segments."""

    split = None  # type: ignore[assignment]
    read_segments = None  # type: ignore[assignment]


def opened(service: Any, path: str = "lab://a/b/c", *, declared: Any = None, **given: Any) -> CloudVolume:
    """Open a volume with `lab://`, where one service has all layers."""

    class Plugin:
        @hookimpl
        def precomp_register_protocols(self) -> list[ProtocolPlugin]:
            return [ProtocolPlugin("lab", lambda path, options: service, **(declared or {}))]

    return CloudVolume(path, registry=Registry.of([memory, raw, gzip, Plugin()]), **given)


def new(
    kind: type[RightService] = RightService, data_type: str = "uint64", channels: int = 1
) -> RightService:
    return kind(service_info(data_type, channels))


@pytest.mark.parametrize("kind", [RightService, Whole])
@given(data=st.data())
@settings(max_examples=30)
def test_any_box_of_any_channels_against_an_array(kind: type[RightService], data: st.DataObject) -> None:
    vol = opened(new(kind, "int16", 3), non_aligned_writes=True, parallel=3)
    model = np.zeros((*SIZE, 3), np.int16)
    for seed in range(3):
        box = *data.draw(parts(SIZE)), data.draw(st.sampled_from([slice(0, 3), slice(1, 2), slice(0, 3, 2)]))
        there = *(slice(s.start + o, s.stop + o, s.step) for s, o in zip(box, START, strict=False)), box[3]
        voxels = noise(model[box].shape, "int16", seed)
        model[box] = voxels
        vol[there] = voxels
        np.testing.assert_array_equal(vol[there], voxels)
    np.testing.assert_array_equal(vol[...], model)


@given(
    start=st.tuples(*[st.integers(-10, 60)] * 3),
    size=st.tuples(*[st.integers(0, 60)] * 3),
    step=st.tuples(*[st.sampled_from([1, 2, 9, 50])] * 3),
)
def test_outside_is_background(start: tuple[int, ...], size: tuple[int, ...], step: tuple[int, ...]) -> None:
    vol = opened(SERVICE, bounded=False, background_color=9)
    around = np.full((140, 140, 140), 9, np.uint64)
    around[25:65, 20:50, 23:43] = 7  # from -20 on
    index = tuple(slice(a, a + n, s) for a, n, s in zip(start, size, step, strict=True))
    expected = around[tuple(slice(one.start + 20, one.stop + 20, one.step) for one in index)]
    np.testing.assert_array_equal(vol[index][..., 0], expected)


SERVICE = new()
SERVICE.write_box(0, START, np.full((*SIZE, 1), 7, np.uint64))


def test_some_channels_are_refused_where_boxes_may_not_be_read_first() -> None:
    vol = opened(new(channels=3))
    for index in (np.s_[..., 0:1], np.s_[5:45:2, :, :]):
        with pytest.raises(AlignmentError, match="non_aligned_writes=True"):
            vol[index] = 1
    assert not vol[...].any()


def test_segments_are_looked_for_here_where_the_service_does_not() -> None:
    labels = np.random.default_rng(0).integers(0, 5, (*SIZE, 1)).astype(np.uint64)
    for vol in (
        opened(new(Whole)),
        opened(new()),
        make(
            f"mem://{uuid.uuid4()}/a/b", SIZE, dtype="uint64", voxel_offset=START, layer_type="segmentation"
        ),
    ):
        vol[...] = labels
        found = vol.download(vol.bounds, segids=iter([2, 4, 2**64 - 1]))
        assert np.array_equal(found, np.where((labels == 2) | (labels == 4), labels, 0))
        assert np.array_equal(vol[...], labels)
    with pytest.raises(ArgumentError, match="no segments"):
        opened(new(data_type="uint8")).download(np.s_[:, :, :], segids=[1])


@pytest.mark.parametrize("kind", [RightService, Whole])
def test_masks_numbers_labels_and_points(kind: type[RightService]) -> None:
    service = new(kind)
    vol = opened(service, bounded=False, background_color=9, parallel=2)
    vol[...] = voxels = np.random.default_rng(0).integers(0, 5, (*SIZE, 1)).astype(np.uint64)
    around = np.full((60, 40, 30, 1), 9, np.uint64)
    around[5:45, 0:30, 3:23] = voxels
    index = np.s_[0:60:3, 0:40, 0:30]
    there = around[index]
    assert vol.unique(index).tolist() == [0, 1, 2, 3, 4, 9]
    assert vol.unique(vol.bounds).tolist() == [0, 1, 2, 3, 4]
    for label in (0, 3, 9, 4711):
        assert np.array_equal(vol.download(index, label=label), there == label)
    small, numbers = vol.download(index, renumber=True)
    assert (small.dtype, numbers) == (np.uint8, {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 9: 5})
    assert np.array_equal(np.array(list(numbers))[small], there)
    small, numbers = vol.download(index, renumber=True, segids=[4, 2])
    assert numbers == {0: 0, 2: 1, 4: 2}
    assert np.array_equal(small, (there == 2) + 2 * (there == 4))
    assert np.array_equal(vol.download(index, segids=[4]), np.where(there == 4, there, 0))
    assert np.array_equal(vol.download(index, segids=[4, 9]), np.where(there >= 4, there, 0))
    points = np.random.default_rng(1).integers(0, (60, 40, 30), (50, 3))
    assert np.array_equal(vol.scattered_points(points), around[tuple(points.T)])
    far = np.array([[5, 0, 3], [44, 29, 22]])
    assert np.array_equal(vol.scattered_points(far), around[tuple(far.T)])


def test_ids_that_a_type_cannot_hold_are_in_no_voxel() -> None:
    voxels = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)
    keep_only(voxels, [3, 259, 2**64 - 1])
    assert np.flatnonzero(voxels).tolist() == [3]


@pytest.mark.parametrize("kind", [SplitsWithAGap, SplitsTwice])
def test_parts_that_do_not_fill_a_box_are_the_plugins_fault(kind: type[RightService]) -> None:
    service = new(kind)
    if kind is SplitsTwice:  # what overlaps and has a gap elsewhere is for the kit to find
        service.split = lambda mip, low, high: iter([(low, high), (low, high)])  # type: ignore[method-assign]
    vol = opened(service)
    for what in (lambda: vol[...], lambda: vol.__setitem__(..., 1), lambda: vol.delete(vol.bounds)):
        with pytest.raises(PluginError, match=r"lab://a/b/c: the service split .* that do not fill it"):
            what()


def test_a_part_that_reaches_out_is_refused() -> None:
    service = new()
    service.split = lambda mip, low, high: [(low, [b + 1 for b in high])]  # type: ignore[method-assign,assignment]
    with pytest.raises(PluginError, match="do not fill"):
        Boxes(service, "lab://a").plan(0, Box((5, 0, 3), (6, 1, 4)))


@pytest.mark.parametrize(
    "wrong", [lambda found: found[1:], lambda found: found.astype(np.uint8), lambda found: found[..., 0]]
)
def test_voxels_of_another_shape_or_type_are_the_plugins_fault(wrong: Any) -> None:
    service = new(Whole)
    read = service.read_box
    service.read_box = lambda *box: wrong(read(*box))  # type: ignore[method-assign]
    expected = r"expected voxels of shape \(40, 30, 20, 1\) and uint64 .*; call refresh_info\(\) if the info"
    with pytest.raises(PluginError, match=expected):
        opened(service)[...]


def test_arrays_of_every_byte_and_memory_order_are_converted() -> None:
    service, given = new(data_type="uint16"), []
    write = service.write_box
    service.write_box = lambda *box: (given.append(box[2].dtype), write(*box))  # type: ignore[method-assign,assignment,func-returns-value]
    vol, voxels = opened(service), noise((*SIZE, 1), "uint16")
    for form in (
        voxels.astype(">u2"),
        voxels.astype(">u2", order="F"),
        np.asfortranarray(voxels),
        voxels[::-1][::-1],
    ):
        vol[...] = 0
        vol[...] = form
        assert np.array_equal(vol[...], voxels)
    assert set(given) == {np.dtype("uint16")}  # >u2 is not equal to it


def test_a_box_for_which_no_memory_does_is_refused_before_it_is_split() -> None:
    info = service_info("uint64", 1)
    info["scales"][0]["size"] = [10**6] * 3
    service = RightService(info)
    service.split = lambda mip, low, high: pytest.fail("it was split")  # type: ignore[method-assign]
    with pytest.raises(TooLargeError, match="8,000,000,000,000,000,000 bytes"):
        opened(service)[...]


def test_a_cache_is_shown_as_none() -> None:
    vol = opened(new())
    assert (repr(vol.cache), bool(vol.cache)) == ("VolumeCache(enabled=False)", False)


def test_an_error_in_a_thread_stops_all_and_is_raised() -> None:
    service, asked = new(), []

    def fails(mip: int, minpt: Sequence[int], *_: Any) -> Any:
        asked.append(minpt)
        raise StoreError("the service is tired")

    service.read_box = service.write_box = fails  # type: ignore[method-assign]
    vol = opened(service, parallel=2)
    for what in (lambda: vol[...], lambda: vol.__setitem__(..., 1), lambda: vol.delete(vol.bounds)):
        asked.clear()
        with pytest.raises(StoreError, match="tired"):
            what()
        assert 1 <= len(asked) <= 2


def test_an_empty_box_is_no_request() -> None:
    service = new()
    vol = opened(service)
    service.read_box = service.write_box = None  # type: ignore[method-assign,assignment]
    assert vol[5:5, :, :].shape == (0, 30, 20, 1)
    vol[5:5, :, :] = 3
    vol.delete(Bbox((5, 0, 3), (5, 30, 23)))
    vol.bounded = False
    assert not vol[100:105, 0:3, 0:3].any()


def test_an_info_that_leads_to_a_service() -> None:
    path = f"mem://{uuid.uuid4()}/a/b"
    from precomp.interfaces import Blob
    from precomp.memory import open_shared

    open_shared(path.removeprefix("mem://")).put("info", Blob(b'{"redirect": "lab://a/b/c"}'))
    vol = opened(new(), path)
    vol[...] = 3
    assert (vol.cloudpath, vol[...].min()) == ("lab://a/b/c", 3)


def test_an_info_that_breaks_the_format_is_told() -> None:
    service = new()
    service.info["scales"] = []  # type: ignore[index]
    with pytest.raises(InfoError, match=r"lab://a/b/c/info: this info breaks the format"):
        opened(service)


def test_a_service_that_only_reads() -> None:
    vol = opened(new(), declared={"read_only": True})
    for what in (lambda: vol.__setitem__(..., 1), lambda: vol.delete(vol.bounds)):
        with pytest.raises(ReadOnlyError, match="lab is read only"):
            what()


def test_threads_are_those_of_the_service() -> None:
    service = new()
    assert opened(service, declared={"workers": 3})._workers() == 3
    service.workers = 5  # type: ignore[attr-defined]
    vol = opened(service, declared={"workers": 3})
    assert vol._workers(vol._layer.scale(0)) == 5


def test_creating() -> None:
    service = RightService()
    with pytest.raises(InfoNotFoundError):
        opened(service)
    vol = opened(service, info=service_info(), create=True)
    with pytest.raises(InfoNotFoundError):
        vol[...]
    vol.commit_info()
    vol[...] = 5
    assert opened(service)[...].min() == 5


def test_slabs_are_cut_by_the_chunks_of_the_info() -> None:
    service, written = new(Whole), []
    write = service.write_box
    service.write_box = lambda *box: (written.append(box[1]), write(*box))  # type: ignore[method-assign,assignment,func-returns-value]
    vol = opened(service)
    with vol.slab_writer("x", bbox=Bbox((6, 1, 4), (44, 29, 22))) as writer:
        for x in range(6, 44):
            writer.write(x, x)
    assert [low[0] for low in written] == [6, 21, 37]
    assert {x: int(image.max()) for x, image in vol.slices("x")}[30] == 30
