"""One channel of the BOSS, as a service of boxes."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import requests
from intern.resource.boss.resource import ChannelResource
from intern.service.boss.v1.volume import CacheMode
from numpy.typing import NDArray

from precomp.errors import ArgumentError, CloudPathError, UnsupportedError
from precomp.info import VolumeInfo
from precomp.interfaces import CloudPath
from precomp.jsonio import structure
from precomp.retry import Limits, RetryPolicy
from precomp_plugins._boss import blosc, create
from precomp_plugins._boss.login import find_login
from precomp_plugins._boss.model import CUBOID, LEVELS, Known, described
from precomp_plugins._boss.resources import Resources
from precomp_plugins._boss.session import Session

if TYPE_CHECKING:
    from precomp_plugins.boss import BossOptions

__all__ = ["BossChannel"]

_REQUEST_BYTES = 64 * 2**20  # of voxels; the service refuses 500 MB, and each thread has one in memory
_DEADLINE = 300.0  # seconds; a large part over a slow line takes more than objects of stores do
_MOST_IDS = 200  # in an address, which has 8,000 characters at most on usual servers


class BossChannel:
    """A SupportsCutout. Safe to share between threads; a forked child has connections of its own.

    Attributes:
        workers: how many requests at once.
    """

    def __init__(self, path: CloudPath, options: "BossOptions") -> None:
        names = path.bucket, *path.path.split("/")
        if len(names) != 3 or not all(re.fullmatch(r"[\w-]+", name, re.ASCII) for name in names):
            raise CloudPathError(
                f"{path}: expected boss://COLLECTION/EXPERIMENT/CHANNEL, names of letters, digits, _ and -"
            )
        collection, experiment, channel = names
        self.workers = options.concurrency
        self._place, self._options = str(path), options
        self._policy = RetryPolicy(options.max_attempts, options.timeout, _DEADLINE)
        self._session = Session(find_login(path, options), max(options.concurrency, 16))
        self._resources = Resources(str(path), self._session, self._policy, (collection, experiment, channel))
        # For the address alone: intern wants to know no more of it.
        self._resource = ChannelResource(channel, collection, experiment)
        self._known: Known | None = None

    def read_info(self) -> dict[str, Any]:
        """Ask for channel, experiment and frame. Raises InfoNotFoundError, naming what is not there."""
        return described(self._ask())

    def split(
        self, mip: int, minpt: Sequence[int], maxpt: Sequence[int]
    ) -> Iterator[tuple[tuple[int, int, int], tuple[int, int, int]]]:
        """Split along z first, then y, then x, where cuboids end, until a part has 64 MB or less."""
        size = [high - low for low, high in zip(minpt, maxpt, strict=True)]
        left = _REQUEST_BYTES // np.dtype(self._channel.channel.datatype).itemsize
        most = list(size)
        for axis in (2, 1, 0):
            others = int(np.prod([n for other, n in enumerate(most) if other != axis], dtype=object))
            if others * size[axis] > left:
                most[axis] = max(left // others // CUBOID[axis], 1) * CUBOID[axis]
                most[axis] = min(most[axis], size[axis])
        xs, ys, zs = (
            list(_cuts(low, high, part, cuboid))
            for low, high, part, cuboid in zip(minpt, maxpt, most, CUBOID, strict=True)
        )
        for z0, z1 in zs:
            for y0, y1 in ys:
                for x0, x1 in xs:
                    yield (x0, y0, z0), (x1, y1, z1)

    def read_box(self, mip: int, minpt: Sequence[int], maxpt: Sequence[int]) -> NDArray[Any]:
        """Ask for the voxels of a box."""
        return self._read(mip, minpt, maxpt, [])

    def read_segments(
        self, mip: int, minpt: Sequence[int], maxpt: Sequence[int], segids: Sequence[int]
    ) -> NDArray[Any]:
        """Ask for the voxels of a box that belong to `segids`; many of these are looked for here."""
        if 0 < len(segids) <= _MOST_IDS:
            return self._read(mip, minpt, maxpt, segids)
        voxels = self._read(mip, minpt, maxpt, [])
        wanted = np.array([one for one in segids if one <= np.iinfo(voxels.dtype).max], voxels.dtype)
        for z in range(voxels.shape[2]):  # what numpy needs besides is several times as large as its argument
            plane = voxels[:, :, z]
            plane[~np.isin(plane, wanted)] = 0
        return voxels

    def write_box(self, mip: int, minpt: Sequence[int], voxels: NDArray[Any]) -> None:
        """Store voxels. The BOSS keeps what it has where it is sent 0: such a box is made black first."""
        datatype = np.dtype(self._channel.channel.datatype)
        if voxels.dtype != datatype:
            raise ArgumentError(
                f"{self._place}: expected {datatype}, which the channel has, got {voxels.dtype}"
            )
        if voxels.shape[3] != 1:
            raise ArgumentError(
                f"{self._place}: expected one value a voxel, which is all that a channel of the BOSS has, "
                f"got {voxels.shape[3]}"
            )
        maxpt = [low + length for low, length in zip(minpt, voxels.shape[:3], strict=True)]
        box, service = self._box(mip, minpt, maxpt), self._remote.volume_service
        if not voxels.all():
            black = service.service.get_cutout_to_black_request(
                self._resource, "PUT", "application/blosc", service.url_prefix, service.auth, *box
            )
            self._send("erased", mip, minpt, maxpt, black, 200)
        if voxels.any():
            # numpyVolume is what intern calls the body.
            body = blosc.pack(voxels[..., 0])
            post = service.service.get_cutout_request(
                self._resource,
                "POST",
                "application/blosc",
                service.url_prefix,
                service.auth,
                *box,
                numpyVolume=body,
            )
            self._send("written", mip, minpt, maxpt, post, 201)

    def create(self, info: Mapping[str, Any]) -> None:
        """Create the channel, and the collection, coordinate frame and experiment that it needs."""
        model = structure(dict(info), VolumeInfo, "info")
        create.create(self._resources, model, self._options.coord_frame, self._options.t)
        self._known = None

    @property
    def _remote(self) -> Any:
        return self._session.remote

    @property
    def _channel(self) -> Known:
        """What is known of the channel; asked for where the info was not, as after pickling."""
        return self._ask() if self._known is None else self._known

    def _ask(self) -> Known:
        known = self._resources.known()
        t, samples = self._options.t, known.experiment.num_time_samples
        if t is not None and t >= samples:
            raise ArgumentError(f"{self._place}: t: expected a time sample from 0 to {samples - 1}, got {t}")
        self._known = known
        return known

    def _read(
        self, mip: int, minpt: Sequence[int], maxpt: Sequence[int], segids: Sequence[int]
    ) -> NDArray[Any]:
        service = self._remote.volume_service
        x, y, z = (high - low for low, high in zip(minpt, maxpt, strict=True))
        zyx = np.empty((z, y, x), self._channel.channel.datatype)
        request = service.service.get_cutout_request(
            self._resource,
            "GET",
            "application/blosc",
            service.url_prefix,
            service.auth,
            *self._box(mip, minpt, maxpt),
            id_list=list(segids),
            access_mode=CacheMode.no_cache,
        )
        request.headers["Accept"] = "application/blosc"
        self._send("read", mip, minpt, maxpt, request, 200, zyx)
        voxels: NDArray[Any] = zyx.T[..., np.newaxis]
        return voxels

    def _box(self, mip: int, minpt: Sequence[int], maxpt: Sequence[int]) -> tuple[Any, ...]:
        """Resolution, ranges and time as intern takes them."""
        if min(minpt) < 0:
            raise UnsupportedError(
                f"{self._place}: the BOSS has no addresses for negative coordinates, the box starts at "
                f"{tuple(minpt)}; choose a box that starts at 0 or above"
            )
        level, t = self._channel.channel.base_resolution + mip, self._options.t
        if level >= LEVELS:
            raise UnsupportedError(
                f"{self._place}: the BOSS has no addresses for levels above {LEVELS - 1}, mip {mip} is level "
                f"{level}; choose a finer mip"
            )
        ranges = ([int(low), int(high)] for low, high in zip(minpt, maxpt, strict=True))
        return level, *ranges, None if t is None else [t, t + 1]

    def _send(
        self,
        doing: str,
        mip: int,
        minpt: Sequence[int],
        maxpt: Sequence[int],
        request: requests.Request,
        status: int,
        out: NDArray[Any] | None = None,
    ) -> None:
        """Send a request about a box, again where that may help; voxels of its answer go into `out`."""
        box = "_".join(f"{low}-{high}" for low, high in zip(minpt, maxpt, strict=True))
        what = f"{self._place}, mip {mip}, box {box}"
        most = {} if out is None else {"most": out.nbytes + blosc.OVERHEAD}

        def attempt(limits: Limits) -> None:
            answer = self._session.send(request, limits, **most)
            if answer.status != status:
                error = self._session.failure(doing, what, self._resources.channel, answer)
                hint = self._outside(minpt, maxpt) if answer.status == 400 else ""
                raise type(error)(f"{error}{hint}") if hint else error
            if out is not None:
                blosc.unpack(answer.body, out, what)

        self._policy.call(what, attempt)

    def _outside(self, minpt: Sequence[int], maxpt: Sequence[int]) -> str:
        """What to add where the box lies in its level and not in the frame, which is that of level 0."""
        frame = self._channel.frame
        if all(
            a <= low and high <= b
            for a, low, high, b in zip(frame.start, minpt, maxpt, frame.stop, strict=True)
        ):
            return ""
        return (
            f". The BOSS takes boxes of every level only inside the frame of level 0, {frame.start} to "
            f"{frame.stop}, so that those of coarser levels cannot be had before its start"
        )


def _cuts(low: int, high: int, most: int, cuboid: int) -> Iterator[tuple[int, int]]:
    """Cut a range into parts of `most` voxels or fewer, where cuboids end."""
    while low < high:
        end = high if high - low <= most else (low + most) // cuboid * cuboid
        yield low, end
        low = end
