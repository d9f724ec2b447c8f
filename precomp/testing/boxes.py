"""`CutoutTests`: what precomp expects of a service of boxes."""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from precomp import jsonio
from precomp.errors import InfoError, InfoNotFoundError
from precomp.info import VolumeInfo
from precomp.interfaces import FiltersSegments, SplitsBoxes, SupportsCutout
from precomp.testing.checks import expect_error, expect_voxels

__all__ = ["CutoutTests"]

Point = tuple[int, int, int]
Box = tuple[Point, Point]

_LONGEST = 24  # voxels of a box along an axis
_MOST_MARKED = 10**7  # voxels of a box whose parts are marked one by one


class CutoutTests:
    """What precomp expects of a SupportsCutout. Subclass it in a test module and give `make_service`.

    Every test has a layer of its own, in which nothing was written. `absent_service` and `other_info` switch
    on the tests of `create`; these are skipped otherwise.

    Attributes:
        boxes: how many random boxes are written and read.
    """

    boxes: ClassVar[int] = 12

    def make_service(self) -> SupportsCutout:
        """Return the service of a new layer, best one with two mips, that shares no voxel with any other."""
        raise NotImplementedError(f"{type(self).__name__} needs a method make_service() -> SupportsCutout")

    def absent_service(self) -> tuple[SupportsCutout, dict[str, Any]]:
        """Optional: return the service of a layer that does not exist, and an info that it can hold."""
        pytest.skip("needs the optional hook absent_service()")

    def other_info(self, info: dict[str, Any]) -> dict[str, Any]:
        """Optional: return the info of another layer that could be there instead of one of `info`."""
        pytest.skip("needs the optional hook other_info(info)")

    @pytest.fixture
    def service(self) -> SupportsCutout:
        """A new layer's."""
        return self.make_service()

    def test_the_info(self, service: SupportsCutout) -> None:
        """It is valid, the same each time, and not shared."""
        first = service.read_info()
        info_of(service)
        first.clear()
        assert service.read_info(), "read_info: what it returned was changed, and so is what it returns now"

    def test_what_was_never_written_is_zero(self, service: SupportsCutout) -> None:
        """At every mip, in all corners."""
        for mip, box in corners(service):
            found = service.read_box(mip, *box)
            expect_voxels(found, zeros(service, box), f"read_box of mip {mip}, {box}, never written")

    def test_boxes_against_an_array(self, service: SupportsCutout) -> None:
        """Boxes anywhere, half of their voxels zero, or all; zeros erase."""
        rng = np.random.default_rng(0)
        (low, high), model = around(service)
        for number in range(self.boxes):
            box = within(rng, low, high)
            voxels = noise(service, box, rng) * (number % 3 > 0)
            service.write_box(0, box[0], voxels)
            model[place(low, box)] = voxels
            for name, wanted in {"the box": box, "all": (low, high)}.items():
                found = service.read_box(0, *wanted)
                what = f"read_box of {name} after write_box number {number} of {box}"
                expect_voxels(found, model[place(low, wanted)], what)

    def test_every_memory_order(self, service: SupportsCutout) -> None:
        """Written views are taken as they are, and stay as they are."""
        rng = np.random.default_rng(1)
        (low, high), _ = around(service)
        voxels = noise(service, (low, high), rng)
        wide = np.repeat(voxels, 2, axis=0)
        forms = {
            "C order": np.ascontiguousarray(voxels),
            "Fortran order": np.asfortranarray(voxels),
            "a view with steps": wide[::2],
            "a reversed view": np.ascontiguousarray(voxels[::-1])[::-1],
            "a value that is spread": np.broadcast_to(voxels.flat[0], voxels.shape),
        }
        for name, form in forms.items():
            form.flags.writeable = False
            expected = form.copy()
            service.write_box(0, low, form)
            expect_voxels(form, expected, f"write_box of {name}: it changed the array")
            expect_voxels(service.read_box(0, low, high), expected, f"read_box after write_box of {name}")

    def test_arrays_are_not_shared(self, service: SupportsCutout) -> None:
        """What was written or read belongs to the caller."""
        (low, high), _ = around(service)
        voxels = noise(service, (low, high), np.random.default_rng(2))
        expected = voxels.copy()
        service.write_box(0, low, voxels)
        voxels[...] = 0
        found = service.read_box(0, low, high)
        expect_voxels(found, expected, "read_box, after the array that was written has changed")
        if found.flags.writeable:
            found[...] = 0
        expect_voxels(
            service.read_box(0, low, high), expected, "read_box, after what it returned has changed"
        )

    def test_mips_are_apart(self, service: SupportsCutout) -> None:
        """What is written at one mip is not seen at another."""
        for mip, box in corners(service):
            service.write_box(mip, box[0], zeros(service, box) + np.uint8(mip + 1))
        for mip, box in corners(service):
            expected = zeros(service, box) + np.uint8(mip + 1)
            found = service.read_box(mip, *box)
            expect_voxels(found, expected.astype(found.dtype), f"read_box of mip {mip}, {box}")

    def test_split(self, service: SupportsCutout) -> None:
        """The parts fill the box, without overlap."""
        if not isinstance(service, SplitsBoxes):
            pytest.skip("it has no split")
        for mip, scale in enumerate(info_of(service).scales):
            stop = point(a + n for a, n in zip(scale.offset, scale.size, strict=True))
            small = point(min(a + 600, b) for a, b in zip(scale.offset, stop, strict=True))
            for low, high in [(scale.offset, stop), (scale.offset, small)]:
                check_parts(f"split of mip {mip}, {low} to {high}", service.split(mip, low, high), low, high)

    def test_segments(self, service: SupportsCutout) -> None:
        """`read_segments` sends the same as `read_box`, with zero for all others."""
        if not isinstance(service, FiltersSegments) or info_of(service).type != "segmentation":
            pytest.skip("it has no read_segments, or the layer has no segments")
        (low, high), model = around(service)
        labels = np.array([0, 3, 7, np.iinfo(model.dtype).max], model.dtype)
        voxels = np.random.default_rng(3).choice(labels, model.shape)
        service.write_box(0, low, voxels)
        for segids in ([3], [int(labels[3]), 7], [5], [], list(range(5, 1000))):
            expected = np.where(np.isin(voxels, np.array(segids, model.dtype)), voxels, 0).astype(model.dtype)
            found = service.read_segments(0, low, high, segids)
            expect_voxels(found, expected, f"read_segments of {len(segids)} ids, {segids[:3]}")

    def test_threads(self, service: SupportsCutout) -> None:
        """Neighbours that are written at the same time do not disturb each other."""
        (low, high), model = around(service)
        slabs = [((low[0], low[1], z), (high[0], high[1], z + 1)) for z in range(low[2], high[2])]
        rng = np.random.default_rng(4)
        for box in slabs:
            model[place(low, box)] = noise(service, box, rng)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda box: service.write_box(0, box[0], model[place(low, box)]), slabs))
            found = list(pool.map(lambda box: service.read_box(0, *box), slabs))
        expect_voxels(np.concatenate(found, 2), model, "slabs that were written and read by four threads")

    def test_create(self) -> None:
        """A layer that is not there is told, and made; making it again changes nothing."""
        service, info = self.absent_service()
        expect_error(InfoNotFoundError, "read_info of an absent layer", service.read_info)
        service.create(info)
        made, wanted = info_of(service), jsonio.structure(info, VolumeInfo, "info")
        found = made.type, made.dtype, made.num_channels, made.scales[0].size, made.scales[0].offset
        asked = wanted.type, wanted.dtype, wanted.num_channels, wanted.scales[0].size, wanted.scales[0].offset
        assert found == asked, f"create: asked for {asked}, made {found}"
        (low, high), model = around(service)
        model[...] = noise(service, (low, high), np.random.default_rng(5))
        service.write_box(0, low, model)
        service.create(info)
        expect_voxels(service.read_box(0, low, high), model, "read_box after a second create")
        other = self.other_info(info)
        expect_error(InfoError, "create of another layer in its place", service.create, other)
        expect_voxels(service.read_box(0, low, high), model, "read_box after create of another layer")


