"""The rows of the table: what is measured, on which data, with which targets."""

import fnmatch
from collections.abc import Iterator, Mapping, Sequence

import attrs

from precomp.bench.layer import Int3, Layer
from precomp.errors import ArgumentError, did_you_mean

__all__ = ["SIZES", "Row", "Sizes", "all_rows", "select"]


@attrs.frozen
class Sizes:
    """How much work the rows do.

    Attributes:
        image: voxels of the raw uint8 volumes; 32 MiB or more, so that malloc gives all results fresh pages.
        packed: voxels of the gzip and jpeg ones, where that matters little.
        labels: voxels of the uint64 volumes.
        slow: voxels of those whose encodings take long, png and fpzip.
        small: voxels of the volumes of small chunks, by length of the chunk.
        memory: voxels of the uint8 volumes whose peak memory is measured.
        objects: voxels of the uint8 volumes on servers.
        cutouts: in one batch; `voxels`, `planes` and `opens` likewise.
        repeat: rounds that count; one more comes before them.
        growth: chunks along x, y and z of the volumes whose cost for each chunk is compared.
        planned: likewise, of the boxes that are planned only.
    """

    image: Int3
    packed: Int3
    labels: Int3
    slow: Int3
    small: Mapping[int, Int3]
    memory: Int3
    objects: Int3
    cutouts: int
    voxels: int
    planes: int
    opens: int
    repeat: int
    growth: tuple[Int3, ...]
    planned: tuple[Int3, ...] = ((10, 10, 10), (100, 100, 100))


SIZES = {
    "full": Sizes(
        image=(512, 512, 192),
        packed=(512, 512, 192),
        labels=(256, 256, 128),
        slow=(256, 256, 128),
        small={16: (256, 256, 256), 32: (512, 512, 128), 128: (512, 512, 256)},
        memory=(512, 512, 1024),
        objects=(512, 512, 512),
        cutouts=60,
        voxels=300,
        planes=20,
        opens=40,
        repeat=8,
        growth=((4, 4, 4), (8, 8, 8), (16, 16, 16), (32, 32, 32), (50, 50, 40)),
    ),
    "quick": Sizes(
        image=(512, 512, 128),
        packed=(512, 256, 128),
        labels=(256, 128, 128),
        slow=(256, 128, 64),
        small={16: (128, 128, 256), 32: (256, 256, 256), 128: (512, 512, 128)},
        memory=(512, 512, 512),
        objects=(256, 256, 256),
        cutouts=15,
        voxels=100,
        planes=10,
        opens=20,
        repeat=2,
        growth=((4, 4, 4), (8, 8, 8), (16, 16, 16), (32, 32, 32), (50, 50, 40)),
    ),
    "tiny": Sizes(  # shows that all of it works, and nothing else
        image=(128, 128, 128),
        packed=(128, 128, 128),
        labels=(128, 128, 128),
        slow=(128, 64, 64),
        small={16: (32, 32, 16), 32: (64, 64, 32), 128: (128, 128, 128)},
        memory=(128, 128, 128),
        objects=(128, 128, 128),
        cutouts=2,
        voxels=2,
        planes=2,
        opens=2,
        repeat=1,
        growth=((2, 2, 2), (4, 4, 4)),
        planned=((2, 2, 2), (4, 4, 4)),
    ),
}


@attrs.frozen
class Row:
    """One line of the table. Less is better in every unit but MB/s.

    Attributes:
        name: what `--rows` takes.
        title: what the table shows.
        work: `read` and `write` (of the whole volume), `cutout`, `voxel`, `plane`, `open`,
            `cpu-read`, `cpu-write` (of the client, for each chunk), `memory-read`, `memory-write`,
            `import-time`, `import-memory`, `registry`.
        unit: of what the table shows.
        layer: what is read or written; for `import-*` and `registry` of no meaning.
        count: of single works in one batch, or of plugins.
        targets: by peer, how many times faster than it precomp has to be.
        most: what precomp's own figure may be, in `unit`.
        absent: peers that cannot do it.
    """

    name: str
    title: str
    work: str
    unit: str
    layer: Layer
    count: int = 1
    targets: Mapping[str, float] = attrs.field(factory=dict)
    most: float | None = None
    absent: tuple[str, ...] = ()

    def shown(self, amount: float) -> float:
        """Return what was measured (seconds, bytes or multiples of the array) in the row's unit."""
        if self.unit == "MB/s":
            return self.layer.nbytes / 1e6 / amount
        return amount * {"ms": 1e3, "us": 1e6, "MB": 1e-6}.get(self.unit, 1)


