"""Drives the contestants in turn, round by round, and collects their figures."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import numpy as np

from precomp.bench.boxes import request_for
from precomp.bench.check import BenchError, save_truth
from precomp.bench.data import Blocks
from precomp.bench.fresh import import_cost, registry_cost
from precomp.bench.layer import Layer, empty, place_of
from precomp.bench.peers import OURS, Contestant, limit
from precomp.bench.place import Folder, Place, place_for
from precomp.bench.process import Child, running
from precomp.bench.results import Measured
from precomp.bench.rows import Row
from precomp.plugins import load

__all__ = ["Bench"]

Children = Mapping[str, Child]
Rounds = dict[str, list[float]]


@attrs.frozen
class Bench:
    """A run of rows.

    In each round of a row there are new files, written by bare numpy, and each contestant reads them once;
    or each contestant writes the same voxels into an emptied folder, and another one reads them back. Who
    comes first changes from round to round. The first round warms up and does not count.

    Attributes:
        contestants: that take part, two or more; the first one whose own work it is not reads back.
        blocks: what the volumes are filled with.
        folder: for the files. It is empty, and the caller removes it.
        repeat: rounds that count.
    """

    contestants: Sequence[Contestant]
    blocks: Blocks
    folder: Path
    repeat: int
    place: Place = attrs.field(factory=Folder)
    _cpu: dict[tuple[str, Layer], Rounds] = attrs.field(factory=dict, init=False)

    def run(self, rows: Sequence[Row]) -> Iterator[Measured]:
        """Measure the rows, one after the other. Raises BenchError, which names row and contestant."""
        for protocol in dict.fromkeys(row.layer.protocol for row in rows):
            chosen = [row for row in rows if row.layer.protocol == protocol]
            with self._at(protocol) as there, running(self.contestants) as children:
                for row in chosen:
                    yield there.measure(row, children)

    @contextmanager
    def _at(self, protocol: str) -> Iterator["Bench"]:
        """The same where this protocol serves; contestants that are started afterwards find the place."""
        if protocol == "file":
            yield self
            return
        with (
            TemporaryDirectory(dir=self.folder.parent) as own,
            place_for(protocol, Path(own), self.folder) as place,
        ):
            yield attrs.evolve(self, place=place)

    def measure(self, row: Row, children: Children) -> Measured:
        """Measure one row with contestants that run already. Raises as `run` does."""
        able = {name: child for name, child in children.items() if name not in row.absent}
        try:
            return _WORKS[row.work](self, row, able)
        except BenchError as error:
            raise BenchError(f"{row.name}: {error}") from error
        finally:
            empty(self.folder)

    def reads(self, row: Row, children: Children) -> Measured:
        """Read boxes of a volume whose files are new in each round."""
        self._open(row, children)
        rounds, cpu = _none(children), _none(children)
        for number, turn in self._rounds(children):
            rng = np.random.default_rng(number)
            self._fill(row, rng, children)
            request, arguments = request_for(row, rng)
            for name in turn:
                reply = children[name].ask(request, truth=str(self._truth), **arguments)
                rounds[name].append(reply["seconds"])
                cpu[name].append(reply.get("cpu", 0.0))
        self._cpu[row.work, row.layer] = _counted(cpu)
        return Measured(row, _counted(rounds))

    def writes(self, row: Row, children: Children) -> Measured:
        """Write a volume; another contestant reads it back."""
        self._open(row, children)
        rounds, cpu = _none(children), _none(children)
        stored: dict[str, int] = {}
        for number, turn in self._rounds(children):
            rng = np.random.default_rng(number)
            save_truth(self._truth, self.blocks.volume(row.layer.kind, row.layer.shape, rng))
            for name in turn:
                self.place.clear(row.layer, self._layer)
                reply = children[name].ask("write", truth=str(self._truth))
                rounds[name].append(reply["seconds"])
                cpu[name].append(reply["cpu"])
                stored[name] = self._read_back(row, name, children)
        self._cpu[row.work, row.layer] = _counted(cpu)
        return Measured(row, _counted(rounds), stored)

    def cpu(self, row: Row, children: Children) -> Measured:
        """Tell what the processor worked for each chunk when the volume was read or written."""
        work = row.work.removeprefix("cpu-")
        if (work, row.layer) not in self._cpu:
            _WORKS[work](self, attrs.evolve(row, work=work, count=1), children)
        used = self._cpu[work, row.layer]
        return Measured(row, {name: [one / row.count for one in rounds] for name, rounds in used.items()})

    def opens(self, row: Row, children: Children) -> Measured:
        """Open volumes that nobody has seen before."""
        self._open(row, children)
        rounds = _none(children)
        for number, turn in self._rounds(children):
            layers = []
            shapes = np.random.default_rng(number).integers(64, 100_000, (row.count, 3)).tolist()
            for place, shape in enumerate(shapes):
                folder = self.folder / "opened" / f"{number}-{place}"
                attrs.evolve(row.layer, shape=shape).commit(folder)
                layers.append((str(folder), shape))
            for name in turn:
                rounds[name].append(children[name].ask("opens", layers=layers)["seconds"])
        return Measured(row, _counted(rounds))

    def memory(self, row: Row, children: Children) -> Measured:
        """Read or write once, in processes of their own whose memory nothing has touched."""
        self._open(row, children)
        self._fill(row, np.random.default_rng(0), children)
        rounds: Rounds = {}
        for contestant in self.contestants:
            if row.work == "memory-write":
                empty(row.layer.chunk_folder(self._layer))
            with running([contestant]) as alone:
                self._open(row, alone)
                request = row.work.replace("-", "_")
                reply = alone[contestant.name].ask(request, truth=str(self._truth))
            rounds[contestant.name] = [reply["multiple"]]
            if row.work == "memory-write":
                self._read_back(row, contestant.name, children)
        return Measured(row, rounds)

    def imports(self, row: Row, children: Children) -> Measured:
        """Import the packages in fresh interpreters; once, where their memory is asked for."""
        packages = {one.name: one for one in self.contestants}
        if row.work == "import-memory":
            return Measured(row, {name: [import_cost(one)[row.work]] for name, one in packages.items()})
        rounds: Rounds = {name: [] for name in packages}
        for _, turn in self._rounds(packages):
            for name in turn:
                rounds[name].append(import_cost(packages[name])[row.work])
        return Measured(row, _counted(rounds))

    def registry(self, row: Row, children: Children) -> Measured:
        """Find plugins in fresh interpreters; of those that precomp brings there are the same each time."""
        shipped = sum(plugin.distribution == OURS for plugin in load().plugins)
        rounds = _none(children)
        for _, turn in self._rounds(children):
            for name in turn:
                rounds[name].append(registry_cost(self.folder / "plugins", row.count, shipped)[row.work])
        return Measured(row, _counted(rounds))

    @property
    def _layer(self) -> Path:
        return self.folder / "layer"

    @property
    def _truth(self) -> Path:
        return self.folder / "truth"

    def _rounds(self, names: Mapping[str, Any]) -> Iterator[tuple[int, list[str]]]:
        """Yield the number of each round, 0 for the one that warms up, and who comes in which order."""
        order = list(names)
        for number in range(self.repeat + 1):
            first = number % len(order)
            yield number, order[first:] + order[:first]

    def _open(self, row: Row, children: Children) -> None:
        row.layer.commit(self._layer)
        self.place.publish(self._layer)
        for child in children.values():
            child.ask("open", folder=str(self._layer), layer=attrs.asdict(row.layer))

    def _fill(self, row: Row, rng: np.random.Generator, children: Children) -> None:
        """Write the files of a volume, and what has to be read from them."""
        voxels = self.blocks.volume(row.layer.kind, row.layer.shape, rng)
        empty(row.layer.chunk_folder(self._layer))
        if row.layer.sharded:  # which bare numpy cannot write
            save_truth(self._truth, voxels)
            writer = next((name for name in children if name != OURS), OURS)
            children[writer].ask("write", truth=str(self._truth))
            return
        handle = limit.open_layer(self._layer, row.layer)
        handle.write(voxels)
        if row.layer.encoding == "jpeg":  # which loses something: true is what the files hold
            voxels = handle.read(place_of(row.layer.whole))
        save_truth(self._truth, voxels)
        self.place.publish(self._layer)

    def _read_back(self, row: Row, writer: str, children: Children) -> int:
        """Have another contestant compare what `writer` wrote; return how many bytes that was."""
        reader = next(name for name in children if name != writer)
        try:
            children[reader].ask("check", truth=str(self._truth))
        except BenchError as error:
            raise BenchError(f"{writer} wrote this, read back by {error}") from error
        return self.place.stored(row.layer, self._layer)


def _none(names: Iterable[str]) -> Rounds:
    return {name: [] for name in names}


def _counted(rounds: Rounds) -> Rounds:
    return {name: figures[1:] for name, figures in rounds.items()}


_WORKS: dict[str, Callable[[Bench, Row, Children], Measured]] = {
    "read": Bench.reads,
    "cutout": Bench.reads,
    "voxel": Bench.reads,
    "plane": Bench.reads,
    "write": Bench.writes,
    "cpu-read": Bench.cpu,
    "cpu-write": Bench.cpu,
    "open": Bench.opens,
    "memory-read": Bench.memory,
    "memory-write": Bench.memory,
    "import-time": Bench.imports,
    "import-memory": Bench.imports,
    "registry": Bench.registry,
}
