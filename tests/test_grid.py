"""The chunk grid: every wanted voxel comes from exactly one chunk, under its true name."""

import tracemalloc
from itertools import product

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from precomp.geometry import Bbox
from precomp.grid import ChunkGrid

axes = st.tuples(st.integers(-30, 30), st.integers(1, 24), st.integers(1, 13))  # offset, size, chunk


@st.composite
def grids(draw: st.DrawFn) -> ChunkGrid:
    (o, s, c) = zip(*(draw(axes) for _ in range(3)), strict=True)
    return ChunkGrid("8_8_40", o, s, c)  # type: ignore[arg-type]


@st.composite
def requests(draw: st.DrawFn) -> tuple[ChunkGrid, list[int], list[int], list[int]]:
    grid = draw(grids())
    lows, highs, steps = [], [], []
    for offset, size in zip(grid.offset, grid.size, strict=True):
        low = draw(st.integers(offset - 10, offset + size + 10))
        lows.append(low)
        highs.append(draw(st.integers(low, offset + size + 20)))
        steps.append(draw(st.sampled_from([1, 1, 1, 2, 3, 50])))
    return grid, lows, highs, steps


@given(requests())
def test_every_voxel_comes_from_exactly_one_chunk(
    request: tuple[ChunkGrid, list[int], list[int], list[int]],
) -> None:
    grid, lows, highs, steps = request
    lattice = [range(*axis) for axis in zip(lows, highs, steps, strict=True)]
    coordinates = np.stack(np.meshgrid(*lattice, indexing="ij"), axis=-1)
    found = np.full(coordinates.shape, np.iinfo(np.int64).min)
    hits = np.zeros(coordinates.shape[:3], int)
    for ref in grid.plan(lows, highs, steps).refs():
        box = Bbox.from_filename(ref.key)
        assert tuple(box.size3()) == ref.shape
        own = np.stack(
            np.meshgrid(*[range(a, b) for a, b in zip(box.minpt, box.maxpt, strict=True)], indexing="ij"), -1
        )
        found[ref.target] = own[ref.source]
        hits[ref.target] += 1
        assert ref.whole == (own[ref.source].shape == own.shape)
    inside = np.ones(hits.shape, bool)
    for axis in range(3):
        low, high = grid.offset[axis], grid.offset[axis] + grid.size[axis]
        inside &= (coordinates[..., axis] >= low) & (coordinates[..., axis] < high)
    assert (hits == inside).all()
    assert (found[inside] == coordinates[inside]).all()


@given(grids())
def test_keys_and_boxes_are_bijective(grid: ChunkGrid) -> None:
    stop = [o + s for o, s in zip(grid.offset, grid.size, strict=True)]
    refs = list(grid.plan(grid.offset, stop).refs())
    assert len({ref.key for ref in refs}) == len(refs) == grid.count(grid.offset, stop)
    for ref in refs:
        box = Bbox.from_filename(ref.key)
        assert f"8_8_40/{box.to_filename()}" == ref.key
        again = list(grid.plan(box.minpt, box.maxpt).refs())
        assert [r.key for r in again] == [ref.key]
        assert again[0].whole


@given(requests(), st.integers(0, 50), st.integers(0, 50))
def test_any_run_of_a_plan_can_be_walked_alone(
    request: tuple[ChunkGrid, list[int], list[int], list[int]], a: int, b: int
) -> None:
    plan = request[0].plan(*request[1:])
    every = list(plan.refs())
    assert len(every) == len(plan)
    start, stop = sorted((min(a, len(plan)), min(b, len(plan))))
    assert list(plan.refs(start, stop)) == every[start:stop]


def test_names_are_absolute_and_truncated_at_the_edge() -> None:
    grid = ChunkGrid("8_8_40", (-5, 3, 0), (20, 16, 20), (16, 16, 16))
    keys = [ref.key for ref in grid.plan((-5, 3, 0), (15, 19, 20)).refs()]
    assert keys == [f"8_8_40/{x}_3-19_{z}" for z, x in product(("0-16", "16-20"), ("-5-11", "11-15"))]


def test_a_plan_of_a_million_million_chunks_is_small() -> None:
    grid = ChunkGrid("s", (0, 0, 0), (10_000 * 64,) * 3, (64, 64, 64))
    assert grid.count((0, 0, 0), grid.size) == 10**12
    plan = grid.plan((0, 0, 0), grid.size)
    assert len(plan) == 10**12
    assert next(plan.refs(10**12 - 1)).key.endswith("639936-640000_639936-640000_639936-640000")


@given(requests())
def test_a_plan_knows_whether_all_its_chunks_are_whole(
    request: tuple[ChunkGrid, list[int], list[int], list[int]],
) -> None:
    plan = request[0].plan(*request[1:])
    assert plan.whole == all(ref.whole for ref in plan.refs())


@given(st.integers(-5000, 5000), st.integers(1, 3), st.integers(0, 9000), st.sampled_from([1, 1, 2, 7]))
def test_a_long_axis_is_walked_without_being_listed(offset: int, chunk: int, start: int, step: int) -> None:
    grid = ChunkGrid("s", (offset, 0, 0), (10_000, 2, 1), (chunk, 1, 1))
    plan = grid.plan((offset + start, 0, 0), (offset + 10_000, 2, 1), (step, 1, 1))
    keys = [ref.key for ref in plan.refs()]
    voxels = range(offset + start, offset + 10_000, step)
    begins = sorted({voxel - (voxel - offset) % chunk for voxel in voxels})
    ends = [min(begin + chunk, offset + 10_000) for begin in begins]
    row = [f"{begin}-{end}" for begin, end in zip(begins, ends, strict=True)]
    assert keys == [f"s/{x}_{y}_0-1" for y in ("0-1", "1-2") for x in row]


def test_an_axis_of_a_million_chunks_costs_no_list() -> None:
    grid = ChunkGrid("s", (0, 0, 0), (10**8, 1, 1), (100, 1, 1))
    tracemalloc.start()
    try:
        plan = grid.plan((0, 0, 0), grid.size)
        keys = sum(1 for _ in plan.refs(0, 10_000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(plan), keys) == (10**6, 10_000)
    assert peak < 2**20
