"""Puts and deletions that found no lock, beside updates: all orders of steps, kills, stopped processes."""

import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from store_child import ENCODINGS, KEY, on_each_step, opened

from precomp.errors import StoreError
from precomp.interfaces import Blob
from precomp_plugins._file import store as module
from precomp_plugins._file import update
from precomp_plugins._file.io import replace_file
from precomp_plugins._file.lock import Hold, lock_name, locked
from precomp_plugins._file.moves import Move

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="exchanges names, and sends signals")

CHILD = Path(__file__).with_name("store_child.py")
FOLDER = KEY.rpartition("/")[0]
NAMES = list(ENCODINGS)
STEPS = range(6)  # of an update, and afterwards
put_as = pytest.mark.parametrize("put_as", NAMES)


def changed(encoding: str | None) -> Callable[[Blob | None], Blob]:
    return lambda blob: Blob((bytes(blob.data) if blob else b"none") + b"+", encoding)


def found(root: Path) -> bytes | None:
    blob = opened(str(root)).get(KEY)
    return None if blob is None else bytes(blob.data)


def files(root: Path) -> list[str]:
    return os.listdir(root / FOLDER) if (root / FOLDER).exists() else []


def only_one_is_there(root: Path) -> bool:
    """Also hidden ones: these are gone at the latest when something else is put."""
    visible = [name for name in files(root) if not name.startswith(".")]
    opened(str(root)).put(KEY, Blob(b"newest"))
    return len(visible) == 1 and len(files(root)) == 1


Kill = Callable[..., None]
Case = tuple[Path, str, str, int]


def cases(tmp_path: Path, put_as: str | None = None) -> Iterator[Case]:
    """A layer with nothing or an old object, the compressions of that and of an update, and a step of it.

    Not those where a put takes the lock as it would be read after the old object.
    """
    for old, updated_as, step in itertools.product(["nothing", *NAMES], NAMES, STEPS):
        if put_as and old != "nothing" and NAMES.index(old) < NAMES.index(put_as):
            continue
        root = tmp_path / "layer"
        shutil.rmtree(root, ignore_errors=True)
        if old != "nothing":
            opened(str(root)).put(KEY, Blob(b"old", ENCODINGS[old]))
        yield root, old, updated_as, step


def update_with(root: Path, encoding: str, at: int, action: Callable[[], object]) -> None:
    """Update, and do something before the step of that number; afterwards where it has fewer."""
    steps, done = itertools.count(), []

    def step() -> None:
        if not done and next(steps) == at:
            done.append(True)
            action()

    with pytest.MonkeyPatch.context() as patch:
        on_each_step(step, patch.setattr)
        opened(str(root)).update(KEY, changed(ENCODINGS[encoding]))
    if not done:
        action()


def put_meanwhile(root: Path, encoding: str, meanwhile: Callable[[str, str], object]) -> None:
    """Put, and do something else instead of moving the file, when no lock was found."""
    with pytest.MonkeyPatch.context() as patch:

        def instead(source: str, target: str) -> None:
            patch.setattr(module, "replace_file", replace_file)
            meanwhile(source, target)

        patch.setattr(module, "replace_file", instead)
        opened(str(root)).put(KEY, Blob(b"new", ENCODINGS[encoding]))


@put_as
def test_a_put_that_moves_its_file_at_any_step_of_an_update(tmp_path: Path, put_as: str) -> None:
    """It looks again only when the update is over."""

    def play(root: Path, old: str, updated_as: str, step: int) -> None:
        def meanwhile(source: str, target: str) -> None:
            update_with(root, updated_as, step, lambda: os.replace(source, target))

        put_meanwhile(root, put_as, meanwhile)
        assert found(root) in (b"new", b"new+")
        if step == 0 or (step == 1 and old == put_as == updated_as):
            assert found(root) == b"new+"  # the update began anew
        assert only_one_is_there(root)

    for case in cases(tmp_path, put_as):
        play(*case)


