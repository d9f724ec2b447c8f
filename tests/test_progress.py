"""Bars on long work where they are asked for, and silence everywhere else."""

import builtins
import io
import sys
from pathlib import Path
from typing import Any

import pytest
from volumes import make

from precomp.errors import MissingDependencyError
from precomp.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def work(vol: Any) -> None:
    vol[...] = 1
    vol[...]
    vol.delete(vol.bounds)


@pytest.mark.parametrize("progress", [None, False])
def test_nothing_is_printed_unasked(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], progress: bool | None
) -> None:
    work(make(tmp_path / "ds" / "image", progress=progress))
    assert capfd.readouterr() == ("", "")


def test_bars_count_every_chunk(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    work(make(tmp_path / "ds" / "image", progress=True))
    out, err = capfd.readouterr()
    assert out == ""
    for title in ("writing image", "reading image", "deleting image"):
        assert title in err
    assert err.count("12/12") >= 3


def test_a_terminal_gets_bars_on_long_work_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    work(make(tmp_path / "ds" / "image"))
    assert "image" not in terminal.getvalue()
    monkeypatch.setattr("precomp.progress._DELAY", 0)
    work(make(tmp_path / "ds" / "image", chunk_size=(8, 8, 8)))
    assert "writing image" in terminal.getvalue()


def test_a_missing_tqdm_is_an_error_only_where_bars_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_tqdm(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "tqdm":
            raise ImportError("no tqdm here")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_tqdm)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar(3, "x", None) as tick:
        assert tick is None
    with (
        pytest.raises(MissingDependencyError, match=r"pip install 'precomp\[progress\]'"),
        progress_bar(3, "x", True),
    ):
        pass
