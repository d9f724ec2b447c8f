"""Vec and Bbox against plain Python integers, numpy arrays and sets of voxels."""

import copy
import itertools
import json
import math
import operator
import pickle
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from precomp.errors import ArgumentError, PrecompError
from precomp.geometry import Bbox, Vec

BIG = 2**53 + 1  # the first integer that float64 cannot hold
ANY_INT = st.integers() | st.integers(2**53, 2**70) | st.integers(-(2**70), -(2**53))
FINITE = st.floats(-1e9, 1e9)
NUMBER = ANY_INT | FINITE


def triples(elements: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(elements, min_size=3, max_size=3)


@st.composite
def boxes(draw: st.DrawFn, elements: st.SearchStrategy[Any] = NUMBER) -> Bbox:
    ends = [sorted(draw(st.tuples(elements, elements))) for _ in range(3)]
    return Bbox([low for low, _ in ends], [high for _, high in ends])


SMALL = boxes(st.integers(-3, 3))


def voxels(box: Bbox) -> set[tuple[int, ...]]:
    """The plain model of a small box: the set of its voxels."""
    return set(itertools.product(*(range(*ends) for ends in zip(box.minpt, box.maxpt, strict=True))))


# ---------------------------------------------------------------------------------------- Vec


@given(st.lists(NUMBER, max_size=5))
def test_vec_is_a_tuple_of_its_numbers(values: list[Any]) -> None:
    vec = Vec(values)
    assert isinstance(vec, tuple)
    assert tuple(vec) == tuple(values)
    assert [type(n) for n in vec] == [type(n) for n in values]
    assert Vec(*values) == vec
    assert hash(vec) == hash(tuple(values))
    assert json.loads(json.dumps(vec)) == values
    for twin in (eval(repr(vec)), pickle.loads(pickle.dumps(vec)), copy.deepcopy(vec), copy.copy(vec)):
        assert type(twin) is Vec
        assert twin == vec


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "i8", "u8", "f2", "f4", "f8", ">i4", "longdouble"])
def test_numpy_scalars_become_python_numbers(dtype: str) -> None:
    array = np.array([1, 2, 100], dtype)
    expected = float if array.dtype.kind == "f" else int
    for vec in (Vec(array), Vec(*array), Vec(list(array))):
        assert [type(n) for n in vec] == [expected] * 3
        assert vec == (1, 2, 100)
    assert Vec(np.uint64(2**64 - 1))[0] == 2**64 - 1


@pytest.mark.parametrize(
    "bad",
    [math.nan, np.float32("nan"), True, np.True_, "1", "123", b"1", np.str_("1"), None, 1j, {1, 2}, {1: 2},
     [[1], 2], np.zeros((2, 2)), slice(1)],
)  # fmt: skip
def test_vec_refuses_what_is_no_number(bad: Any) -> None:
    with pytest.raises(ArgumentError, match=r"element 0 of a Vec is .*; expected an int"):
        Vec(bad)
    with pytest.raises(ArgumentError, match="element 1 of a Vec"):
        Vec(5, bad)


def test_components() -> None:
    vec = Vec(1, 2.5, 3, 4)
    assert (vec.x, vec.y, vec.z, vec.c) == (1, 2.5, 3, 4)
    assert (vec[0], vec[-1], vec[np.int64(1)]) == (1, 4, 2.5)
    assert [repr(part) for part in (vec[:3], vec[::-2], vec[3:3])] == [
        "Vec(1, 2.5, 3)",
        "Vec(4, 2.5)",
        "Vec()",
    ]
    with pytest.raises(AttributeError, match=r"Vec\(1, 2\) has no \.z; that takes 3 elements, it has 2"):
        _ = Vec(1, 2).z
    assert not hasattr(Vec(1, 2, 3), "c")


def test_vec_is_immutable() -> None:
    vec: Any = Vec(1, 2, 3)
    for name in ("x", "z", "anything"):
        with pytest.raises(AttributeError):
            setattr(vec, name, 5)
    with pytest.raises(TypeError):
        vec[0] = 5
    same = vec
    same += 1
    assert (vec, same) == (Vec(1, 2, 3), Vec(2, 3, 4))


