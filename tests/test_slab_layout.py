"""Slabs by arithmetic, against lists of all of them."""

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from precomp import Bbox
from precomp.grid import ChunkGrid
from precomp.volume.slab_layout import Numbers, Slabs, on_grid, shown_runs

triples = st.tuples(*[st.integers(1, 9)] * 3)


@st.composite
def grids(draw: st.DrawFn) -> ChunkGrid:
    return ChunkGrid("8_8_40", draw(st.tuples(*[st.integers(-9, 9)] * 3)), draw(triples), draw(triples))


@st.composite
def boxes_in(draw: st.DrawFn, grid: ChunkGrid) -> Bbox:
    ends = [
        sorted(draw(st.tuples(*[st.integers(a, b)] * 2))) for a, b in zip(grid.offset, grid.stop, strict=True)
    ]
    return Bbox([low for low, _ in ends], [high for _, high in ends])


@given(grids(), st.data(), st.integers(0, 2))
def test_every_slice_is_in_one_slab_that_ends_where_the_chunks_do(
    grid: ChunkGrid, data: st.DataObject, axis: int
) -> None:
    box = data.draw(boxes_in(grid))
    slabs = Slabs.of(box, axis, grid)
    found = [place for number in range(len(slabs)) for place in range(*slabs.ends(number))]
    assert found == list(range(int(box.minpt[axis]), int(box.maxpt[axis])))
    for number in range(len(slabs)):
        low, high = slabs.ends(number)
        assert {slabs.number(place) for place in range(low, high)} == {number}
        assert len({(place - grid.offset[axis]) // grid.chunk[axis] for place in range(low, high)}) == 1
        part = slabs.part(low, high)
        assert (part.minpt[axis], part.maxpt[axis]) == (low, high)
        assert all(n <= m for n, m in zip(part.size3(), slabs.shape(1), strict=False))
    if number := len(slabs):
        ends = [slabs.ends(n)[1] for n in range(number - 1)]
        assert all((end - grid.offset[axis]) % grid.chunk[axis] == 0 for end in ends)


@given(grids(), st.data())
def test_a_box_on_the_grid_is_one_of_whole_chunks(grid: ChunkGrid, data: st.DataObject) -> None:
    box = data.draw(boxes_in(grid))
    for each in (box, box.expand_to_chunk_size(grid.chunk, grid.offset).clamp(Bbox(grid.offset, grid.stop))):
        assert on_grid(each, grid) is (each.empty() or grid.plan(each.minpt, each.maxpt).whole)


@given(st.lists(st.integers(0, 12), unique=True), st.integers(0, 14))
def test_numbers_are_a_set(members: list[int], stop: int) -> None:
    numbers = Numbers()
    for count, number in enumerate(members):
        numbers.add(number)
        assert [n for n in range(14) if n in numbers] == sorted(members[: count + 1])
    inside = [number for number in members if number < stop]
    numbers = Numbers()
    for number in inside:
        numbers.add(number)
    gaps = list(numbers.gaps(stop))
    assert [n for gap in gaps for n in range(*gap)] == [n for n in range(stop) if n not in inside]
    assert all(a[1] < b[0] for a, b in itertools.pairwise(gaps))


def test_numbers_that_follow_each_other_take_no_memory() -> None:
    numbers = Numbers()
    for number in (*range(500, 1000), *range(499, -1, -1)):
        numbers.add(number)
    assert vars(numbers) == {"_starts": [0], "_stops": [1000]}


def test_runs_are_shown_in_few_words() -> None:
    cases: list[tuple[int, Any, str]] = [
        (2, [(3, 4)], "z = 3"),
        (0, [(-5, -2), (-2, 0), (4, 4), (7, 8)], "x = -5 to -1, 7"),
        (1, [(n, n + 1) for n in range(0, 30, 2)], "y = 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, ..."),
    ]
    for axis, runs, text in cases:
        assert shown_runs(axis, runs) == text