@put_as
def test_another_update_may_come_before_the_put_looks_again(tmp_path: Path, put_as: str) -> None:
    """The update finds the put's file, reads it or leaves it aside."""

    def play(root: Path, old: str, updated_as: str, step: int) -> None:
        def meanwhile(source: str, target: str) -> None:
            update_with(root, updated_as, step, lambda: os.replace(source, target))
            opened(str(root)).update(KEY, changed(ENCODINGS[updated_as]))

        put_meanwhile(root, put_as, meanwhile)
        assert found(root) in (b"new", b"new+", b"new++")
        assert only_one_is_there(root)

    for case in cases(tmp_path, put_as):
        play(*case)


@put_as
def test_such_a_put_is_not_over_before_the_update(tmp_path: Path, put_as: str) -> None:
    """It looks again at once, in the middle of the update."""

    def play(root: Path, old: str, updated_as: str, step: int) -> None:
        looked, go, moved, waits = (threading.Event() for _ in range(4))

        def late(source: str, target: str) -> None:
            looked.set()
            assert go.wait(20)
            replace_file(source, target)
            moved.set()

        def announced(key: str, path: str) -> AbstractContextManager[Hold]:
            if threading.current_thread() is thread:
                waits.set()
            return locked(key, path)

        def let_it_move() -> None:
            updating = any(name.endswith(".lock") for name in files(root))
            go.set()
            assert moved.wait(20)
            if updating:
                assert waits.wait(20)
                assert thread.is_alive()

        def put() -> None:
            opened(str(root)).put(KEY, Blob(b"new", ENCODINGS[put_as]))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "replace_file", late)
            patch.setattr(module, "locked", announced)
            thread = threading.Thread(target=put)
            thread.start()
            assert looked.wait(20)
            update_with(root, updated_as, step, let_it_move)
            thread.join(20)
        assert found(root) in (b"new", b"new+")
        assert only_one_is_there(root)

    for case in cases(tmp_path, put_as):
        play(*case)


@put_as
def test_without_names_exchanged_the_last_step_undoes_a_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, put_as: str
) -> None:
    """What the tests above would find, and what is left where a file system exchanges no names."""
    monkeypatch.setattr(update, "exchange", lambda *names: False)
    root = tmp_path / "layer"
    lost = []
    for step in STEPS:
        opened(str(root)).put(KEY, Blob(b"old", ENCODINGS[put_as]))

        def meanwhile(source: str, target: str, step: int = step) -> None:
            update_with(root, put_as, step, lambda: os.replace(source, target))

        put_meanwhile(root, put_as, meanwhile)
        lost.append(found(root) == b"old+")
        assert len(files(root)) == 1
    assert lost == [True, True, False, False, False, False]


def test_newer_puts_win_while_an_older_one_is_brought_back(tmp_path: Path) -> None:
    """Three that found no lock move their files one after the other, at any steps of an update."""
    for steps in itertools.combinations_with_replacement(range(9), 3):
        root = tmp_path / "layer"
        shutil.rmtree(root, ignore_errors=True)
        opened(str(root)).put(KEY, Blob(b"old"))
        path = root / KEY
        waiting = [(at, path.with_name(f".{number}.tmp")) for number, at in enumerate(steps)]
        for number, (_, file) in enumerate(waiting):
            file.write_bytes(b"new%d" % number)
        count = itertools.count()

        def step(path: Path = path, waiting: list[tuple[int, Path]] = waiting, count: Any = count) -> None:
            number = next(count)
            while waiting and waiting[0][0] <= number:
                waiting.pop(0)[1].replace(path)

        with pytest.MonkeyPatch.context() as patch:
            on_each_step(step, patch.setattr)
            opened(str(root)).update(KEY, changed(None))
        for _, file in waiting:
            file.replace(path)
        assert found(root) in (b"new2", b"new2+"), steps
        assert len(files(root)) == 1, steps


def test_a_deletion_at_any_step_of_an_update(tmp_path: Path) -> None:
    """It found no lock."""

    def play(root: Path, old: str, updated_as: str, step: int) -> None:
        update_with(root, updated_as, step, lambda: opened(str(root))._remove(KEY, str(root / KEY)))
        assert found(root) in (None, b"none+")
        assert len(files(root)) == (found(root) is not None)

    for case in cases(tmp_path):
        play(*case)