def test_vec_serves_as_a_shape_and_an_array() -> None:
    shape = Vec(2, 3, 4)
    zeros: NDArray[Any] = np.zeros(shape)
    assert zeros.shape == (2, 3, 4)
    assert np.arange(24).reshape(shape)[1, 2, 3] == 23
    assert np.asarray(shape).dtype == np.int64
    assert np.maximum(shape, [3, 3, 3]).tolist() == [3, 3, 4]
    assert "{}-{}-{}".format(*shape) == "2-3-4"


OPERANDS: Any = st.sampled_from([st.integers(1, 2**26), st.integers(-(2**26), -1), st.floats(1e-3, 1e6)])
POWERS: Any = (st.integers(-9, 9), st.integers(0, 9))
MAKERS: dict[str, Any] = {"scalar": lambda n: n, "list": list, "tuple": tuple, "Vec": Vec, "array": np.array}
ARITHMETIC = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod,
]  # fmt: skip


@pytest.mark.parametrize("apply", [*ARITHMETIC, operator.pow])
@given(kind=st.sampled_from(sorted(MAKERS)), data=st.data())
def test_arithmetic_as_numpy_does_it(apply: Any, kind: str, data: st.DataObject) -> None:
    elements, others = POWERS if apply is operator.pow else (data.draw(OPERANDS), data.draw(OPERANDS))
    left, right = data.draw(triples(elements)), data.draw(others if kind == "scalar" else triples(others))
    model = apply(np.array(left), np.array(right))

    forward = apply(Vec(left), MAKERS[kind](right))
    assert type(forward) is Vec
    assert forward == model
    assert forward == model.tolist()
    if kind != "scalar":
        reflected = apply(MAKERS[kind](left), Vec(right))
        assert type(reflected) is (np.ndarray if kind == "array" else Vec)
        assert np.array_equal(reflected, model)


@given(st.integers(1, 100), triples(st.integers(1, 100)))
def test_reflected_scalars_python_and_numpy(scalar: int, values: list[int]) -> None:
    vec = Vec(values)
    for kind in (int, np.int64, np.uint8, np.float32, np.array):
        for apply in ARITHMETIC:
            result = apply(kind(scalar), vec)
            assert type(result) is Vec
            assert result == [apply(scalar, n) for n in values]
            assert apply(vec, kind(scalar)) == [apply(n, scalar) for n in values]
    assert 2**vec == [2**n for n in values]


@given(triples(ANY_INT), triples(ANY_INT.filter(bool)))
@example([BIG] * 3, [1, -1, BIG])
def test_integers_of_any_size_are_exact(left: list[int], right: list[int]) -> None:
    for apply in (operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod):
        exact = [apply(a, b) for a, b in zip(left, right, strict=True)]
        assert tuple(apply(Vec(left), right)) == tuple(apply(left, Vec(right))) == tuple(exact)
    assert tuple(-Vec(left)) == tuple(-n for n in left)
    assert tuple(abs(Vec(left))) == tuple(abs(n) for n in left)


def test_tables_of_vectors_are_left_to_numpy() -> None:
    points: Any = np.arange(6).reshape(2, 3)
    resolution: Any = Vec(4, 4, 40)
    expected = [[0, 4, 80], [12, 16, 200]]
    for product in (points * resolution, resolution * points):
        assert isinstance(product, np.ndarray)
        assert product.tolist() == expected
    assert (resolution - points).tolist() == [[4, 3, 38], [1, 0, 35]]
    assert (points < resolution).tolist() == [[True] * 3, [True, False, True]]
    assert (resolution > points).tolist() == [[True] * 3, [True, False, True]]
    assert (points == resolution).tolist() == [[False] * 3, [False, True, False]]
    assert (resolution != points).tolist() == [[True] * 3, [True, False, True]]


def test_array_op_vec_stays_an_array_also_in_place() -> None:
    array = np.array([1, 2, 3])
    array += Vec(1, 1, 1)
    array = array * Vec(2, 2, 2)
    assert isinstance(array, np.ndarray)
    assert array.tolist() == [4, 6, 8]


