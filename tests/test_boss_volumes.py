"""`boss://` beside other protocols: that it does as `file://`, copies both ways, memory, other processes."""

import json
import multiprocessing
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from boss_places import SIZE, new_name, put_secret, sparse, stored, volume
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from s3_places import alone, layer, new_path
from s3_places import put_secret as put_aws_secret
from servers.boss import FULL, BossServer
from servers.gs import gs_server
from servers.http import HttpServer
from servers.s3 import s3_server
from volumes import make, parts

from precomp import Bbox, CloudVolume
from precomp.errors import PrecompError, ReadOnlyError, UnsupportedError

START = (5, 3, 1)
STOP = (45, 33, 21)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with the secrets of the servers in it."""
    folder = tmp_path / "home"
    alone(folder, monkeypatch)
    put_secret(folder)
    return folder


# --- as file:// -----------------------------------------------------------------------------------------

ENDS = st.none() | st.integers(-3, 50)
STEPS = st.sampled_from([None, 1, 1, 1, 2, 7, 60])
SLICES = st.builds(slice, ENDS, ENDS, STEPS)
WRONG = [7.5, True, None, "x", slice(9, 5), slice(5, 9, -1), slice(5, 9, 0)]
ODD = st.sampled_from([..., 7.0, np.int8(9), *WRONG])
PARTS = st.one_of(SLICES, SLICES, SLICES, st.integers(-3, 50), ODD)
POINTS = st.tuples(*[st.integers(-3, 50)] * 3)
INSIDE = parts(SIZE).map(
    lambda box: tuple(slice(s.start + o, s.stop + o, s.step) for s, o in zip(box, START, strict=True))
)
INDICES = st.one_of(
    INSIDE,
    INSIDE,
    st.lists(PARTS, min_size=1, max_size=5).map(tuple),
    st.tuples(*[SLICES] * 3),
    st.builds(lambda a, b: Bbox(np.minimum(a, b), np.maximum(a, b)), POINTS, POINTS),
)
SCALARS = st.sampled_from([0, 7, 2**16 - 1, 2**16, -1, 7.0, 7.5, True, "x"])
FORMS = st.sampled_from(["C", "F", ">u2", "without channels", "u1", "u4", "too short"])
VALUES = st.one_of(FORMS.map(lambda form: ("array", form)), SCALARS)
SWITCHES = st.fixed_dictionaries(
    {"bounded": st.booleans(), "autocrop": st.booleans(), "background_color": st.sampled_from([0, 9])}
)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[CloudVolume, CloudVolume]:
    """The same volume at the BOSS and in files, where all chunks are stored."""
    boss = volume("uint16", start=START, stop=STOP, levels=2, opened={"non_aligned_writes": True})
    path = tmp_path_factory.mktemp("file") / "ds/em"
    file = make(path, SIZE, dtype="uint16", voxel_offset=START, max_mip=1, non_aligned_writes=True)
    for vol in (boss, file):
        vol[...] = sparse(SIZE, "uint16")
    return boss, file


def outcome(what: Any) -> Any:
    """What comes back, or the class of the error."""
    try:
        return what()
    except PrecompError as error:
        return type(error)


@given(index=INDICES, switches=SWITCHES, parallel=st.sampled_from([None, 1, 3]))
@settings(max_examples=150)
def test_reads_are_those_of_a_file(both: Any, index: Any, switches: dict[str, Any], parallel: Any) -> None:
    for vol in both:
        for name, value in switches.items():
            setattr(vol, name, value)
        vol.parallel = parallel
    boss, file = (outcome(lambda vol=vol: vol[index]) for vol in both)
    assert type(boss) is type(file)
    np.testing.assert_array_equal(boss, file)
    if not isinstance(boss, type):
        assert (boss.dtype, boss.flags.f_contiguous, boss.flags.writeable) == (np.uint16, True, True)
        assert boss.bounds == file.bounds


def formed(voxels: NDArray[Any], form: str) -> NDArray[Any]:
    """An array of the voxels in one form or another, not all of which are right."""
    if form in ("C", "F"):
        return np.array(voxels, order=form)  # type: ignore[call-overload]
    if form == "without channels":
        return voxels[..., 0]
    return voxels[1:] if form == "too short" else voxels.astype(form)


@given(index=INDICES, value=VALUES, autocrop=st.booleans(), seed=st.integers(0, 99))
@settings(max_examples=150)
def test_writes_are_those_of_a_file(both: Any, index: Any, value: Any, autocrop: bool, seed: int) -> None:
    results = []
    for vol in both:
        vol.bounded, vol.autocrop = False, False
        given = value
        if isinstance(value, tuple):
            shape = getattr(outcome(lambda vol=vol: vol[index]), "shape", (2, 2, 2, 1))
            given = formed(sparse(shape, "uint16", seed), value[1])
        vol.autocrop = autocrop
        results.append(outcome(lambda vol=vol, given=given: vol.__setitem__(index, given)))
        vol.bounded, vol.autocrop = True, False
    assert results[0] == results[1]
    np.testing.assert_array_equal(both[0][...], both[1][...])
    np.testing.assert_array_equal(stored(both[0]), both[1][..., 0][..., 0])


# --- copies ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["gs", "s3", "file", "mem"])
@pytest.mark.parametrize("chunk", [(512, 512, 16), (16, 8, 16)])
def test_to_the_boss_and_back(protocol: str, chunk: tuple[int, ...], home: Path) -> None:
    bucket = gs_server().new_bucket() if protocol == "gs" else ""
    put_aws_secret(home / ".neuroglancer/secrets", s3_server().secret if protocol == "s3" else {})
    given = {"gs": {"endpoint_url": gs_server().url, "anonymous": True} if bucket else None}
    given["s3"] = layer() if protocol == "s3" else None

    def place(name: str) -> str:
        folder = f"{home}/{name}" if protocol == "file" else f"{bucket or uuid.uuid4()}/{name}"
        return new_path() if protocol == "s3" else f"{protocol}://{folder}/em"

    voxels = sparse(SIZE, "uint16")
    first = CloudVolume.from_numpy(voxels, place("a"), chunk_size=chunk, options=given.get(protocol))
    boss = first.transfer_to(f"boss://{new_name()}")
    assert np.array_equal(stored(boss), voxels)
    last = boss.transfer_to(place("b"), options=given.get(protocol))
    assert np.array_equal(last[...][..., 0], voxels)
    assert last.exists(last.bounds) == dict.fromkeys(last.exists(last.bounds), True)


def test_from_a_web_server_and_not_to_it(tmp_path: Path) -> None:
    file = CloudVolume.from_numpy(sparse(SIZE, "uint16"), tmp_path / "root/ds/em", compress="gzip")
    with HttpServer(tmp_path / "root") as server:
        boss = CloudVolume(f"{server.url}/ds/em").transfer_to(f"boss://{new_name()}")
        assert np.array_equal(boss[...], file[...])
        with pytest.raises(ReadOnlyError):
            boss.transfer_to(f"{server.url}/ds/em")


def test_every_level_of_a_pyramid(tmp_path: Path) -> None:
    file = make(
        tmp_path / "a/em",
        (41, 33, 21),
        dtype="uint64",
        encoding="compressed_segmentation",
        layer_type="segmentation",
        voxel_offset=(0, 0, 0),
        max_mip=2,
    )
    boss = None
    for mip in range(3):
        file.mip = mip
        file[...] = sparse(file.shape, "uint64", mip)
        boss = file.transfer_to(f"boss://{new_name()}" if boss is None else boss.cloudpath)
    assert boss is not None
    boss.mip = 0
    back = boss.transfer_to(tmp_path / "b/em", mip=0)
    for mip in (1, 2):
        boss.transfer_to(back.cloudpath, mip=mip)
    for mip in range(3):
        box = file.mip_bounds(mip)
        assert np.array_equal(back.download(box, mip), file.download(box, mip))


# --- memory, processes ----------------------------------------------------------------------------------

MEMORY = """
import json, sys
import numpy as np
from precomp import Bbox, CloudVolume
from precomp.volume import transfer
from precomp_plugins._boss import channel