def test_an_update_at_any_step_of_a_deletion(tmp_path: Path) -> None:
    def play(root: Path, old: str, updated_as: str, step: int) -> None:
        steps, unlink = itertools.count(), os.unlink

        def later(name: str) -> None:
            if next(steps) == step:
                opened(str(root)).update(KEY, changed(ENCODINGS[updated_as]))
            unlink(name)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "unlink", later)
            opened(str(root)).delete([KEY])
        assert found(root) in (None, b"none+")

    for case in cases(tmp_path):
        play(*case)


def test_a_put_that_lost_leaves_alone_what_another_one_will_bring_back(tmp_path: Path) -> None:
    """Two puts found no lock; an update leaves the file of the one aside, and replaced that of the other."""
    root = tmp_path / "layer"

    def other(source: str, target: str) -> None:
        def lost(its_source: str, its_target: str) -> None:
            os.replace(source, target)
            os.replace(its_source, root / KEY)  # as if read from its own name and updated
            opened(str(root)).update(KEY, changed(None))
            assert found(root) == b"new+"

        put_meanwhile(root, "br", lost)
        assert found(root) == b"new+"
        (root / KEY).write_bytes(b"changed")

    put_meanwhile(root, "gzip", other)
    assert found(root) == b"new"
    assert files(root) == [f"{KEY}.gz".rpartition("/")[2]]


