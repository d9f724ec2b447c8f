"""`precomp demo`: make a small block of tissue, write it, read it back, check it, show it."""

import argparse
import shutil
import time
from pathlib import Path

from precomp.cli.demo.layers import round_trip, round_trip_meshes
from precomp.cli.demo.show import next_steps, save_picture, write_server
from precomp.cli.demo.tissue import make_tissue
from precomp.errors import (
    ArgumentError,
    MissingDependencyError,
    PrecompError,
    StoreError,
    TooLargeError,
)

__all__ = ["add_parser", "run"]

_MARKER = ".precomp-demo"  # a folder that has this file is ours to fill anew
_LEAST = 32  # voxels along each axis: less shows nothing


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "demo",
        help="write a made-up volume, read it back, check it and show it",
        description="Make an image as of an electron microscope and its segmentation, write both as volumes "
        "with coarser mips, read them back, compare every voxel, measure, and save a picture.",
    )
    parser.add_argument(
        "folder", nargs="?", default="precomp-demo", metavar="FOLDER", help="default: ./precomp-demo"
    )
    parser.add_argument(
        "--size", nargs=3, type=int, default=(512, 512, 64), metavar=("X", "Y", "Z"), help="in voxels"
    )


def run(args: argparse.Namespace) -> int:
    """Do all of it and print what came of each step.

    Raises StoreError where anything that was read back differs from what was written, and ArgumentError
    for a size below 32 and for a folder that holds something else than an earlier demo.
    """
    if min(args.size) < _LEAST:
        raise ArgumentError(f"--size: expected at least {_LEAST} voxels along each axis, got {args.size}")
    folder = Path(args.folder).absolute()
    try:
        _prepare(folder)
        _fill(folder, args.size)
    except (PrecompError, BrokenPipeError):  # the latter is of stdout
        raise
    except OSError as error:
        raise StoreError(f"{folder}: the demo could not be written ({error})") from error
    return 0


def _fill(folder: Path, size: tuple[int, int, int]) -> None:
    start = time.perf_counter()
    x, y, z = size
    try:
        image, labels = make_tissue(size)
    except (MemoryError, ValueError) as error:  # the latter is numpy's word for absurdly large arrays
        raise TooLargeError(f"--size {x} {y} {z}: more than memory holds; choose a smaller one") from error
    print(f"made {x} x {y} x {z} voxels of tissue in {time.perf_counter() - start:.1f} s")
    images = round_trip(f"file://{folder}/image", image)
    segments = round_trip(f"file://{folder}/segmentation", labels)
    for trip in (images, segments):
        vol = trip.volume
        print(
            f"{vol.layer}: {vol.dtype}, {len(vol.available_mips)} mips, {trip.nbytes / 1e6:.0f} MB; "
            f"wrote {trip.write_speed:.0f} MB/s, read {trip.read_speed:.0f} MB/s; every voxel came back"
        )
    meshed = round_trip_meshes(segments.volume, folder / "segmentation" / "mesh")
    print(f"meshes: segments {', '.join(map(str, meshed))}; every vertex and face came back")
    try:
        print(f"picture: {save_picture(images.volume, segments.volume, folder / 'picture')}")
    except MissingDependencyError as error:
        print(f"picture: none; {error}")
    write_server(folder)
    print(next_steps(folder, images.volume, meshed))


def _prepare(folder: Path) -> None:
    """Make the folder; empty it where it holds an earlier demo."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / _MARKER).is_file() and any(folder.iterdir()):
        raise ArgumentError(
            f"{folder}: expected a new or empty folder or an earlier demo, found other files; name another "
            "folder, as in `precomp demo ./here`"
        )
    (folder / _MARKER).write_text("Made by `precomp demo`, which replaces what it finds here.\n")
    for part in ("image", "segmentation", "picture"):
        if (folder / part).exists():
            shutil.rmtree(folder / part)