MB = 2**20
channel._REQUEST_BYTES, transfer._BLOCK_BYTES = 4 * MB, 8 * MB  # a 16th: so that little has to be sent

def status(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))

def extra(work):
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak begins anew
    before = status("VmRSS")
    result = work()
    return (status("VmHWM") - before) / MB, result

path, options, folder = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
vol = CloudVolume(path, options=options, progress=False)
vol[:512, :512, :16] = 7
vol[:512, :512, :16]  # all is imported, and the threads have been there
voxels = np.random.default_rng(0).integers(0, 256, (1024, 1024, 96), dtype=np.uint8)  # 96 MB
found = {}
found["write"], _ = extra(lambda: vol.__setitem__(..., voxels))
found["erase"], _ = extra(lambda: vol.delete(Bbox((0, 0, 0), (1024, 1024, 1))))
voxels[:, :, :1] = 0
found["read"], back = extra(lambda: vol[...])
assert (back[..., 0] == voxels).all()
del voxels, back
found["copy"], file = extra(lambda: vol.transfer_to(f"file://{folder}/ds/em"))
found["copy back"], _ = extra(lambda: file.transfer_to(path.replace("/em", "/copy"), options=options))
print(json.dumps(found))
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="only Linux tells")
def test_memory_stays_with_the_array_and_the_parts_in_hand(tmp_path: Path) -> None:
    """Each of the 4 threads has a part as it is and as it is sent, and the allocator keeps some."""
    server = BossServer()  # another process than the one that is measured
    path = server.add(new_name(), stop=(1024, 1024, 96))
    given = json.dumps({"protocol": "http", "host": server.host, "token": FULL})
    run = subprocess.run(
        [sys.executable, "-c", MEMORY, path, given, str(tmp_path)],
        check=True,
        timeout=300,
        capture_output=True,
        text=True,
    )
    found = json.loads(run.stdout.splitlines()[-1])  # intern may print, see docs/boss.md
    in_hand = 4 * 2 * 4 * 2
    assert found["write"] < in_hand
    assert found["erase"] < in_hand
    assert found["read"] < 96 + in_hand
    assert found["copy"] < 8 + in_hand
    assert found["copy back"] < 8 + in_hand


def largest(vol: CloudVolume) -> int:
    """What a process does that nothing but the pickled volume reaches."""
    return int(vol[...].max())


def test_a_process_that_was_not_forked() -> None:
    vol = volume("uint16")
    vol[...] = 7
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(largest, [CloudVolume(vol.cloudpath)] * 2) == [7, 7]


def test_what_a_service_of_boxes_has_not_is_told() -> None:
    vol = volume()
    for what in (
        lambda: vol.exists(vol.bounds),
        lambda: vol.save_mesh(1),
        lambda: vol.commit_info(),
        lambda: vol.commit_provenance(),
        lambda: vol.add_scale((2, 2, 1)) and vol.commit_info(),
    ):
        with pytest.raises(UnsupportedError, match=f"{vol.cloudpath}: boss"):
            what()
