"""The processes of the contestants, seen from the one that drives them."""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from precomp.bench.check import BenchError
from precomp.bench.peers import Contestant

__all__ = ["Child", "running"]

_PATIENCE = 10  # seconds, for a child to end by itself


class Child:
    """A running contestant. It shows what it did by `child.py`'s replies."""

    def __init__(self, contestant: Contestant) -> None:
        self.name = contestant.name
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "precomp.bench.child", contestant.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def greet(self) -> None:
        """Wait until it has imported all it needs."""
        self._reply()

    def ask(self, request: str, **arguments: Any) -> dict[str, Any]:
        """Have it do something. Raises BenchError where it fails or finds wrong voxels."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": request, **arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, as the reply will tell
        return self._reply()

    def close(self) -> None:
        """End it."""
        try:
            self._process.communicate(timeout=_PATIENCE)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self._process.kill()
            self._process.communicate()

    def _reply(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError(f"{self.name}: its process ended with exit code {self._process.wait()}")
        reply: dict[str, Any] = json.loads(line)
        if wrong := reply.get("wrong") or reply.get("failed"):
            raise BenchError(f"{self.name}: {wrong}")
        return reply


@contextmanager
def running(contestants: Iterable[Contestant]) -> Iterator[dict[str, Child]]:
    """Run one process for each contestant, all of them started at once; by name."""
    children: dict[str, Child] = {}
    try:
        for contestant in contestants:
            children[contestant.name] = Child(contestant)
        for child in children.values():
            child.greet()
        yield children
    finally:
        for child in children.values():
            child.close()
