"""FileStore: a dict on the disk that other writers, full disks and kills cannot break."""

import errno
import itertools
import os
import pickle
import random
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule
from privileges import unprivileged
from store_child import KEY, SIZE, opened, pattern

from precomp.errors import ConditionFailedError, StoreError
from precomp.interfaces import Blob, ByteRange, CloudPath, Condition, Stat, SupportsUpdate, UsesSuffixes
from precomp.testing.names import ILLEGAL_KEYS, LEGAL_KEYS, SUFFIXES
from precomp.testing.store.keys import expect_refusals
from precomp.testing.store.machine import StoreStateMachine
from precomp_plugins import file as plugin
from precomp_plugins._file import io as file_io
from precomp_plugins._file import swap
from precomp_plugins._file.io import replace_file
from precomp_plugins._file.lock import Hold, locked
from precomp_plugins._file.moves import Move
from precomp_plugins._file.names import check_file_key, layer_folder
from precomp_plugins._file.store import FileStore

FOLDER, NAME = KEY.split("/")
posix_only = pytest.mark.skipif(os.name == "nt", reason="needs a POSIX system")


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return opened(str(tmp_path / "layer"))


@pytest.fixture
def files(tmp_path: Path) -> Callable[[], dict[str, bytes]]:
    """Returns every file below the layer, hidden ones too, with its content."""

    def found() -> dict[str, bytes]:
        root = tmp_path / "layer"
        return {
            path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
        }

    return found


Files = Callable[[], dict[str, bytes]]


def data_of(blob: Blob | None) -> bytes:
    assert blob is not None
    return bytes(blob.data)


def child(*arguments: object) -> subprocess.Popen[str]:
    script = Path(__file__).with_name("store_child.py")
    command = [sys.executable, str(script), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate()
    assert process.returncode == 0
    return said


def kill_when_it_says(process: subprocess.Popen[str], word: str, after: float = 0.0) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == f"{word}\n"
    time.sleep(after)
    process.kill()
    process.communicate()


# --- a dict -----------------------------------------------------------------------------------------


class FileModel(StoreStateMachine):
    """The kit's, with what only this store has: a folder that others open, and names that must not stay."""

    def __init__(self) -> None:
        self.root = tempfile.mkdtemp()
        super().__init__(opened(self.root), tuple(SUFFIXES))

    @rule()
    def open_again(self) -> None:
        """What a store remembers of a folder must never matter."""
        self.store = opened(self.root)

    @rule()
    def pickle(self) -> None:
        self.store = pickle.loads(pickle.dumps(self.store))

    def teardown(self) -> None:
        names = {name for _, _, names in os.walk(self.root) for name in names}
        shutil.rmtree(self.root)
        assert not [name for name in names if name.startswith(".")]


TestFileModel = FileModel.TestCase
TestFileModel.settings = settings(deadline=None, max_examples=40, stateful_step_count=25)


def test_it_does_all_a_file_store_can(store: FileStore) -> None:
    assert isinstance(store, SupportsUpdate)
    assert isinstance(store, UsesSuffixes)


def test_opening_and_reading_creates_nothing(store: FileStore, tmp_path: Path) -> None:
    assert store.get("info") is None
    assert store.get("info", ByteRange(0, 1)) is None
    assert store.stat("info") is None
    assert list(store.list("")) == []
    store.delete(["info", KEY])
    assert list(tmp_path.iterdir()) == []


def test_a_key_is_a_file(store: FileStore, files: Files) -> None:
    store.put("info", Blob(b"{}", None, "application/json", "no-cache"))
    store.put(KEY, Blob(b"voxels"))
    store.put("a/b", Blob(b"1", "gzip"))
    store.put("a/c", Blob(b"2", "zstd"))
    assert files() == {"info": b"{}", KEY: b"voxels", "a/b.gz": b"1", "a/c.zstd": b"2"}


def test_put_and_update_return_no_version(store: FileStore) -> None:
    put: Callable[[str, Blob], object] = store.put
    assert put(KEY, Blob(b"")) is None
    assert store.get(KEY) == Blob(b"")
    assert store.stat(KEY) == Stat(0)


@pytest.mark.parametrize("data", [b"plain", bytearray(b"array"), memoryview(b"a b c d")[2:], b""])
def test_what_was_put_comes_back(store: FileStore, data: Any) -> None:
    store.put(KEY, Blob(data))
    assert data_of(store.get(KEY)) == bytes(data)


def test_a_view_of_numbers_is_stored_as_bytes(store: FileStore) -> None:
    numbers = memoryview(b"12345678" * 4).cast("Q", (2, 2))
    store.put(KEY, Blob(numbers))
    assert data_of(store.get(KEY)) == b"12345678" * 4


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        (0, 3, b"012"),
        (7, 10, b"789"),
        (7, 99, b"789"),
        (10, 12, b""),
        (99, 2**62, b""),
        (5, 5, b""),
        (5, 2, b""),
    ],
)
def test_ranges(store: FileStore, start: int, stop: int, expected: bytes) -> None:
    store.put(KEY, Blob(b"0123456789", "br"))
    assert store.get(KEY, ByteRange(start, stop)) == Blob(expected, "br", size=10)


def test_a_range_before_the_start_is_refused(store: FileStore) -> None:
    store.put(KEY, Blob(b"0123456789"))
    with pytest.raises(StoreError, match=KEY):
        store.get(KEY, ByteRange(-3, 2))


def test_short_reads_and_writes_are_completed(
    store: FileStore, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = random.Random(0).randbytes(10_000)
    write, pread = os.write, file_io._pread
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:999]))
    store.put(KEY, Blob(content))
    assert files() == {KEY: content}
    monkeypatch.setattr(file_io, "_pread", lambda fd, size, start: pread(fd, min(size, 777), start))
    assert data_of(store.get(KEY)) == content
    assert data_of(store.get(KEY, ByteRange(100, 9_900))) == content[100:9_900]


