"""The command `python -m precomp.bench`."""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import attrs

from precomp.bench import memory
from precomp.bench.data import load_blocks, make_blocks
from precomp.bench.drive import Bench
from precomp.bench.growth import grown
from precomp.bench.machine import this_machine
from precomp.bench.peers import CONTESTANTS, LIMIT, OURS, installed
from precomp.bench.place import missing
from precomp.bench.plot import as_svg
from precomp.bench.report import as_json, as_markdown, three_digits
from precomp.bench.results import Measured, Report
from precomp.bench.rows import SIZES, Row, Sizes, all_rows, select
from precomp.errors import ArgumentError, PrecompError

__all__ = ["main"]

_RAM_DISK = Path("/dev/shm")
_ENOUGH = 2**30  # bytes; some containers have a RAM disk of 64 MiB
_VERSIONS = ("precomp", "tensorstore", "cloud-volume", "numpy", "isal", "simplejpeg", "google-crc32c")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: that of the process) and return the exit code.

    An error, and wrong voxels are one, is a line on stderr and exit code 1. A missed target is no error.
    """
    args = _parser().parse_args(argv)
    sizes = SIZES["quick" if args.quick else args.size]
    try:
        rows = select(all_rows(sizes), args.rows)
        if args.list:
            sys.stdout.writelines(f"{row.name:22} {row.title}{_targets(row)}\n" for row in rows)
            return 0
        report = _run(args, sizes, rows)
    except (PrecompError, OSError) as error:
        print(f"bench: error: {error}", file=sys.stderr)
        return 1
    print(as_markdown(report))
    if args.out is not None:
        _save(report, args.out)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m precomp.bench",
        description="Measure precomp beside tensorstore, cloud-volume and bare numpy, each in a process of "
        "its own, driven in turn. Every voxel that is read or written is compared with what it should be.",
    )
    others = [one.name for one in CONTESTANTS if one.name not in (OURS, LIMIT)]
    parser.add_argument("--size", choices=SIZES, default="full", help="of the work (default: full)")
    parser.add_argument("--quick", action="store_true", help="--size quick: under two minutes")
    parser.add_argument("--rows", nargs="*", metavar="GLOB", help="only rows of these names, `raw-*`")
    parser.add_argument("--list", action="store_true", help="show the rows and end")
    parser.add_argument("--scaling", action="store_true", help="also how precomp's cost grows")
    parser.add_argument("--repeat", type=_positive, metavar="N", help="rounds that count")
    parser.add_argument(
        "--peers", nargs="*", choices=others, metavar="PEER", help=f"beside precomp: {', '.join(others)}"
    )
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="where the files go (default: a RAM disk if there is one)"
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="take voxels from the .npy and .npy.xz files there"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="write bench.md, bench.json and bench.svg")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _targets(row: Row) -> str:
    texts = [f"{target:g} x {peer}" for peer, target in row.targets.items()]
    texts += [f"at most {row.most:g} {row.unit}"] if row.most is not None else []
    return f" (target: {', '.join(texts)})" if texts else ""


def _run(args: argparse.Namespace, sizes: Sizes, rows: Sequence[Row]) -> Report:
    wanted = None if args.peers is None else [OURS, *args.peers, LIMIT]
    contestants, notes = installed(wanted)
    if not memory.is_known():
        rows = [row for row in rows if "memory" not in row.work]
        notes.append("this system does not tell about memory, and those rows are left out")
    for protocol in sorted({row.layer.protocol for row in rows}):
        if package := missing(protocol):
            rows = [row for row in rows if row.layer.protocol != protocol]
            notes.append(f"{package} is not installed, and the rows {protocol}-* are left out")
    repeat = args.repeat or sizes.repeat
    with _scratch(args.folder) as folder:
        blocks = make_blocks() if args.data is None else load_blocks(args.data)
        report = Report(
            machine=this_machine(_VERSIONS),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            size="quick" if args.quick else args.size,
            repeat=repeat,
            folder=str(folder.parent),
            data=blocks.origin,
            contestants=[one.name for one in contestants],
            notes=notes,
        )
        measured = list(_shown(Bench(contestants, blocks, folder, repeat), rows))
        growth = list(grown(sizes, blocks, folder)) if args.scaling else []
    return attrs.evolve(report, rows=measured, growth=growth)


@contextmanager
def _scratch(folder: Path | None) -> Iterator[Path]:
    """Make an empty folder for the files, and remove it in the end."""
    if folder is None and _RAM_DISK.is_dir() and shutil.disk_usage(_RAM_DISK).free >= _ENOUGH:
        folder = _RAM_DISK
    if folder is not None and not folder.is_dir():
        raise ArgumentError(f"--folder {folder}: expected a folder that exists")
    with tempfile.TemporaryDirectory(prefix="precomp-bench-", dir=folder) as name:
        yield Path(name).resolve()


def _shown(bench: Bench, rows: Sequence[Row]) -> Iterator[Measured]:
    """Tell on stderr, as somebody waits, what came of each row."""
    for measured in bench.run(rows):
        medians = {
            name: measured.row.shown(median) for name in measured.rounds if (median := measured.median(name))
        }
        figures = ", ".join(f"{name} {three_digits(value)}" for name, value in medians.items())
        print(f"{measured.row.name} [{measured.row.unit}]: {figures}", file=sys.stderr)
        yield measured


def _save(report: Report, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"bench.md": as_markdown(report), "bench.json": as_json(report), "bench.svg": as_svg(report)}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
