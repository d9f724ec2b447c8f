"""What numba compiles for compressed_segmentation: right, never out of bounds, loaded where it pays."""

import os
import subprocess
import sys
import textwrap
import threading
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from precomp_plugins.codecs._cseg import compiled, decoding, encoding, library

Array = NDArray[Any]
Triple = tuple[int, int, int]

SMALL = st.tuples(st.integers(1, 11), st.integers(1, 11), st.integers(1, 11))
BLOCKS = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
DTYPES = st.sampled_from(["uint32", "uint64"])
COUNTS = st.sampled_from([1, 2, 3, 4, 5, 17, 300])


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_ENOUGH", 0)


def labels_of(shape: Triple, dtype: str, count: int, seed: int, runs: bool = False) -> Array:
    rng = np.random.default_rng(seed)
    names = rng.integers(0, np.iinfo(dtype).max, count, dtype, endpoint=True)
    chunk = names[rng.integers(0, count, shape)]
    if runs:
        chunk = np.repeat(chunk, 3, axis=0)[: shape[0]]
    return np.asfortranarray(chunk)


def encoded(chunk: Array, block: Triple) -> bytes:
    encode = library.encoder(chunk.itemsize)
    assert encode is not None
    return encode(chunk, block)


def grid_of(shape: Any, block: Triple) -> Triple:
    x, y, z = (-(-n // b) for n, b in zip(shape, block, strict=True))
    return x, y, z


@given(SMALL, BLOCKS, DTYPES, COUNTS, st.integers(0, 99), st.booleans(), st.booleans())
def test_it_writes_what_the_library_writes(
    shape: Triple, block: Triple, dtype: str, count: int, seed: int, runs: bool, inside: bool
) -> None:
    chunk = labels_of(shape, dtype, count, seed, runs)
    if inside:  # a larger volume, of which this is a chunk
        volume = np.zeros([n + 5 for n in shape], dtype, order="F")
        place = tuple(slice(2, 2 + n) for n in shape)
        volume[place] = chunk
        chunk = volume[place]
        assert compiled.is_line(chunk)
    encode = compiled.encoder(chunk.itemsize, 1)
    assert encode is not None
    expected = encoded(np.asfortranarray(chunk), block)
    assert encode(chunk, block) == expected
    with np.errstate(over="ignore"):
        assert compiled._encoding(encoding.encode)(chunk, block) == expected  # Python, without numba


@given(SMALL, BLOCKS, DTYPES, COUNTS, st.integers(0, 99), st.data())
def test_it_reads_any_box(
    shape: Triple, block: Triple, dtype: str, count: int, seed: int, data: st.DataObject
) -> None:
    chunk = labels_of(shape, dtype, count, seed)
    words = np.frombuffer(encoded(chunk, block), np.uint32)
    lo = [data.draw(st.integers(0, n - 1)) for n in shape]
    hi = [data.draw(st.integers(start + 1, n)) for start, n in zip(lo, shape, strict=True)]
    around = np.zeros([stop - start + 4 for start, stop in zip(lo, hi, strict=True)], dtype, order="F")
    out = around[2:-2, 2:-2, 2:-2]
    decode = compiled.decoder(chunk.itemsize, 1)
    assert decode is not None
    for way in (decode, compiled._decoding(decoding.decode)):
        around[...] = 0
        assert way(words, grid_of(shape, block), block, (lo[0], lo[1], lo[2]), out) == 0
        expected = chunk[tuple(slice(*ends) for ends in zip(lo, hi, strict=True))]
        np.testing.assert_array_equal(out, expected)
        assert np.count_nonzero(around) == np.count_nonzero(expected), "nothing else is touched"


class Guarded:
    """Words, which may only be looked up where they are; numpy would count negative places from the end."""

    def __init__(self, words: Array) -> None:
        self._words = words

    def __len__(self) -> int:
        return len(self._words)

    def __getitem__(self, place: Any) -> Any:
        assert 0 <= place < len(self._words)
        return self._words[place]


@given(SMALL, BLOCKS, DTYPES, COUNTS, st.integers(0, 99), st.data())
def test_damage_is_told_and_nothing_is_read_beyond_the_end(
    shape: Triple, block: Triple, dtype: str, count: int, seed: int, data: st.DataObject
) -> None:
    """Python runs the same loops, and would see it; what numba makes of them ends in the same way."""
    chunk = labels_of(shape, dtype, count, seed)
    grid = grid_of(shape, block)
    words = np.frombuffer(encoded(chunk, block), np.uint32).copy()
    heads = 2 * grid[0] * grid[1] * grid[2]
    numbers = (
        st.integers(0, 2**32 - 1) | st.integers(0, len(words) + 2) | st.integers(0, 9).map(lambda n: n << 24)
    )
    for _ in range(data.draw(st.integers(1, 3))):
        words[data.draw(st.integers(0, heads - 1) | st.integers(0, len(words) - 1))] = data.draw(numbers)
    words = words[: data.draw(st.integers(heads, len(words)))]
    out = np.zeros(shape, dtype, order="F")
    memory = np.empty(16, dtype)
    line, steps = compiled._line(out), compiled._steps(out)
    told = decoding.decode(Guarded(words), grid, block, (0, 0, 0), shape, line, steps, memory)
    python = out.copy()
    decode = compiled.decoder(chunk.itemsize, 1)
    assert decode is not None
    assert decode(words, grid, block, (0, 0, 0), out) == told
    assert told in (0, decoding.BAD_WIDTH, decoding.BAD_PLACE, decoding.BAD_INDEX)
    if told == 0:
        np.testing.assert_array_equal(out, python)


@pytest.mark.parametrize("width", [0, 1, 2, 4, 8, 16, 32])
def test_tables_that_end_with_the_stream(width: int) -> None:
    """An index may be as large as there is room for labels, however many its bits could count."""
    voxels, label = 32, np.uint64(7)
    values = np.zeros(voxels * width // 32, np.uint32)
    table = np.array([label], np.uint64).view(np.uint32)
    words = np.concatenate([np.array([2 + len(values) | width << 24, 2], np.uint32), values, table])
    out = np.zeros((32, 1, 1), np.uint64, order="F")
    decode = compiled.decoder(8, 1)
    assert decode is not None
    assert decode(words, (1, 1, 1), (32, 1, 1), (0, 0, 0), out) == 0
    assert (out == label).all()
    if width:
        words[2] |= 1  # the first index
        assert decode(words, (1, 1, 1), (32, 1, 1), (0, 0, 0), out) == decoding.BAD_INDEX
    assert decode(words[:-1], (1, 1, 1), (32, 1, 1), (0, 0, 0), out) == decoding.BAD_INDEX


def test_tables_too_far_are_told() -> None:
    chunk = np.arange(2**24, dtype=np.uint64).reshape((256, 256, 256), order="F")
    encode = compiled.encoder(8, 1)
    assert encode is not None
    with pytest.raises(OverflowError):
        encode(chunk, (8, 8, 8))


def test_blocks_of_many_labels() -> None:
    chunk = np.random.default_rng(0).permutation(2**16).astype(np.uint32).reshape((64, 64, 16), order="F")
    for block in ((64, 64, 16), (16, 16, 16)):
        encode = compiled.encoder(4, 1)
        assert encode is not None
        assert encode(chunk, block) == encoded(chunk, block)


# --- when it is loaded ----------------------------------------------------------------------------------


def test_it_is_loaded_once_there_is_enough_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []
    begun, done = threading.Event(), threading.Event()

    def load(kind: str, label_bytes: int) -> Any:
        asked.append((kind, label_bytes))
        begun.set()
        assert done.wait(20)
        return f"{kind} {label_bytes}"

    monkeypatch.setattr(compiled, "_ENOUGH", 100)
    monkeypatch.setattr(compiled, "_spent", 0)
    monkeypatch.setattr(compiled, "_loaded", {})
    monkeypatch.setattr(compiled, "_load", load)
    assert compiled.decoder(8, 60) is None
    assert asked == []
    found: list[Any] = []
    loader = threading.Thread(target=lambda: found.append(compiled.decoder(8, 60)))
    loader.start()
    assert begun.wait(20)
    assert compiled.decoder(8, 60) is None, "the others go on meanwhile"
    assert compiled.encoder(8, 60) is None
    done.set()
    loader.join(20)
    assert found == ["decode 8"]
    assert compiled.decoder(8, 1) == "decode 8"
    assert compiled.encoder(4, 1) == "encode 4"
    assert asked == [("decode", 8), ("encode", 4)]


@pytest.mark.parametrize("why", ["absent", "switched off"])
def test_without_numba_the_library_serves(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if why == "absent":
        monkeypatch.setitem(sys.modules, "numba", None)
    else:
        import numba

        monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    for kind, size in product(("decode", "encode"), (4, 8)):
        assert compiled._load(kind, size) is None


def test_what_does_not_work_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, size in product(("decode", "encode"), (4, 8)):
        assert not compiled._is_right(kind, lambda *arguments: 0, size)
        assert compiled._is_right(kind, compiled._load(kind, size), size)


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize("left", [b"", b"garbage"])
def test_what_was_kept_on_the_disk_may_be_damaged(kind: str, left: bytes, tmp_path: Path) -> None:
    """It is compiled anew then, and kept. Here a function that takes no time to compile."""
    program = textwrap.dedent(
        """
        import sys, numba
        sys.path.insert(0, sys.argv[1])
        import short
        from precomp_plugins.codecs._cseg.compiled import _compiled
        function = numba.njit(nogil=True, cache=True)(short.double)
        assert _compiled(function, numba.int64(numba.int64))(21) == 42
        print(sum(function.stats.cache_hits.values()))
        """
    )
    (tmp_path / "short.py").write_text("def double(number):\n    return 2 * number\n")
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    hits = []
    for number in range(4):
        if number == 2:
            kept = list(tmp_path.rglob(f"*.{kind}"))
            assert kept
            for file in kept:
                file.write_bytes(left)
        run = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)], env=environment, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stderr
        hits.append(int(run.stdout))
    assert hits == [0, 1, 0, 1]


def test_few_chunks_do_not_load_it() -> None:
    script = """
import sys
import numpy as np
from precomp_plugins.codecs._cseg.codec import CompressedSegmentation
from precomp.interfaces import ChunkSpec
chunk = np.zeros((64, 64, 64, 1), np.uint64, order="F")
codec = CompressedSegmentation()
data = codec.encode(chunk)
codec.decode(data, ChunkSpec(chunk.shape, chunk.dtype))
assert "numba" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