def test_a_file_that_shrinks_while_it_is_read(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(KEY, Blob(b"0123456789"))
    pread = file_io._pread
    monkeypatch.setattr(
        file_io, "_pread", lambda fd, size, start: pread(fd, max(0, min(size, 4 - start)), start)
    )
    assert data_of(store.get(KEY)) == b"0123"


# --- keys and names ---------------------------------------------------------------------------------


def refuses(store: FileStore, key: str, text: str) -> None:
    """Assert that every method says `text` of a key, and that nothing is stored."""
    assert [said for said in expect_refusals(store, key).values() if text not in said] == []
    assert list(store.list("")) == []


@pytest.mark.parametrize("key", [*ILLEGAL_KEYS, ".a", "a/.b", ".a/b", "..."])
def test_bad_keys_are_refused(store: FileStore, key: str) -> None:
    refuses(store, key, "is no key")


@pytest.mark.parametrize("key", ["notes.gz", "a/notes.br", "notes.zst", "gz/x.gz.zstd"])
def test_a_key_may_not_look_compressed(store: FileStore, key: str) -> None:
    refuses(store, key, "suffixes .gz, .br, .zstd, .zst")


def test_without_suffixes_a_name_is_a_name(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    store.put("notes.gz", Blob(b"plain"))
    assert list(store.list("")) == ["notes.gz"]
    assert store.get("notes.gz") == Blob(b"plain")
    assert store.get("notes") is None


def test_a_name_that_cannot_be_encoded_is_refused(store: FileStore) -> None:
    refuses(store, "\ud800x", "cannot be a file's name")


@pytest.mark.parametrize("prefix", ["../", "a/../", "/", "a//b", ".git/"])
def test_bad_folders_of_a_prefix_are_refused_at_the_call(store: FileStore, prefix: str) -> None:
    with pytest.raises(StoreError, match="is no key"):
        store.list(prefix)


@pytest.mark.parametrize("key", ["a:0", "a\\b", "what?", "a|b"])
def test_names_that_mean_something_else_on_windows(key: str) -> None:
    check_file_key(key, ())
    with pytest.raises(StoreError, match="Windows"):
        check_file_key(key, (), windows=True)


@given(st.text(min_size=1, max_size=40))
@settings(deadline=None)
def test_every_key_is_refused_or_works(key: str) -> None:
    with tempfile.TemporaryDirectory() as root:
        store = opened(root)
        try:
            store.put(key, Blob(b"x", "gzip"))
        except StoreError:
            assert list(store.list("")) == []
        else:
            assert list(store.list("")) == [key]
            assert store.get(key) == Blob(b"x", "gzip")
            store.update(key, lambda blob: blob and Blob(b"y"))
            assert store.get(key) == Blob(b"y")
            store.delete([key])
            assert list(store.list("")) == []


@pytest.mark.parametrize("key", ["n" * 255, "folder/" + "ü" * 127, "f" * 255 + "/" + "n" * 250])
def test_the_longest_names(store: FileStore, files: Files, key: str) -> None:
    store.put(key, Blob(b"1"))
    store.update(key, lambda blob: Blob(data_of(blob) + b"2"))
    assert files() == {key: b"12"}
    assert store.get(key) == Blob(b"12")
    assert store.stat(key) == Stat(2)
    store.delete([key])
    assert store.get(key) is None
    store.put(key, Blob(b"3"), condition=Condition(None))
    assert list(store.list(key[:10])) == [key]


def test_a_name_that_is_too_long(store: FileStore, files: Files) -> None:
    for key, encoding in [("n" * 256, None), ("n" * 254, "gzip"), ("n" * 256 + "/x", None)]:
        blob = Blob(b"x", encoding)
        with pytest.raises(StoreError, match="shorter key") as caught:
            store.put(key, blob)
        assert isinstance(caught.value.__cause__, OSError)
        with pytest.raises(StoreError, match="shorter key"):
            store.update(key, lambda _, new=blob: new)  # type: ignore[misc]
        assert store.get(key) is None
        assert store.stat(key) is None
        assert list(store.list(key)) == []
        store.delete([key])
    assert files() == {}


def test_a_relative_root_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = FileStore("layer")
    monkeypatch.chdir("/")
    store.put("info", Blob(b"{}"))
    assert (tmp_path / "layer" / "info").read_bytes() == b"{}"
    assert str(tmp_path) in repr(store)


@pytest.mark.parametrize(
    ("bucket", "path", "windows", "folder"),
    [
        ("/data", "ds/layer", False, "/data/ds/layer"),
        ("/", "ds/layer", False, "/ds/layer"),
        ("/", "layer", False, "/layer"),
        ("/", "", False, "/"),
        ("/a b/ü", "c#1/what?%41", False, "/a b/ü/c#1/what?%41"),
        ("C:/data", "ds/layer", True, "C:\\data\\ds\\layer"),
        ("C:/", "ds/layer", True, "C:\\ds\\layer"),
        ("//server/share/", "ds/layer", True, "\\\\server\\share\\ds\\layer"),
    ],
)
def test_the_folder_of_a_cloudpath(bucket: str, path: str, windows: bool, folder: str) -> None:
    assert layer_folder(CloudPath("file", bucket, path), windows) == folder


# --- what else lies in a folder ----------------------------------------------------------------------


def test_a_folder_at_a_key_is_an_error(store: FileStore, files: Files) -> None:
    store.put("a/b", Blob(b"x"))
    calls: list[Callable[[], object]] = [
        lambda: store.get("a"),
        lambda: store.get("a", ByteRange(0, 0)),
        lambda: store.stat("a"),
        lambda: store.put("a", Blob(b"")),
        lambda: store.delete(["a"]),
    ]
    for call in calls:
        with pytest.raises(StoreError, match=r"'a': .*expected a file, found a folder"):
            call()
    assert files() == {"a/b": b"x"}


def test_a_file_where_a_folder_would_be(store: FileStore, files: Files) -> None:
    store.put("a", Blob(b"x"))
    assert store.get("a/b") is None
    assert store.stat("a/b") is None
    store.delete(["a/b"])
    assert list(store.list("a/")) == []
    with pytest.raises(StoreError, match=r"'a/b': .*expected a folder, found a file"):
        store.put("a/b", Blob(b""))
    with pytest.raises(StoreError, match=r"'a/b': .*expected a folder, found a file"):
        store.update("a/b", lambda _: Blob(b""))
    assert files() == {"a": b"x"}


def test_folders_that_end_in_a_suffix_are_folders(store: FileStore, files: Files) -> None:
    store.put("a.gz/b", Blob(b"1"))
    assert store.get("a") is None
    assert store.stat("a") is None
    store.put("a", Blob(b"2"))
    store.put("a", Blob(b"3"))
    store.put("c/d", Blob(b"4"))
    store.put("c", Blob(b"5", "gzip"))
    assert store.get("c") == Blob(b"5", "gzip")
    assert sorted(store.list("")) == ["a", "a.gz/b", "c", "c/d"]
    store.delete(["a"])
    assert files() == {"a.gz/b": b"1", "c/d": b"4", "c.gz": b"5"}


def test_hidden_and_unfinished_names_are_not_listed(store: FileStore, tmp_path: Path) -> None:
    store.put(KEY, Blob(b"x"))
    for name in (f".{NAME}.lock", ".1-2-3.tmp", ".hidden.gz", ".gz"):
        (tmp_path / "layer" / FOLDER / name).write_bytes(b"")
    (tmp_path / "layer" / ".git").mkdir()
    (tmp_path / "layer" / ".git" / "config").write_bytes(b"")
    assert list(store.list("")) == [KEY]
    assert list(store.list(".")) == []


@posix_only
def test_links(store: FileStore, tmp_path: Path) -> None:
    store.put("a/x", Blob(b"1"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "y.gz").write_bytes(b"2")
    layer = tmp_path / "layer"
    (layer / "out").symlink_to(tmp_path / "elsewhere")
    (layer / "a" / "up").symlink_to(layer)
    (layer / "a" / "here").symlink_to(".")
    (layer / "dangling").symlink_to("nowhere")
    assert sorted(store.list("")) == ["a/x", "out/y"]
    assert sorted(store.list("a/")) == ["a/x"]
    assert store.get("out/y") == Blob(b"2", "gzip")
    assert store.get("dangling") is None


def test_only_the_folders_of_the_prefix_are_opened(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("info", "8_8_40/0-64", "8_8_40/64-128", "8_8_40x/0-64", "16_16_40/0-64", "8_8_40/deep/0"):
        store.put(key, Blob(b""))
    scanned: list[str] = []
    scandir = os.scandir

    def record(path: str) -> Any:
        scanned.append(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", record)
    assert sorted(store.list("8_8_40/0-")) == ["8_8_40/0-64"]
    assert [Path(path).name for path in scanned] == ["8_8_40"]
    scanned.clear()
    assert sorted(store.list("8_8")) == ["8_8_40/0-64", "8_8_40/64-128", "8_8_40/deep/0", "8_8_40x/0-64"]
    assert sorted(Path(path).name for path in scanned) == ["8_8_40", "8_8_40x", "deep", "layer"]


def test_a_listing_may_be_deleted_while_it_is_read(store: FileStore, files: Files) -> None:
    for key, encoding in zip(LEGAL_KEYS, itertools.cycle([None, *SUFFIXES]), strict=False):
        store.put(key, Blob(b"", encoding))
    store.delete(store.list(""))
    assert files() == {}


# --- twins ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", ".gz", ".br", ".zstd", ".zst"])
@pytest.mark.parametrize("encoding", [None, "gzip", "br", "zstd"])
def test_a_put_leaves_no_twin(
    store: FileStore, files: Files, tmp_path: Path, suffix: str, encoding: str | None
) -> None:
    (tmp_path / "layer").mkdir()
    (tmp_path / "layer" / f"x{suffix}").write_bytes(b"old")
    (tmp_path / "layer" / "x.zst").write_bytes(b"older")
    written = "x" + {None: "", "gzip": ".gz", "br": ".br", "zstd": ".zstd"}[encoding]
    store.put("x", Blob(b"new", encoding))
    assert files() == {written: b"new"}
    store.update("x", lambda blob: blob and Blob(b"newer"))
    assert files() == {"x": b"newer"}


def test_a_compression_without_suffix_is_refused(store: FileStore, files: Files) -> None:
    with pytest.raises(StoreError, match="'x': the compression 'xz' has no file name suffix"):
        store.put("x", Blob(b"", "xz"))
    store.set_suffixes({"xz": ()})
    with pytest.raises(StoreError, match="known are none"):
        store.update("x", lambda _: Blob(b"", "xz"))
    assert files() == {}


def test_all_twins_go_and_which_is_read_does_not_depend_on_what_was_read_before(
    store: FileStore, tmp_path: Path
) -> None:
    folder = tmp_path / "layer"
    folder.mkdir()
    for suffix in ("", ".gz", ".zst"):
        (folder / f"both{suffix}").write_bytes(suffix.encode())
    (folder / "one.zst").write_bytes(b"")
    assert store.get("both") == Blob(b"")
    assert store.get("one") == Blob(b"", "zstd")
    assert store.get("both") == Blob(b"")
    assert sorted(store.list("")) == ["both", "one"]
    store.delete(["both"])
    assert store.get("both") is None
    assert list(store.list("")) == ["one"]


def test_a_reader_looks_again_when_it_missed_a_rewrite(
    store: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look finds the one name gone already and the other one not there yet, three times over."""
    writer = opened(str(tmp_path / "layer"))
    writer.put(KEY, Blob(b"content", "gzip"))
    turns = iter([None, "gzip", None, "gzip", None, "gzip"])
    access, writing = os.access, False

    def meanwhile(path: str, mode: int) -> bool:
        nonlocal writing
        if not writing and path.endswith((".gz", ".zst")):  # after the plain name, and after the last one
            writing = True
            turn = next(turns, "done")
            if turn != "done":
                writer.put(KEY, Blob(b"content", turn))
            writing = False
        return access(path, mode)

    monkeypatch.setattr(os, "access", meanwhile)
    assert data_of(store.get(KEY)) == b"content"
    assert next(turns, "done") == "done"


def test_what_is_new_in_a_folder_where_something_was_missed_is_found(
    store: FileStore, tmp_path: Path
) -> None:
    store.put(KEY, Blob(b"x"))
    os.utime(tmp_path / "layer" / FOLDER, (1, 1))
    for _ in range(3):
        assert store.get(f"{FOLDER}/other") is None
    store.put(f"{FOLDER}/other", Blob(b"y", "br"))
    assert store.get(f"{FOLDER}/other") == Blob(b"y", "br")


def test_readers_never_miss_or_tear_what_others_rewrite(
    store: FileStore, files: Files, tmp_path: Path
) -> None:
    store.put(KEY, Blob(pattern(None)))
    writers = [child("rewrite", tmp_path / "layer", 300) for _ in range(2)]
    reads = 0
    while any(writer.poll() is None for writer in writers):
        blob = opened(str(tmp_path / "layer")).get(KEY) if reads % 3 == 0 else store.get(KEY)
        assert blob is not None
        assert blob.data == pattern(blob.content_encoding)
        assert store.stat(KEY) is not None
        reads += 1
    for writer in writers:
        finish(writer)
    assert reads > 10
    assert len(files()) == 1


def test_the_same_among_threads(store: FileStore, files: Files) -> None:
    store.put(KEY, Blob(pattern(None)))
    stop = threading.Event()

    def write(number: int) -> None:
        for turn in range(150):
            encoding = [None, "gzip", "br"][(turn + number) % 3]
            store.put(KEY, Blob(pattern(encoding), encoding))

    def read() -> int:
        reads = 0
        while not stop.is_set():
            blob = store.get(KEY)
            assert blob is not None
            assert blob.data == pattern(blob.content_encoding)
            reads += 1
        return reads

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        writers = [pool.submit(write, number) for number in range(2)]
        try:
            for writer in writers:
                writer.result()
        finally:
            stop.set()
        assert all(reader.result() > 10 for reader in readers)
    assert len(files()) == 1


def test_of_two_writers_that_both_moved_their_file_one_stays(
    store: FileStore, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both see the other's file before either holds the lock."""
    both_moved = threading.Barrier(2)

    @contextmanager
    def later(key: str, path: str) -> Iterator[Hold]:
        both_moved.wait()
        with locked(key, path) as hold:
            yield hold

    monkeypatch.setattr("precomp_plugins._file.store.locked", later)
    for _ in range(20):
        # An old twin, so that both take the lock however early one of them looks for the other.
        with monkeypatch.context() as plain:
            plain.setattr("precomp_plugins._file.store.locked", locked)
            store.put(KEY, Blob(b"old", "br"))
        with ThreadPoolExecutor(2) as pool:
            puts = [pool.submit(store.put, KEY, Blob(b"new", name)) for name in (None, "gzip")]
            for put in puts:
                put.result()
        assert list(files().values()) == [b"new"]


def test_a_writer_that_is_overtaken_leaves_the_winner_alone(
    store: FileStore, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another put begins and ends between the move of this one's file and its lock."""
    other = opened(str(tmp_path / "layer"))
    store.put(KEY, Blob(b"old", "br"))

    @contextmanager
    def overtaken(key: str, path: str) -> Iterator[Hold]:
        monkeypatch.setattr("precomp_plugins._file.store.locked", locked)
        other.put(KEY, Blob(b"winner", "zstd"))
        with locked(key, path) as hold:
            yield hold

    monkeypatch.setattr("precomp_plugins._file.store.locked", overtaken)
    store.put(KEY, Blob(b"loser", "gzip"))
    assert files() == {f"{KEY}.zstd": b"winner"}


def test_a_put_takes_no_lock_without_a_twin(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("precomp_plugins._file.store.locked", None)
    for content in (b"1", b"2"):
        store.put(KEY, Blob(content, "gzip"))
    assert store.get(KEY) == Blob(b"2", "gzip")


# --- conditions and updates -------------------------------------------------------------------------


@pytest.mark.parametrize("old", [None, "gzip"])
def test_must_not_exist(store: FileStore, files: Files, old: str | None) -> None:
    store.put(KEY, Blob(b"old", old))
    before = files()
    for encoding in (None, "gzip", "br"):
        with pytest.raises(ConditionFailedError, match=KEY):
            store.put(KEY, Blob(b"new", encoding), condition=Condition(None))
    assert files() == before


@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_must_not_exist_holds_against_a_put_without_lock(
    store: FileStore, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str | None
) -> None:
    """The other put, which found no lock, moves its file between the check and the move."""
    moved = tmp_path / "layer" / f"{KEY}{SUFFIXES[encoding][0] if encoding else ''}"
    link = os.link

    def late(source: str, target: str) -> None:
        moved.write_bytes(b"other")
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(ConditionFailedError):
        store.put(KEY, Blob(b"mine"), condition=Condition(None))
    assert list(files().values()) == [b"other"]


def test_one_of_many_creators_wins(store: FileStore, files: Files) -> None:
    start = threading.Barrier(6)

    def create(number: int) -> bool:
        start.wait()
        try:
            content = Blob(b"%d" % number, [None, "gzip"][number % 2])
            store.put(KEY, content, condition=Condition(None))
        except ConditionFailedError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        won = list(pool.map(create, range(6)))
    assert won == [number == int(data_of(store.get(KEY))) for number in range(6)]
    assert len(files()) == 1


def test_a_version_is_no_condition(store: FileStore) -> None:
    store.put(KEY, Blob(b"x"))
    with pytest.raises(StoreError, match=r"update\(\)"):
        store.put(KEY, Blob(b"y"), condition=Condition("1"))
    assert store.get(KEY) == Blob(b"x")


def test_no_update_of_many_processes_and_threads_is_lost(
    store: FileStore, files: Files, tmp_path: Path
) -> None:
    processes = [child("increment", tmp_path / "layer", 60) for _ in range(3)]

    def increment() -> None:
        for _ in range(40):
            store.update(KEY, lambda blob: Blob(b"%d" % (1 + int(data_of(blob) if blob else b"0"))))

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(increment) for _ in range(4)]:
            done.result()
    for process in processes:
        finish(process)
    assert files() == {KEY: b"%d" % (3 * 60 + 4 * 40)}


@pytest.mark.parametrize("error", [ValueError("mine"), OSError(errno.ENOSPC, "mine"), KeyboardInterrupt()])
def test_what_modify_raises_passes_and_nothing_is_written(
    store: FileStore, files: Files, error: BaseException
) -> None:
    store.put(KEY, Blob(b"old"))

    def modify(blob: Blob | None) -> Blob:
        raise error

    with pytest.raises(type(error)) as caught:
        store.update(KEY, modify)
    assert caught.value is error
    assert files() == {KEY: b"old"}
    store.update(KEY, lambda _: Blob(b"the lock is free"))
    assert files() == {KEY: b"the lock is free"}


def test_an_update_may_delete(store: FileStore, files: Files) -> None:
    store.update(KEY, lambda blob: blob)
    store.put(KEY, Blob(b"x", "gzip"))
    store.update(KEY, lambda blob: None)
    assert files() == {}


@posix_only
def test_the_lock_is_not_kept_by_a_child_forked_meanwhile(store: FileStore, tmp_path: Path) -> None:
    assert finish(child("fork_in_update", tmp_path / "layer")) == "done\n"
    assert data_of(store.get(KEY)) == b"waiter"


# --- kills and failures -----------------------------------------------------------------------------


@posix_only
def test_a_writer_killed_in_an_update_frees_the_lock(store: FileStore, files: Files, tmp_path: Path) -> None:
    store.put(KEY, Blob(b"old"))
    kill_when_it_says(child("hang_in_update", tmp_path / "layer"), "inside")
    assert f"{FOLDER}/.{NAME}.lock" in files()
    assert list(store.list("")) == [KEY]
    store.update(KEY, lambda blob: Blob(data_of(blob) + b" and new"))
    assert files() == {KEY: b"old and new"}


@posix_only
def test_a_writer_killed_before_the_move_leaves_the_old(
    store: FileStore, files: Files, tmp_path: Path
) -> None:
    store.put(KEY, Blob(b"old"))
    kill_when_it_says(child("hang_in_put", tmp_path / "layer"), "inside")
    assert sorted(files().values()) == [b"new", b"old"]
    assert list(store.list("")) == [KEY]
    assert data_of(store.get(KEY)) == b"old"


@posix_only
@pytest.mark.parametrize("command", ["put_for_ever", "update_for_ever"])
def test_writers_killed_at_any_moment(store: FileStore, tmp_path: Path, command: str) -> None:
    store.put(KEY, Blob(pattern(None)))
    chance = random.Random(command)
    for _ in range(6):
        kill_when_it_says(child(command, tmp_path / "layer"), "started", chance.uniform(0, 0.02))
        assert list(store.list("")) == [KEY]
        blob = store.get(KEY)
        assert blob is not None
        assert blob.data == pattern(blob.content_encoding)
        store.update(KEY, lambda blob: blob)  # the lock is free, and only one twin stays
        names = os.listdir(tmp_path / "layer" / FOLDER)
        assert sum(not name.startswith(".") for name in names) == 1
        store.put(KEY, blob)  # what may have been another put's is not kept any more
        names = os.listdir(tmp_path / "layer" / FOLDER)
        assert not [name for name in names if name.endswith(".lock")]


@posix_only
def test_a_file_over_the_limit_leaves_the_old(store: FileStore, files: Files, tmp_path: Path) -> None:
    store.put(KEY, Blob(b"old"))
    said = finish(child("limited", tmp_path / "layer"))
    assert said.count("raise the limit of a file's size") == 4
    assert said.count(repr(KEY)) == 3
    assert files() == {KEY: b"old"}


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root can mount a small file system"
)
def test_a_full_disk_leaves_the_old(store: FileStore, files: Files, tmp_path: Path) -> None:
    root = tmp_path / "layer"
    root.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(root)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount: {mounted.stderr.strip()}")
    try:
        store.put(KEY, Blob(pattern(None)))
        store.put("other", Blob(b"-" * SIZE))
        puts: list[Callable[[], object]] = [
            lambda: store.put(KEY, Blob(2 * pattern(None))),
            lambda: store.put(KEY, Blob(2 * pattern("gzip"), "gzip")),
            lambda: store.put("new", Blob(2 * pattern(None)), condition=Condition(None)),
            lambda: store.update(KEY, lambda _: Blob(2 * pattern(None))),
        ]
        for put in puts:
            with pytest.raises(StoreError, match="make room on the disk") as caught:
                put()
            assert isinstance(caught.value.__cause__, OSError)
            assert caught.value.__cause__.errno == errno.ENOSPC
        assert files() == {KEY: pattern(None), "other": b"-" * SIZE}
        store.delete(["other"])
        store.put(KEY, Blob(pattern("gzip") * 1, "gzip"))
        assert files() == {f"{KEY}.gz": pattern("gzip")}
    finally:
        subprocess.run(["umount", str(root)], check=True)


@pytest.mark.parametrize("call", ["write", "close", "fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.EDQUOT, "quota"), KeyboardInterrupt()])
def test_any_step_may_fail(
    store: FileStore, files: Files, monkeypatch: pytest.MonkeyPatch, call: str, error: BaseException
) -> None:
    store.put("info", Blob(b"old"))
    real = getattr(os, call)

    def fail(*arguments: Any) -> None:
        if call == "close":
            real(*arguments)
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(os, call, fail)
        with pytest.raises(StoreError if isinstance(error, OSError) else KeyboardInterrupt) as caught:
            store.put("info", Blob(b"new"))
    assert caught.value is error or caught.value.__cause__ is error
    assert files() == {"info": b"old"}


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/fd is Linux's")
def test_no_file_stays_open(store: FileStore) -> None:
    def use() -> None:
        store.put("info", Blob(b"x", "gzip"))
        store.put("info", Blob(b"x"))
        store.get("info")
        store.update("info", lambda blob: blob)
        calls: list[Callable[[], object]] = [
            lambda: store.get("a"),
            lambda: store.put("a", Blob(b"")),
            lambda: store.update("a", lambda _: Blob(b"")),
            lambda: store.put("n" * 256, Blob(b"")),
            lambda: store.put("info", Blob(b""), condition=Condition(None)),
        ]
        for call in calls:
            with pytest.raises(StoreError):
                call()
        assert sorted(store.list("")) == ["a/x", "info"]

    store.put("a/x", Blob(b""))
    use()
    before = os.listdir("/proc/self/fd")
    use()
    assert os.listdir("/proc/self/fd") == before


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, unlike those of `tmp_path`."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    folder.chmod(0o777)
    for path, below, _ in os.walk(folder):
        for name in below:
            (Path(path) / name).chmod(0o777)
    shutil.rmtree(folder)


@posix_only
def test_a_read_only_folder(open_folder: Path) -> None:
    store = opened(str(open_folder / "layer"))
    store.put(KEY, Blob(b"old"))
    (open_folder / "layer" / FOLDER).chmod(0o555)
    with unprivileged():
        puts: list[Callable[[], object]] = [
            lambda: store.put(KEY, Blob(b"new")),
            lambda: store.put(KEY, Blob(b"new"), condition=Condition(None)),
            lambda: store.update(KEY, lambda _: Blob(b"new")),
            lambda: store.delete([KEY]),
        ]
        for put in puts:
            with pytest.raises(StoreError, match=f"{KEY}.*check the permissions") as caught:
                put()
            assert isinstance(caught.value.__cause__, PermissionError)
        assert data_of(store.get(KEY)) == b"old"
        assert store.get(f"{FOLDER}/other") is None
        assert list(store.list("")) == [KEY]


@posix_only
def test_what_cannot_be_read_is_not_absent(open_folder: Path) -> None:
    store = opened(str(open_folder / "layer"))
    store.put(KEY, Blob(b"x"))
    store.put("8_8_80/0", Blob(b"x"))
    (open_folder / "layer" / FOLDER).chmod(0)
    with unprivileged():
        calls: list[Callable[[], object]] = [
            lambda: store.get(KEY),
            lambda: store.stat(KEY),
            lambda: list(store.list("8_8")),
        ]
        for call in calls:
            with pytest.raises(StoreError, match="check the permissions"):
                call()
        assert list(store.list("8_8_8")) == ["8_8_80/0"]
    open_folder.chmod(0)
    with unprivileged():
        outside: list[Callable[[], object]] = [
            lambda: store.get("info"),
            lambda: store.stat("info"),
            lambda: list(store.list("")),
            lambda: list(store.list("a/b")),
        ]
        for call in outside:
            with pytest.raises(StoreError, match="check the permissions"):
                call()


@posix_only
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664)])
def test_the_mode_follows_the_umask(store: FileStore, tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        store.put(KEY, Blob(b"x"))
    finally:
        os.umask(before)
    file = tmp_path / "layer" / KEY
    assert stat.S_IMODE(file.stat().st_mode) == mode
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o777 & ~mask


def test_folders_that_others_remove_meanwhile(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    makedirs = os.makedirs
    turns = iter(range(3))

    def undone(path: str, exist_ok: bool) -> None:
        makedirs(path, exist_ok=exist_ok)
        turn = next(turns, None)
        if turn is not None:
            os.rmdir(path)
        if turn == 1:
            raise FileNotFoundError(errno.ENOENT, "a folder above was removed while this one was made", path)

    monkeypatch.setattr(os, "makedirs", undone)
    store.put("a/b", Blob(b"1"))
    turns = iter(range(3))
    store.update("c/d", lambda _: Blob(b"2"))
    assert (data_of(store.get("a/b")), data_of(store.get("c/d"))) == (b"1", b"2")


# --- sync, Windows, the plugin ----------------------------------------------------------------------


@posix_only
@pytest.mark.parametrize(
    ("fsync", "key", "synced"),
    [(False, "x/y", False), (True, "x/y", True), (False, "info", True), (False, "mesh/provenance", True)],
)
def test_what_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fsync: bool, key: str, synced: bool
) -> None:
    store = FileStore(tmp_path, fsync=fsync)
    store.set_suffixes(SUFFIXES)
    store.put(key, Blob(b"old", "gzip"))
    steps: list[str] = []
    sync, replace, unlink = os.fsync, os.replace, os.unlink

    def record(fd: int) -> None:
        steps.append("sync folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "sync file")
        sync(fd)

    monkeypatch.setattr(os, "fsync", record)

    def record_move(source: str, target: str) -> None:
        steps.append("move")
        replace(source, target)

    def record_removal(name: str) -> None:
        if not name.endswith(".lock"):
            steps.append("remove twin")
        unlink(name)

    monkeypatch.setattr(os, "replace", record_move)
    monkeypatch.setattr(os, "unlink", record_removal)
    store.put(key, Blob(b"new"))
    expected = ["sync file", "move", "sync folder", "remove twin", "sync folder"]
    assert steps == [step for step in expected if synced or "sync" not in step]


def test_a_file_that_a_reader_has_open_on_windows(
    store: FileStore, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(KEY, Blob(b"old"))
    replace, refusals = os.replace, iter([True, True])

    def shared(source: str, target: str) -> None:
        if next(refusals, False):
            raise PermissionError(errno.EACCES, "sharing violation", source, 32, target)
        replace(source, target)

    monkeypatch.setattr(file_io, "_SHARING_PAUSES", (0, 0))
    monkeypatch.setattr(os, "replace", shared)
    store.put(KEY, Blob(b"new"))
    assert files() == {KEY: b"new"}
    refusals = iter([True, True, True])
    with pytest.raises(StoreError, match="sharing violation"):
        store.put(KEY, Blob(b"newer"))
    assert files() == {KEY: b"new"}


def test_the_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (protocol,) = plugin.precomp_register_protocols()
    assert (protocol.scheme, protocol.options, protocol.compress) == ("file", plugin.FileOptions, None)
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    for options, count in ((plugin.FileOptions(), 0), (plugin.FileOptions(fsync=True), 2)):
        store = protocol.open(CloudPath("file", tmp_path.as_posix(), "ds/layer"), options)
        assert isinstance(store, FileStore)
        store.put(KEY, Blob(b"x"))
        assert len(synced) == count
    assert (tmp_path / "ds" / "layer" / KEY).read_bytes() == b"x"


def test_an_update_sees_what_was_put_while_it_ran(store: FileStore, files: Files, tmp_path: Path) -> None:
    """The put found no lock, and moves its file when the update has already read the old one."""
    store.put(KEY, Blob(b"old"))
    seen: list[bytes] = []

    def modify(blob: Blob | None) -> Blob:
        seen.append(data_of(blob))
        if len(seen) == 1:
            file_io.write_file(str(tmp_path / "layer" / KEY), b"put", False)
        return Blob(data_of(blob) + b" and updated")

    store.update(KEY, modify)
    assert seen == [b"old", b"put"]
    assert files() == {KEY: b"put and updated"}


@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_an_update_sees_a_deletion_and_a_twin_that_came_while_it_ran(
    store: FileStore, files: Files, tmp_path: Path, encoding: str | None
) -> None:
    store.put(KEY, Blob(b"old"))
    path = tmp_path / "layer" / KEY
    seen: list[Blob | None] = []

    def modify(blob: Blob | None) -> Blob:
        seen.append(blob)
        if len(seen) == 1:
            path.unlink()
            if encoding:
                path.with_name(path.name + SUFFIXES[encoding][0]).write_bytes(b"put")
        return Blob(b"updated")

    store.update(KEY, modify)
    assert seen == [Blob(b"old"), None if encoding is None else Blob(b"put", encoding)]
    assert files() == {KEY: b"updated"}


def test_puts_and_deletes_wait_for_an_update(store: FileStore, files: Files) -> None:
    store.put(KEY, Blob(b"old"))
    inside, go_on = threading.Event(), threading.Event()

    def modify(blob: Blob | None) -> Blob:
        inside.set()
        assert go_on.wait(20)
        return Blob(data_of(blob) + b" updated")

    with ThreadPoolExecutor(3) as pool:
        update = pool.submit(store.update, KEY, modify)
        assert inside.wait(20)
        put = pool.submit(store.put, KEY, Blob(b"put"))
        time.sleep(0.05)
        assert not put.done()
        assert data_of(store.get(KEY)) == b"old"
        go_on.set()
        update.result(20)
        put.result(20)
    assert files() == {KEY: b"put"}


@posix_only
def test_no_aligned_write_is_lost_beside_updates(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread puts rising numbers, another adds letters: a number never falls.

    Puts take their time between their look for the lock and their last step, so that many an update begins
    just then, and many a one is just at its own last step.
    """
    store.put(KEY, Blob(b"0"))
    stop, putting = threading.Event(), threading.get_ident()

    def late(source: str, target: str) -> None:
        if threading.get_ident() == putting:
            time.sleep(random.uniform(0, 0.005))
        replace_file(source, target)

    def letter(blob: Blob | None) -> Blob:
        time.sleep(random.uniform(0, 0.005))
        return Blob((data_of(blob) + b"x")[:40])

    def add_letters() -> None:
        while not stop.is_set():
            store.update(KEY, letter)
            time.sleep(random.uniform(0, 0.002))

    monkeypatch.setattr("precomp_plugins._file.store.replace_file", late)
    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(add_letters)
        try:
            for number in range(1, 100):
                store.put(KEY, Blob(b"%d" % number))
                time.sleep(random.uniform(0, 0.008))
                assert data_of(store.get(KEY)).rstrip(b"x") == b"%d" % number
        finally:
            stop.set()
        writer.result()


@posix_only
def test_the_lock_file_of_another_user_is_waited_for(open_folder: Path) -> None:
    store = opened(str(open_folder / "layer"))
    store.put(KEY, Blob(b"old"))
    folder = open_folder / "layer" / FOLDER
    folder.chmod(0o777)
    lock = folder / f".{NAME}.lock"
    lock.touch(0o644)  # left by a killed process of ours
    with unprivileged():
        store.update(KEY, lambda blob: Blob(data_of(blob) + b" new"))
    assert data_of(store.get(KEY)) == b"old new"
    assert not lock.exists()


@posix_only
def test_the_lock_file_that_another_user_left_is_replaced_to_write_notes(open_folder: Path) -> None:
    folder = open_folder / "x"
    folder.mkdir()
    folder.chmod(0o777)
    (folder / ".key.lock").touch(0o644)
    with unprivileged(), locked("key", str(folder / "key")) as hold:
        assert hold.note(Move(f"{folder}/.1.tmp", f"{folder}/key", 1, 2))
    assert list(folder.iterdir()) == []


@posix_only
@pytest.mark.parametrize("put_as", [None, "gzip", "br", "zstd"])
@pytest.mark.parametrize("updated_as", [None, "gzip", "br", "zstd"])
@pytest.mark.parametrize("old", [None, "gzip", "zstd"])
@pytest.mark.parametrize("moment", ["before the move", "after the move", "in the update's move"])
def test_no_put_is_lost_beside_an_update_in_another_compression(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    put_as: str | None,
    updated_as: str | None,
    old: str | None,
    moment: str,
) -> None:
    """Of both only the update may come later: what was put is there, changed by the update or not."""
    root = str(tmp_path / "layer")
    opened(root).put(KEY, Blob(b"old", old))
    putting, updating, replace, done = opened(root), opened(root), os.replace, []

    def once(action: Callable[[], object]) -> None:
        if not done:
            done.append(True)
            action()

    def update() -> None:
        updating.update(KEY, lambda blob: Blob((data_of(blob) if blob else b"none") + b"+", updated_as))

    def put() -> None:
        suffix = SUFFIXES[put_as][0] if put_as else ""
        file_io.write_file(str(tmp_path / "layer" / (KEY + suffix)), b"new", False)  # it had found no lock
        threads.append(threading.Thread(target=putting.put, args=(KEY, Blob(b"new", put_as))))
        threads[0].start()

    def move(source: str, target: str) -> None:
        if moment == "before the move" and not _is_held(tmp_path):
            once(update)
        replace(source, target)
        if moment == "after the move" and not _is_held(tmp_path):
            once(update)

    def in_the_move(step: Callable[[str, str], Any]) -> Callable[[str, str], Any]:
        def stepped(source: str, target: str) -> Any:
            result = step(source, target)
            if moment == "in the update's move":
                once(put)
            return result

        return stepped

    threads: list[threading.Thread] = []
    monkeypatch.setattr(os, "replace", move)
    for name in ("exchange", "move_to_free"):
        monkeypatch.setattr(f"precomp_plugins._file.update.{name}", in_the_move(getattr(swap, name)))
    if moment == "in the update's move":
        update()
        threads[0].join(20)
    else:
        putting.put(KEY, Blob(b"new", put_as))
    found = data_of(opened(root).get(KEY))
    assert found in (b"new", b"new+")
    names = os.listdir(tmp_path / "layer" / FOLDER)
    assert sum(not name.startswith(".") for name in names) == 1
    monkeypatch.undo()
    opened(root).put(KEY, Blob(b"newest"))
    assert len(os.listdir(tmp_path / "layer" / FOLDER)) == 1


def _is_held(tmp_path: Path) -> bool:
    return (tmp_path / "layer" / FOLDER / f".{NAME}.lock").exists()


@posix_only
def test_a_killed_holder_frees_the_lock_though_its_child_lives(store: FileStore, tmp_path: Path) -> None:
    store.put(KEY, Blob(b"old"))
    kill_when_it_says(child("hang_in_update_with_a_child", tmp_path / "layer"), "inside")
    start = time.monotonic()
    store.update(KEY, lambda blob: Blob(data_of(blob) + b" new"))
    assert time.monotonic() - start < 10  # the child would hold it for twenty seconds
    assert data_of(store.get(KEY)) == b"old new"


@posix_only
def test_a_lock_that_is_never_free_is_an_error(
    store: FileStore, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("precomp_plugins._file.lock._DEADLINE", 0.05)
    store.put(KEY, Blob(b"old"))
    with locked(KEY, str(tmp_path / "layer" / KEY)):
        for action in (
            lambda: store.put(KEY, Blob(b"new")),
            lambda: store.delete([KEY]),
            lambda: store.update(KEY, lambda blob: blob),
        ):
            with pytest.raises(StoreError, match=f"'{KEY}': cannot lock .*not free within.*stopped process"):
                action()
    assert files() == {KEY: b"old"}
    store.put(KEY, Blob(b"new"))
    assert files() == {KEY: b"new"}


@posix_only
def test_the_holder_of_a_large_file_has_more_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard of a gigabyte is not rewritten in the time that does for a chunk."""
    path = tmp_path / "layer" / KEY
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(2**20))
    monkeypatch.setattr("precomp_plugins._file.lock._DEADLINE", 0.05)
    monkeypatch.setattr("precomp_plugins._file.lock._LEAST_SPEED", 2**15)  # 32 seconds for that
    waited: list[bool] = []

    def wait() -> None:
        with locked(KEY, str(path)):
            waited.append(True)

    with locked(KEY, str(path)):
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(0.5)
    thread.join(30)
    assert waited == [True]


@pytest.mark.parametrize("size", [10, 3])
def test_a_system_that_reads_into_no_memory_reads_all_the_same(
    store: FileStore, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Windows, where `os` has no preadv."""
    monkeypatch.setattr("precomp_plugins._file.store.read_into", lambda *arguments: False)
    store.put(KEY, Blob(b"0123456789"))
    assert not store.read_into(KEY, 10, [(0, memoryview(bytearray(size)))])
    assert data_of(store.get(KEY, ByteRange(0, size))) == b"0123456789"[:size]