def all_rows(sizes: Sizes) -> list[Row]:
    """Return every row, in the order of the table."""
    return [
        *_volumes(sizes),
        *_encodings(sizes),
        *_cutouts(sizes),
        *_small_chunks(sizes),
        *_costs(sizes),
        *_objects(sizes),
    ]


def _both(
    name: str, title: str, layer: Layer, read: Mapping[str, float], write: Mapping[str, float]
) -> list[Row]:
    absent = _cannot(layer)
    return [
        Row(f"{name}-read", f"{title}: read", "read", "MB/s", layer, targets=read, absent=absent),
        Row(f"{name}-write", f"{title}: write", "write", "MB/s", layer, targets=write, absent=absent),
    ]


def _cannot(layer: Layer) -> tuple[str, ...]:
    """Peers that do not know such a layer; that of bare numpy knows no shards."""
    unknown = layer.compress or layer.encoding in ("compresso", "crackle", "fpzip")
    return ("tensorstore",) * bool(unknown) + ("limit",) * layer.sharded


def _volumes(sizes: Sizes) -> Iterator[Row]:
    raw = {"tensorstore": 1.5}
    jpeg = {"tensorstore": 1.0, "cloud-volume": 2.5}
    read, write = {"cloud-volume": 2.0}, {"cloud-volume": 6.0}
    image, labels = sizes.image, sizes.labels
    yield from _both("raw", "image, raw", Layer("em", image), raw, raw)
    large = Layer("em", image, (128, 128, 64))
    yield from _both("raw-128x128x64", "image, raw, chunks 128x128x64", large, raw, raw)
    yield from _both("gzip", "image, raw + gzip", Layer("em", sizes.packed, compress="gzip"), read, write)
    yield from _both("jpeg", "image, jpeg", Layer("em", sizes.packed, encoding="jpeg"), jpeg, jpeg)
    yield from _both("labels-raw", "uint64 labels, raw", Layer("labels", labels), raw, raw)
    packed = Layer("labels", labels, compress="gzip")
    yield from _both("labels-gzip", "uint64 labels, raw + gzip", packed, read, write)


def _encodings(sizes: Sizes) -> Iterator[Row]:
    labels, cloud = sizes.labels, {"cloud-volume": 1.0}
    cseg, shard = _cseg(sizes, sharded=False), _cseg(sizes, sharded=True)
    par, better = {"tensorstore": 1.0, "cloud-volume": 1.5}, {"tensorstore": 1.0, "cloud-volume": 1.0}
    yield from _both("cseg", "uint64 labels, compressed_segmentation", cseg, par, par)
    yield from _both("shard", "the same, in a shard", shard, {"tensorstore": 1.5}, better)
    png = Layer("em", sizes.slow, encoding="png")
    yield from _both("png", "image, png", png, {"tensorstore": 1.0}, {"tensorstore": 3.0})
    for encoding in ("compresso", "crackle"):
        layer = Layer("labels", labels, encoding=encoding)
        yield from _both(encoding, f"uint64 labels, {encoding}", layer, cloud, cloud)
    floats = Layer("floats", sizes.slow, encoding="fpzip")
    yield from _both("fpzip", "float32, fpzip", floats, cloud, cloud)


def _cseg(sizes: Sizes, sharded: bool) -> Layer:
    return Layer("labels", sizes.labels, encoding="compressed_segmentation", sharded=sharded)