@pytest.mark.parametrize(
    "other", [(1, 2), [1, 2, 3, 4], (), np.ones(2), np.ones((3, 2)), np.ones((3, 1)), Vec(1)], ids=repr
)
def test_other_lengths_are_refused(other: Any) -> None:
    vec: Any = Vec(1, 2, 3)
    for apply in (operator.add, operator.mul, operator.floordiv, operator.lt, operator.ge):
        for left, right in ((vec, other), (other, vec)):
            with pytest.raises(ArgumentError, match=r"shape \(.*\); expected [13] elements or a number"):
                apply(left, right)
    assert (vec == other) is (other == vec) is False
    assert (vec != other) is (other != vec) is True


@pytest.mark.parametrize(
    ("compute", "cause"),
    [
        (lambda: Vec(1, 2) / 0, ZeroDivisionError),
        (lambda: Vec(1, 2) // (1, 0), ZeroDivisionError),
        (lambda: 1 % Vec(1, 0), ZeroDivisionError),
        (lambda: Vec(0) ** -1, ZeroDivisionError),
        (lambda: Vec(10**400) / 3, OverflowError),
        (lambda: Vec(-4) ** 0.5, ArgumentError),
        (lambda: Vec(math.inf) - math.inf, ArgumentError),
    ],
)
def test_operations_without_a_result(compute: Callable[[], Vec], cause: type[Exception]) -> None:
    with pytest.raises(ArgumentError, match=r"^[a-z]+ of .*Vec.* has no result") as caught:
        compute()
    assert isinstance(caught.value.__cause__, cause)


def test_operands_that_are_no_numbers() -> None:
    vec: Any = Vec(1, 2, 3)
    others: list[Any] = ["abc", None, {1, 2, 3}, frozenset()]
    for other in others:
        for apply in (operator.add, operator.mul, operator.lt):
            with pytest.raises(TypeError):
                apply(vec, other)
            with pytest.raises(TypeError):
                apply(other, vec)
    for other in (True, np.True_, math.nan, [1, True, 2]):
        with pytest.raises(ArgumentError, match="expected an int, or a float other than NaN"):
            vec + other


@given(triples(st.integers(-2, 2)), triples(st.integers(-2, 2)))
@example([1, 2, 3], [1, 2, 3])
def test_equality_is_one_bool_and_order_is_elementwise(left: list[int], right: list[int]) -> None:
    vec: Any = Vec(left)
    for make in (list, tuple, Vec, np.array, lambda n: np.array(n, "f4"), lambda n: np.array(n, object)):
        other = make(right)
        assert (vec == other) is (other == vec) is (left == right)
        assert (vec != other) is (other != vec) is (left != right)
        for apply in (operator.lt, operator.le, operator.gt, operator.ge):
            for result, model in (
                (apply(vec, other), apply(np.array(left), np.array(right))),
                (apply(other, vec), apply(np.array(right), np.array(left))),
            ):
                assert result.dtype == bool
                assert np.array_equal(result, model)
    assert (vec < 1).tolist() == [n < 1 for n in left]
    assert (np.int8(1) >= vec).tolist() == [n <= 1 for n in left]


@given(triples(ANY_INT))
def test_comparisons_see_every_bit(values: list[int]) -> None:
    vec: Any = Vec(values)
    assert vec == values
    assert vec != [values[0], values[1], values[2] + 1]
    assert all(vec < vec + 1)
    assert not any(vec < values)


@pytest.mark.parametrize("other", [5, None, "123", {1, 2, 3}, frozenset(), np.array(1)], ids=repr)
def test_vec_differs_from_what_is_no_sequence(other: Any) -> None:
    assert (Vec(1, 2, 3) == other) is False
    assert (Vec(1, 2, 3) != other) is True


def test_astype() -> None:
    assert repr(Vec(1.7, -1.7, BIG).astype(np.int64)) == f"Vec(1, -1, {BIG})"
    assert repr(Vec(1, 2).astype(float)) == "Vec(1.0, 2.0)"
    assert Vec(0.1).astype("float32")[0] == np.float32(0.1)
    misfits: list[tuple[Vec, Any]] = [
        (Vec(256), "u1"), (Vec(-1), "u8"), (Vec(2**63), int), (Vec(math.inf), int), (Vec(1e9), "f2"),
        (Vec(1), bool), (Vec(1), "U"), (Vec(1), "nonsense"),
    ]  # fmt: skip
    for vec, dtype in misfits:
        with pytest.raises(ArgumentError, match=r"Vec\(.*\) does not go into dtype") as caught:
            vec.astype(dtype)
        assert caught.value.__cause__ is not None


# --------------------------------------------------------------------------------------- Bbox


@given(triples(NUMBER), triples(NUMBER))
def test_corners_are_kept_exactly(low: list[Any], high: list[Any]) -> None:
    low, high = list(map(min, low, high)), list(map(max, low, high))
    six = [*low, *high]
    boxes = [Bbox(low, high), Bbox(tuple(low), iter(high)), Bbox.from_list(six), Bbox.create(six)]
    for box in boxes:
        assert type(box.minpt) is type(box.maxpt) is Vec
        assert box.to_list() == six
        assert [type(n) for n in box.to_list()] == [type(n) for n in six]
        assert box == boxes[0]
        assert len({box, boxes[0], pickle.loads(pickle.dumps(box)), copy.deepcopy(box)}) == 1
        assert eval(repr(box)) == box
        assert Bbox.create(box) is box


def test_array_corners_are_copied() -> None:
    low, high = np.zeros(3, "u2"), np.full(3, 5, ">i8")
    box = Bbox(low, high)
    low[:] = high[:] = 9
    assert repr(box) == "Bbox((0, 0, 0), (5, 5, 5))"
    assert Bbox.from_list(np.arange(6)) == Bbox((0, 1, 2), (3, 4, 5))
    assert box == Bbox((0.0, 0, 0), (5, 5.0, 5))
    assert hash(box) == hash(Bbox((0.0, 0, 0), (5, 5.0, 5)))
    assert box != Bbox((0, 0, 0), (5, 5, 6))


def test_bbox_is_immutable() -> None:
    box: Any = Bbox((0, 0, 0), (1, 2, 3))
    for name in ("minpt", "maxpt", "anything"):
        with pytest.raises(AttributeError):
            setattr(box, name, Vec(0, 0, 0))
    assert attrs.evolve(box, maxpt=[4, 4, 4]) == Bbox((0, 0, 0), (4, 4, 4))


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        ((0, 5, 0), (9, 4, 9), r"maxpt\.y = 4 lies below minpt\.y = 5; expected minpt <= maxpt"),
        ((0, 0), (1, 1), r"minpt is Vec\(0, 0\); expected three finite numbers"),
        ((0, 0, 0), (1, 1, 1, 1), r"maxpt is Vec\(1, 1, 1, 1\); expected three finite numbers"),
        ((0, 0, 0), 5, r"maxpt is Vec\(5\); expected three"),
        ((0, -math.inf, 0), (1, 1, 1), r"minpt is Vec\(0, -inf, 0\); expected three finite"),
        ((0, 0, 0), (1, math.nan, 1), r"maxpt: element 1 of a Vec is nan"),
        ((0, 0, 0), (1, 1, True), r"maxpt: element 2 of a Vec is True"),
        ("000", (1, 1, 1), r"minpt: element 0 of a Vec is '000' \(str\)"),
    ],
)
def test_broken_corners_are_named(low: Any, high: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Bbox(low, high)


@given(boxes(st.integers(-20, 20)), st.none() | st.integers(1, 5))
def test_slices_there_and_back(box: Bbox, step: int | None) -> None:
    slices = box.to_slices()
    assert [type(end) for part in slices for end in (part.start, part.stop)] == [int] * 6
    assert Bbox.from_slices(slices) == Bbox.create(slices) == box
    stepped = [slice(part.start, part.stop, step) for part in slices]
    assert Bbox.from_slices([*stepped, slice(None)]) == box
    array = np.zeros((41, 41, 41))
    assert array[(box + 20).to_slices()].shape == box.size3()


def test_slices_of_other_kinds() -> None:
    assert Bbox.from_slices(np.s_[5:2, -7, np.int64(3)]) == Bbox((5, -7, 3), (5, -6, 4))
    assert Bbox.from_slices(np.s_[0:BIG, np.uint8(255) : 300, 4.0]) == Bbox((0, 255, 4), (BIG, 300, 5))
    assert Bbox.from_slices(np.s_[0.5:1.5, 0:1, 0:1]).to_list() == [0.5, 0, 0, 1.5, 1, 1]
    assert Bbox((0.0, 0, 0), (2.0, 1, 1)).to_slices() == np.s_[0:2, 0:1, 0:1]


@pytest.mark.parametrize(
    ("slices", "message"),
    [
        (np.s_[0:1, :5, 0:1], r"y: slice\(None, 5, None\) is open; a box needs absolute numbers"),
        (np.s_[0:1, 0:1, 5:], r"z: slice\(5, None, None\) is open; a box needs absolute numbers"),
        (np.s_[5:0:-1, 0:1, 0:1], r"x: the step of slice\(5, 0, -1\) is below 1"),
        (np.s_[0:5:0, 0:1, 0:1], r"x: the step of slice\(0, 5, 0\) is below 1"),
        (np.s_[0:5:"2", 0:1, 0:1], r"the step along x is '2'"),
        (np.s_[0:1, ..., 0:1], r"index y is Ellipsis"),
        (np.s_[0:1, 1.5, 0:1], r"index y is 1\.5; expected a whole number"),
        (np.s_[0:1, math.inf, 0:1], r"index y is inf; expected a whole number"),
        (np.s_[0:1, True, 0:1], r"index y is True"),
        (np.s_[0:1, 0:"5", 0:1], r"the stop along y is '5'"),
        (np.s_[0:1, "0":5, 0:1], r"the start along y is '0'"),
        (np.s_[0:1, 0 : math.inf, 0:1], r"maxpt is Vec\(1, inf, 1\)"),
        (np.s_[0:1, 0:1], r"2 slices; expected 3"),
        (np.s_[0:1, 0:1, 0:1, 0:1, 0:1], r"5 slices; expected 3"),
        (slice(0, 1), r"found slice\(0, 1, None\) \(slice\); expected three slices"),
    ],
)
def test_broken_slices_are_named(slices: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Bbox.from_slices(slices)


@given(
    boxes(ANY_INT),
    st.sampled_from(["", ".gz", ".br", ".zstd", ".zst"]),
    st.sampled_from(["", "8_8_40/", "/1-2_3/ä\n/"]),
)
def test_filenames_there_and_back(box: Bbox, suffix: str, folder: str) -> None:
    name = box.to_filename()
    assert Bbox.from_filename(folder + name + suffix) == box
    assert Bbox.from_filename(name).to_filename() == name
    assert [type(n) for n in Bbox.from_filename(name).to_list()] == [int] * 6


@given(boxes(st.integers(-12, 12)), boxes(st.integers(-12, 12)))
def test_filenames_of_different_boxes_differ(a: Bbox, b: Bbox) -> None:
    assert (a.to_filename() == b.to_filename()) is (a == b)


def test_filenames_as_the_format_has_them() -> None:
    assert Bbox.from_filename("8_8_40/-5-11_3-19_0-16") == Bbox((-5, 3, 0), (11, 19, 16))
    assert Bbox.from_filename("-20--10_0-64_-64-0.gz") == Bbox((-20, 0, -64), (-10, 64, 0))
    assert Bbox((-5, 3.0, 0), (11, 19, 16.0)).to_filename() == "-5-11_3-19_0-16"
    assert Bbox((0, 0, 0), (2**63, BIG, 1)).to_filename() == "0-9223372036854775808_0-9007199254740993_0-1"


@pytest.mark.parametrize(
    "text",
    ["", "info", "0-64_0-64", "0-64_0-64_0-64_0-64", "0-64_0-64_0-64/", "0-64_0-64_0-64.txt",
     "0-64_0-64_0-64.gz.br", "0-64_0-64_0-64\n", " 0-64_0-64_0-64", "00-64_0-64_0-64", "-0-64_0-64_0-64",
     "+0-64_0-64_0-64", "0.0-64_0-64_0-64", "0-6\u0664_0-64_0-64", "64-0_0-64_0-64",
     ".0-64_0-64_0-64.lock", f"0-{'9' * 5000}_0-1_0-1"],
    ids=lambda text: ascii(text[:30]),
)  # fmt: skip
def test_what_is_no_filename(text: str) -> None:
    with pytest.raises(ArgumentError, match="is not the name of a chunk: ") as caught:
        Bbox.from_filename(text)
    assert isinstance(caught.value.__cause__, ValueError)


def test_fractions_have_no_filename_and_no_slices() -> None:
    box = Bbox((0, 0.5, 0), (1, 1, 1))
    for convert in (box.to_filename, box.to_slices):
        with pytest.raises(ArgumentError, match=r"minpt\.y is 0\.5; expected a whole number"):
            convert()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, r"found 5 \(int\); expected a Bbox, six numbers or three slices"),
        ("0-1_0-1_0-1", r"found '0-1_0-1_0-1' \(str\)"),
        ([1, 2], r"2 slices; expected 3"),
        (None, r"found None"),
    ],
)
def test_create_says_what_it_takes(value: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Bbox.create(value)


def test_other_ways_to_make_a_box() -> None:
    assert Bbox.create((slice(0, 5), 3, slice(1, 2), slice(0, 1))) == Bbox((0, 3, 1), (5, 4, 2))
    assert Bbox.create(np.arange(6)) == Bbox((0, 1, 2), (3, 4, 5))
    assert Bbox.from_delta((1, 2, BIG), np.array([3, 3, 3])) == Bbox((1, 2, BIG), (4, 5, BIG + 3))
    with pytest.raises(ArgumentError, match=r"maxpt\.x = 0 lies below minpt\.x = 1"):
        Bbox.from_delta((1, 1, 1), (-1, 1, 1))
    with pytest.raises(ArgumentError, match=r"size is Vec\(1, 1\)"):
        Bbox.from_delta((1, 1, 1), (1, 1))
    with pytest.raises(ArgumentError, match="a box of 5 numbers; expected six"):
        Bbox.from_list([1, 2, 3, 4, 5])


@given(boxes(ANY_INT) | boxes(FINITE))
def test_measures(box: Bbox) -> None:
    sizes = [high - low for low, high in zip(box.minpt, box.maxpt, strict=True)]
    assert tuple(box.size3()) == tuple(box.size()) == tuple(sizes)
    assert box.volume() == math.prod(sizes)
    assert box.empty() is (0 in sizes)
    for low, middle, high in zip(box.minpt, box.center(), box.maxpt, strict=True):
        assert middle == ((low + high) // 2 if (low + high) % 2 == 0 else (low + high) / 2)


@given(SMALL)
def test_volume_counts_voxels(box: Bbox) -> None:
    assert box.volume() == len(voxels(box))
    assert type(box.volume()) is type((box * 1.0).volume()) is int
    assert (box / 2).volume() == len(voxels(box)) / 8


@given(SMALL, SMALL)
def test_boxes_are_sets_of_voxels(a: Bbox, b: Bbox) -> None:
    in_a, in_b = voxels(a), voxels(b)
    shared = a.intersection(b)
    assert voxels(shared) == in_a & in_b
    assert shared == Bbox.intersection(b, a)
    assert a.intersects(b) is Bbox.intersects(b, a) is bool(in_a & in_b)
    assert a.intersection(a) == a
    if any(a.maxpt < b.minpt) or any(b.maxpt < a.minpt):
        assert shared.size3() == (0, 0, 0)
    if not a.empty():
        assert b.contains_bbox(a) is (in_a <= in_b)
    for point in itertools.product(range(-4, 5), repeat=3):
        assert a.contains(point) is (point in in_a)
    assert all(point in a for point in in_a)


@given(SMALL, SMALL)
def test_union_is_the_smallest_box_around_both(a: Bbox, b: Bbox) -> None:
    union = a.union(b)
    assert union == b.union(a)
    assert union.contains_bbox(a)
    assert union.contains_bbox(b)
    for axis in range(3):
        if union.size3()[axis]:
            step = Vec(*(int(i == axis) for i in range(3)))
            for smaller in (Bbox(union.minpt + step, union.maxpt), Bbox(union.minpt, union.maxpt - step)):
                assert not (smaller.contains_bbox(a) and smaller.contains_bbox(b))


@given(SMALL, SMALL)
def test_clamp_stays_inside_and_near(a: Bbox, b: Bbox) -> None:
    clamped = a.clamp(b)
    assert b.contains_bbox(clamped)
    assert voxels(clamped) == voxels(a) & voxels(b)
    for corner, cut in ((a.minpt, clamped.minpt), (a.maxpt, clamped.maxpt)):
        assert tuple(cut) == tuple(np.clip(corner, b.minpt, b.maxpt))


PAIRS = ["intersection", "union", "clamp", "intersects", "contains_bbox"]


@pytest.mark.parametrize("method", PAIRS)
def test_the_other_box_may_be_written_in_any_way(method: str) -> None:
    box, other = Bbox((0, 0, 0), (4, 5, 6)), Bbox((1, 2, 3), (3, 4, 9))
    expected = getattr(box, method)(other)

    class Foreign:
        minpt, maxpt = np.array([1, 2, 3]), [3, 4, 9]

    for written in ([1, 2, 3, 3, 4, 9], np.array(other.to_list()), np.s_[1:3, 2:4, 3:9], Foreign()):
        assert getattr(box, method)(written) == expected


@pytest.mark.parametrize("method", PAIRS)
@pytest.mark.parametrize(
    "wrong", [None, 5, "0-1_0-1_0-1", (1, 2, 3), Vec(1, 2, 3), [], {1, 2}, slice(0, 3), np.s_[0:1, 0:1]]
)
def test_what_is_no_other_box(method: str, wrong: Any) -> None:
    with pytest.raises(ArgumentError, match=r"expected (a Bbox, six numbers or three slices|3 \(x, y, z\))"):
        getattr(Bbox((0, 0, 0), (4, 5, 6)), method)(wrong)


def test_contains_takes_fractions_and_arrays() -> None:
    box = Bbox((0, 0, 0), (1, 1, BIG))
    assert box.contains(np.array([0.5, 0, 0]))
    assert box.contains((0, 0, BIG - 1))
    assert not box.contains((0, 0, BIG))
    assert (0, 1.0, 0) not in box
    for point in (5, (0, 0), "abc", (0, 0, math.nan), Bbox((0, 0, 0), (1, 1, 1))):
        with pytest.raises(ArgumentError, match="point"):
            box.contains(point)


# ------------------------------------------------------------------------------- the chunk grid

CHUNK = st.integers(1, 7) | st.integers(1, 2**60)


@given(boxes(NUMBER), triples(CHUNK), triples(ANY_INT))
@example(Bbox((-1e-20, 0.1, BIG), (1e-20, 0.1, BIG)), [64, 64, 1], [10, 0, 0])
def test_alignment(box: Bbox, chunk: list[int], offset: list[int]) -> None:
    expanded = box.expand_to_chunk_size(chunk, offset)
    rounded = box.round_to_chunk_size(chunk, tuple(offset))
    shrunk = box.shrink_to_chunk_size(np.array(chunk), Vec(offset))
    assert [type(n) for n in expanded.to_list() + rounded.to_list()] == [int] * 12
    assert expanded.contains_bbox(box)
    assert box.contains_bbox(shrunk)
    for i, (c, o) in enumerate(zip(chunk, offset, strict=True)):
        low, high = Fraction(box.minpt[i]), Fraction(box.maxpt[i])
        for n in (expanded.minpt[i], expanded.maxpt[i], rounded.minpt[i], rounded.maxpt[i]):
            assert (n - o) % c == 0
        assert low - c < expanded.minpt[i] <= low
        assert high <= expanded.maxpt[i] < high + c
        for n, exact in ((rounded.minpt[i], low), (rounded.maxpt[i], high)):
            assert -Fraction(c, 2) < n - exact <= Fraction(c, 2)
        first = o + math.ceil((low - o) / c) * c
        last = o + math.floor((high - o) / c) * c
        if first <= last:
            assert (shrunk.minpt[i], shrunk.maxpt[i]) == (first, last)
        else:
            assert shrunk.minpt[i] == shrunk.maxpt[i] == box.minpt[i]


def test_alignment_in_plain_numbers() -> None:
    box = Bbox((-5, 10, 32), (70, 20, 96))
    assert box.expand_to_chunk_size((64, 64, 64)) == Bbox((-64, 0, 0), (128, 64, 128))
    assert box.shrink_to_chunk_size(64) == Bbox((0, 10, 64), (64, 10, 64))
    assert box.round_to_chunk_size([64, 64, 64]) == Bbox((0, 0, 64), (64, 0, 128))
    assert box.expand_to_chunk_size((16.0, 16, 16), (-5, 3, np.int64(0))) == Bbox((-5, 3, 32), (75, 35, 96))
    assert Bbox((64, 0, 1), (64, 9, 1)).expand_to_chunk_size(64) == Bbox((64, 0, 0), (64, 64, 64))


@pytest.mark.parametrize("method", ["expand_to_chunk_size", "shrink_to_chunk_size", "round_to_chunk_size"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((64, 0, 64),), r"chunk_size is \(64, 0, 64\); expected 1 or more voxels"),
        ((-1,), r"chunk_size is -1; expected 1 or more voxels"),
        (((64, 2.5, 64),), r"chunk_size is 2\.5; expected a whole number"),
        (((64, 64),), r"chunk_size is Vec\(64, 64\); expected three finite numbers"),
        (("64",), r"chunk_size: element 0 of a Vec is '64'"),
        ((64, (0, 0.5, 0)), r"offset is 0\.5; expected a whole number"),
        ((64, (0, math.inf, 0)), r"offset is Vec\(0, inf, 0\); expected three finite"),
    ],
)
def test_broken_grids_are_named(method: str, arguments: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        getattr(Bbox((0, 0, 0), (9, 9, 9)), method)(*arguments)


# --------------------------------------------------------------------------- moving and scaling


@given(boxes(ANY_INT), triples(ANY_INT))
def test_moving_is_exact(box: Bbox, by: list[int]) -> None:
    expected = Bbox(box.minpt + by, box.maxpt + by)
    for moved in (box + by, by + box, box + np.array(by, object), np.array(by, object) + box, Vec(by) + box):
        assert moved == expected
    assert (box + by) - tuple(by) == box
    assert box + by[0] == box + [by[0]] * 3


@given(boxes(ANY_INT), triples(st.integers(1, 2**60)))
def test_scaling_is_exact(box: Bbox, by: list[int]) -> None:
    scaled = box * by
    assert scaled == Bbox(box.minpt * by, box.maxpt * by)
    assert scaled == by * box == np.array(by) * box == Vec(by) * box
    assert scaled // by == box
    assert box // by == Bbox(box.minpt // by, box.maxpt // by)
    assert box / by == Bbox(box.minpt / by, box.maxpt / by)
    assert np.int64(2) * box == box * 2


def test_a_negative_factor_mirrors() -> None:
    assert Bbox((1, 2, 3), (4, 5, 6)) * (-1, 1, -2) == Bbox((-4, 2, -12), (-1, 5, -6))


def test_box_arithmetic_refuses() -> None:
    box: Any = Bbox((0, 0, 0), (4, 4, 4))
    for other in (box, "abc", None, (1, 2), True, math.inf):
        with pytest.raises(ArgumentError, match="the operand of a Bbox"):
            box + other
    with pytest.raises(ArgumentError, match="division by zero") as caught:
        box / (1, 0, 1)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(TypeError):
        1 - box
    with pytest.raises(TypeError):
        _ = box < box


def test_bbox_astype() -> None:
    box = Bbox((0.5, -1.5, 0), (9.9, 9, BIG))
    assert repr(box.astype(int)) == f"Bbox((0, -1, 0), (9, 9, {BIG}))"
    assert repr(Bbox((0, 0, 0), (1, 1, 1)).astype("f4")) == "Bbox((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))"
    with pytest.raises(ArgumentError, match="does not go into dtype 'u1'"):
        box.astype("u1")


def test_every_error_is_ours() -> None:
    with pytest.raises(PrecompError):
        Bbox((0, 0, 0), (-1, 0, 0))
    with pytest.raises(ValueError):
        Vec("1")


@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_vec_is_added_to_an_array_in_place(shape: tuple[int, ...]) -> None:
    array = np.arange(6 if len(shape) == 2 else 3).reshape(shape)
    view, vec = array[...], Vec(10, 20, 30)
    expected = array + np.array([10, 20, 30])
    array += vec
    assert np.array_equal(view, expected)
    array -= vec
    array *= vec
    assert np.array_equal(view, np.arange(array.size).reshape(shape) * np.array([10, 20, 30]))


def test_vec_serves_numpys_functions() -> None:
    vec = Vec(4, 9, 16)
    assert np.array_equal(np.sqrt(vec), [2, 3, 4])
    assert np.array_equal(np.maximum(np.array([5, 5, 5]), vec), [5, 9, 16])
    assert np.add.reduce(vec) == 29
    out = np.zeros(3)
    assert np.add(vec, vec, out=out) is out
    assert out.tolist() == [8, 18, 32]