def info_of(service: SupportsCutout) -> VolumeInfo:
    """The info as a record."""
    return jsonio.structure(service.read_info(), VolumeInfo, "read_info")


def point(values: Iterator[int]) -> Point:
    x, y, z = values
    return x, y, z


def corners(service: SupportsCutout) -> Iterator[tuple[int, Box]]:
    """Mips, each with a box at the start of its bounds and one at their end."""
    for mip, scale in enumerate(info_of(service).scales):
        stop = point(a + n for a, n in zip(scale.offset, scale.size, strict=True))
        yield mip, (scale.offset, point(min(a + 3, b) for a, b in zip(scale.offset, stop, strict=True)))
        yield mip, (point(max(a, b - 3) for a, b in zip(scale.offset, stop, strict=True)), stop)


def around(service: SupportsCutout) -> tuple[Box, NDArray[Any]]:
    """A box in the middle of mip 0, and an array of zeros of its shape."""
    scale = info_of(service).scales[0]
    low = point(a + max(0, n - _LONGEST) // 2 for a, n in zip(scale.offset, scale.size, strict=True))
    high = point(a + min(n, _LONGEST) for a, n in zip(low, scale.size, strict=True))
    return (low, high), zeros(service, (low, high))


def within(rng: np.random.Generator, low: Point, high: Point) -> Box:
    """A random box inside another."""
    starts = [int(rng.integers(a, b)) for a, b in zip(low, high, strict=True)]
    stops = [int(rng.integers(a + 1, b + 1)) for a, b in zip(starts, high, strict=True)]
    return point(iter(starts)), point(iter(stops))


def place(origin: Sequence[int], box: Box) -> tuple[slice, ...]:
    """Where a box is in an array that begins at `origin`."""
    return tuple(slice(a - o, b - o) for o, a, b in zip(origin, *box, strict=True))


def zeros(service: SupportsCutout, box: Box) -> NDArray[Any]:
    """Zeros of the layer's dtype, in the shape of a box."""
    info = info_of(service)
    return np.zeros((*(b - a for a, b in zip(*box, strict=True)), info.num_channels), info.dtype)


def noise(service: SupportsCutout, box: Box, rng: np.random.Generator) -> NDArray[Any]:
    """Random voxels of the whole range of the layer's dtype, about half of them zero."""
    voxels = zeros(service, box)
    if voxels.dtype.kind == "f":
        drawn: NDArray[Any] = rng.standard_normal(voxels.shape)
    else:
        limits = np.iinfo(voxels.dtype)
        drawn = rng.integers(limits.min, limits.max, voxels.shape, voxels.dtype, endpoint=True)
    return np.asarray((drawn * rng.integers(0, 2, voxels.shape, np.uint8)).astype(voxels.dtype))


def check_parts(
    what: str, parts: Iterator[tuple[Sequence[int], Sequence[int]]] | Any, low: Point, high: Point
) -> None:
    """Assert that the parts of a box fill it, without overlap."""
    found = list(parts)
    for part in found:
        inside = all(a <= s < e <= b for a, b, s, e in zip(low, high, *part, strict=True))
        assert inside, f"{what}: the part {part} is empty or not inside"
    size = [b - a for a, b in zip(low, high, strict=True)]
    total = sum(math.prod(e - s for s, e in zip(*part, strict=True)) for part in found)
    assert total == math.prod(size), f"{what}: the parts have {total} voxels, the box {math.prod(size)}"
    if total <= _MOST_MARKED:
        marks = np.zeros(size, np.uint8)
        for start, stop in found:
            marks[tuple(slice(s - a, e - a) for a, s, e in zip(low, start, stop, strict=True))] += 1
        assert (marks == 1).all(), f"{what}: some voxels are in several parts, others in none"