def _cutouts(sizes: Sizes) -> Iterator[Row]:
    raw, count = Layer("em", sizes.image), sizes.cutouts
    packed, jpeg = Layer("em", sizes.packed, compress="gzip"), Layer("em", sizes.packed, encoding="jpeg")
    half = {"tensorstore": 2.0}
    title = "unaligned cutout of 64x64x64"
    yield Row("cutout-raw", f"{title}, raw", "cutout", "ms", raw, count, half)
    yield Row("cutout-gzip", f"{title}, raw + gzip", "cutout", "ms", packed, count, absent=("tensorstore",))
    yield Row("cutout-jpeg", f"{title}, jpeg", "cutout", "ms", jpeg, count, half)
    cseg, shard = _cseg(sizes, sharded=False), _cseg(sizes, sharded=True)
    yield Row("cutout-cseg", f"{title}, compressed_segmentation", "cutout", "ms", cseg, count, half)
    few = -(-count // 10)  # cloud-volume takes a hundred times as long as others
    what = f"{title}, the same, in a shard"
    yield Row("cutout-shard", what, "cutout", "ms", shard, few, half, absent=_cannot(shard))
    yield Row("voxel-raw", "one voxel, raw", "voxel", "us", raw, sizes.voxels, {"tensorstore": 5.0})
    x, y, _ = sizes.image
    yield Row(
        "plane-raw", f"one plane {x}x{y}x1, raw", "plane", "ms", raw, sizes.planes, {"tensorstore": 3.0}
    )


def _small_chunks(sizes: Sizes) -> Iterator[Row]:
    par = {"tensorstore": 1.0, "cloud-volume": 1.0}
    for length, shape in sizes.small.items():
        layer = Layer("em", shape, (length, length, length))
        yield from _both(
            f"chunks-{length}", f"image, raw, chunks {length}x{length}x{length}", layer, par, par
        )


def _costs(sizes: Sizes) -> Iterator[Row]:
    raw, large = Layer("em", sizes.image), Layer("em", sizes.memory)
    par = {"tensorstore": 1.0, "cloud-volume": 1.0}
    yield Row("open", "opening a volume", "open", "us", raw, sizes.opens, par)
    size = f"{large.nbytes / 1e6:.0f} MB"
    yield Row("memory-read", f"peak memory of a {size} read", "memory-read", "x", large, most=1.3)
    yield Row("memory-write", f"peak memory of a {size} write", "memory-write", "x", large, most=1.3)
    yield Row("import-time", "importing all that opens a volume: time", "import-time", "s", raw, most=0.2)
    yield Row("import-memory", "importing it: memory", "import-memory", "MB", raw)
    alone = ("tensorstore", "cloud-volume", "limit")
    yield Row("registry", "finding 30 plugins", "registry", "ms", raw, 30, most=20, absent=alone)


def _objects(sizes: Sizes) -> Iterator[Row]:
    """Of servers on this machine, which work on the same cores; uncompressed, as all can read that."""
    for protocol, server in (("s3", "S3"), ("gs", "Google Storage"), ("http", "a web server")):
        yield from _of_server(protocol, server, sizes)


def _of_server(protocol: str, server: str, sizes: Sizes) -> Iterator[Row]:
    layer, alone = Layer("em", sizes.objects, protocol=protocol), ("limit",)
    chunks = len(layer.chunks(layer.whole))
    title = f"{server}, {chunks} objects of 256 KiB"
    targets = {"read": {"tensorstore": 1.0, "cloud-volume": 3.0}, "write": {"cloud-volume": 1.5}}
    works = ("read",) if protocol == "http" else ("read", "write")
    for work in works:
        name, what = f"{protocol}-{work}", f"{title}: {work}"
        yield Row(name, what, work, "MB/s", layer, 1, targets[work], absent=alone)
    half, count = {"cloud-volume": 2.0}, sizes.cutouts
    cutout = f"{server}, unaligned cutout of 64x64x64"
    yield Row(f"{protocol}-cutout", cutout, "cutout", "ms", layer, count, half, absent=alone)
    for work in works:
        name, what = f"{protocol}-cpu-{work}", f"{title}: client's CPU for each, {work}"
        yield Row(name, what, f"cpu-{work}", "ms", layer, chunks, most=0.6, absent=alone)


def select(rows: Sequence[Row], patterns: Sequence[str] | None) -> list[Row]:
    """Return the rows whose names match any of the shell patterns; None means all.

    Raises ArgumentError, with the nearest name, for a pattern that matches none.
    """
    if patterns is None:
        return list(rows)
    names = [row.name for row in rows]
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise ArgumentError(
                f"--rows: no row matches {pattern!r}{did_you_mean(pattern, names)}; --list shows all of them"
            )
    return [row for row in rows if any(fnmatch.fnmatchcase(row.name, pattern) for pattern in patterns)]