@contextmanager
def killer() -> Iterator[Kill]:
    with subprocess.Popen(
        [sys.executable, str(CHILD), "kill_updates"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def kill(*words: object) -> None:
            process.stdin.write(" ".join(map(str, words)) + "\n")
            process.stdin.flush()
            assert process.stdout.readline() == "killed\n"

        yield kill
        process.stdin.close()


@put_as
def test_updates_killed_at_any_step_lose_no_put(tmp_path: Path, put_as: str) -> None:
    def play(
        kill: Callable[..., None], killed: int, root: Path, old: str, updated_as: str, step: int
    ) -> None:
        put_meanwhile(root, put_as, lambda *names: kill(root, updated_as, *names, step, killed))
        assert found(root) in (b"new", b"new+")
        assert not [name for name in files(root) if name.endswith(".lock")]

    with killer() as kill:
        for later in STEPS:
            for case in cases(tmp_path, put_as):
                if case[-1] + later < len(STEPS):
                    play(kill, case[-1] + later, *case)


@put_as
def test_the_next_holder_settles_what_a_killed_one_left(tmp_path: Path, put_as: str) -> None:
    """Two other updates come before the put looks again, one of which fails."""

    def play(kill: Kill, killed: int, root: Path, old: str, updated_as: str, step: int) -> None:
        def fail(blob: Blob | None) -> Blob:
            raise ZeroDivisionError

        def meanwhile(*names: str) -> None:
            kill(root, updated_as, *names, step, killed)
            with pytest.raises(ZeroDivisionError):
                opened(str(root)).update(KEY, fail)
            opened(str(root)).update(KEY, changed(ENCODINGS[updated_as]))

        put_meanwhile(root, put_as, meanwhile)
        seen = found(root)
        assert seen in (b"new", b"new+", b"new++")
        if put_as == updated_as == old:
            assert seen != b"new"  # the second update found the put

    with killer() as kill:
        for later in (0, 1, 2):
            for case in cases(tmp_path, put_as):
                play(kill, case[-1] + later, *case)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_update_that_is_interrupted_brings_a_put_back(tmp_path: Path, error: type[BaseException]) -> None:
    root = tmp_path / "layer"

    def interrupted(move: Move) -> None:
        raise error

    def play(step: int) -> None:
        def meanwhile(source: str, target: str) -> None:
            with pytest.MonkeyPatch.context() as patch, suppress(error, StoreError):
                patch.setattr(update, "settle", interrupted)
                update_with(root, "plain", step, lambda: os.replace(source, target))
            if os.path.exists(source):
                os.replace(source, target)

        opened(str(root)).put(KEY, Blob(b"old"))
        put_meanwhile(root, "plain", meanwhile)
        assert found(root) in (b"new", b"new+")
        assert len(files(root)) == 1

    for step in STEPS:
        play(step)


@pytest.mark.parametrize(("put_as", "updated_as"), [("plain", "plain"), ("plain", "gzip"), ("gzip", "plain")])
def test_processes_that_are_stopped_and_killed_at_random(
    tmp_path: Path, put_as: str, updated_as: str
) -> None:
    root = tmp_path / "layer"
    opened(str(root)).put(KEY, Blob(b"0"))
    chance = random.Random(put_as + updated_as)
    kinds = [("put_numbers", put_as), ("add_words", updated_as), ("add_words", updated_as)]

    def start(kind: tuple[str, str]) -> subprocess.Popen[str]:
        command = [sys.executable, str(CHILD), kind[0], str(root), kind[1]]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        return process

    def end(process: subprocess.Popen[str]) -> str:
        process.kill()
        return process.communicate()[0]

    said = ""
    processes = [start(kind) for kind in kinds]
    try:
        until = time.monotonic() + 3
        while time.monotonic() < until:
            number = chance.randrange(3)
            processes[number].send_signal(signal.SIGSTOP)
            time.sleep(chance.uniform(0, 0.004))
            if chance.random() < 0.02:
                said += end(processes[number])
                processes[number] = start(kinds[number])
            else:
                processes[number].send_signal(signal.SIGCONT)
                time.sleep(chance.uniform(0, 0.001))
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)
            said += end(process)
    assert not said
    blob = opened(str(root)).get(KEY)
    assert blob is not None
    assert int(bytes(blob.data).split()[0]) > 20


@pytest.mark.parametrize(
    "notes",
    [
        b"7 -1 ../../victim.tmp victim\0",
        b"7 -1 .x/../../../victim.tmp y\0",
        b"{inode} 0 ../../victim x\0",
        b"0 {inode} .mine.tmp ../../victim\0",
        b"{inode} 0 .mine.tmp ..\0",
        b"\0" * 100,
        b"garbage",
        b"1 2 3\0x\0 \0",
        b"-7 -7 .a.tmp b\0",
        b"9" * 5000 + b" 0 .a.tmp b\0",
    ],
)
def test_a_lock_file_of_somebody_else_touches_nothing(tmp_path: Path, notes: bytes) -> None:
    """Volumes come from anywhere, lock files within: these may name files of all the disk."""
    root, victim = tmp_path / "layer", tmp_path / "layer" / "victim"
    store = opened(str(root))
    store.put(KEY, Blob(b"old"))
    for name in ("victim", "victim.tmp", f"{FOLDER}/.mine.tmp"):
        (root / name).write_bytes(b"precious")
    inode = b"%d" % victim.stat().st_ino
    lock = Path(lock_name(str(root / KEY)))
    lock.write_bytes(notes.replace(b"{inode}", inode))
    store.update(KEY, changed(None))
    assert found(root) == b"old+"
    assert not lock.exists()
    assert victim.read_bytes() == (root / "victim.tmp").read_bytes() == b"precious"
    assert (root / FOLDER / ".mine.tmp").read_bytes() == b"precious"


def test_notes_go_into_no_file_that_a_link_leads_to(tmp_path: Path) -> None:
    root, victim = tmp_path / "layer", tmp_path / "victim"
    store = opened(str(root))
    store.put(KEY, Blob(b"old"))
    victim.write_bytes(b"precious")
    lock = Path(lock_name(str(root / KEY)))
    lock.symlink_to(victim)
    for write in (lambda: store.update(KEY, changed(None)), lambda: store.put(KEY, Blob(b"new"))):
        with pytest.raises(StoreError, match=r"cannot lock .*\.lock: .*; .* a symbolic link, remove it"):
            write()
    assert victim.read_bytes() == b"precious"
    assert found(root) == b"old"
    lock.unlink()
    store.update(KEY, changed(None))
    assert found(root) == b"old+"


def test_good_notes_behind_bad_ones_count(tmp_path: Path) -> None:
    root = tmp_path / "layer"
    store = opened(str(root))
    store.put(KEY, Blob(b"old"))
    place = root / KEY
    aside = place.with_name(".aside.tmp")
    aside.write_bytes(b"unread")
    lock = Path(lock_name(str(place)))
    lock.write_bytes(b"bad\0%d -1 .aside.tmp %s\0" % (aside.stat().st_ino, place.name.encode()))
    with locked(KEY, str(place)) as hold:
        assert [move.aside for move in hold.left_aside()] == [str(aside)]
    assert lock.read_bytes().startswith(b"bad\0")  # it stays, with the file that is aside
    store.put(KEY, Blob(b"newest"))
    assert sorted(files(root)) == [place.name]
