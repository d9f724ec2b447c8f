"""Damaged chunks end in errors, never in a dead or hanging interpreter, whatever the library behind does."""

import subprocess
import sys
from pathlib import Path

import pytest

CHILD = Path(__file__).with_name("damage_child.py")


@pytest.mark.parametrize(
    "encoding", ["png", "jxl", "compressed_segmentation", "compresso", "crackle", "fpzip", "zfpc"]
)
def test_no_damage_kills_the_interpreter(encoding: str) -> None:
    child = subprocess.run(
        [sys.executable, CHILD, encoding, "40"], capture_output=True, text=True, timeout=120, check=False
    )
    assert child.returncode == 0, child.stderr[-2000:]
    tried, refused = map(int, child.stdout.split())
    assert refused > tried / 3
    assert not child.stderr
