"""The BOSS's REST API v1, as much of it as intern speaks, with voxels in memory.

After the views of jhuapl-boss/boss (bosscore/request.py, error.py, bossspatialdb/views.py, parsers.py): the
addresses, the codes, boxes of every level compared with the frame of level 0, and voxels that stay where a 0
is posted. Not after it: how long things take, and permissions finer than these tokens.
"""

import functools
import json
import math
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import blosc
import flask
import numpy as np
from werkzeug.routing import BaseConverter
from werkzeug.test import Client

__all__ = ["FULL", "PUBLIC", "READER", "BossServer", "boss_server"]

FULL = "hunter2%(token)s%"  # may do everything; intern itself cannot read this one from a file
READER = "reader-hunter2"  # may read everything
PUBLIC = "public"  # may read what is public
_LIMIT = 500 * 10**6  # bytes of one cutout; uint64 counts a quarter, as it compresses so well

_ALSO = {  # what is told besides
    "collection": {"description": "", "creator": "lab", "experiments": []},
    "coord": {"description": ""},
    "experiment": {"description": "", "creator": "lab", "time_step": None, "time_step_unit": None},
    "channel": {"description": "", "creator": "lab", "sources": [], "related": [], "public": True}
    | {"downsample_status": "NOT_DOWNSAMPLED", "storage_type": "spdb", "bucket": None, "cv_path": None},
}
_REQUIRED = {
    "collection": (),
    "coord": [f"{axis}_{end}" for axis in "xyz" for end in ("start", "stop", "voxel_size")] + ["voxel_unit"],
    "experiment": ("coord_frame", "num_hierarchy_levels", "hierarchy_method", "num_time_samples"),
    "channel": ("type", "datatype"),
}


class BossError(Exception):
    """An answer of status 400 or above."""

    def __init__(self, status: int, code: int, message: str) -> None:
        self.answer = {"status": status, "code": code, "message": message}


class _Range(BaseConverter):
    regex = r"\d+:\d+"
    # as Django has it: no negative numbers, and a page for an address that is none

    def to_python(self, value: str) -> range:
        return range(*map(int, value.split(":")))


class _Digit(BaseConverter):
    regex = r"\d"
    to_python = int  # type: ignore[assignment]


class BossServer:
    """A running server.

    Attributes:
        port: on 127.0.0.1.
        resources: what there is, by kind and names; may be changed.
        cutouts: method and address of the requests about voxels, in order.
    """

    def __init__(self) -> None:
        self.resources: dict[tuple[str, ...], dict[str, Any]] = {}
        self.cutouts: list[tuple[str, str]] = []
        self._voxels: dict[tuple[Any, ...], np.ndarray[Any, Any]] = {}
        self._lock = threading.Lock()
        # Not the server of werkzeug, which keeps no connection, as those before a BOSS do.
        handler = type("Handler", (_Handler,), {"client": Client(self._app())})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def host(self) -> str:
        """What the option host takes."""
        return f"127.0.0.1:{self.port}"

    def add(
        self,
        path: str,
        *,
        datatype: str = "uint8",
        start: tuple[int, int, int] = (0, 0, 0),
        stop: tuple[int, int, int] = (1024, 1024, 64),
        levels: int = 1,
        unit: str = "nanometers",
        voxel_size: tuple[float, float, float] = (4, 4, 40),
        **other: Any,
    ) -> str:
        """Make a channel `COLLECTION/EXPERIMENT/CHANNEL` with all it needs, and return its cloudpath."""
        collection, experiment, channel = path.split("/")
        frame = dict(zip((f"{a}_start" for a in "xyz"), start, strict=True))
        frame |= dict(zip((f"{a}_stop" for a in "xyz"), stop, strict=True))
        sizes = dict(zip((f"{a}_voxel_size" for a in "xyz"), voxel_size, strict=True))
        self.resources["collection", collection] = {"name": collection}
        self.resources["coord", f"{collection}_frame"] = {**frame, **sizes, "voxel_unit": unit}
        self.resources["experiment", collection, experiment] = {
            "coord_frame": f"{collection}_frame",
            "num_hierarchy_levels": levels,
            "hierarchy_method": other.pop("method", "anisotropic"),
            "num_time_samples": other.pop("samples", 1),
        }
        kind = other.pop("type", "annotation" if datatype == "uint64" else "image")
        given = {"name": channel, "type": kind, "datatype": datatype, "base_resolution": 0, **other}
        self.resources["channel", collection, experiment, channel] = {"default_time_sample": 0, **given}
        return f"boss://{path}"

    def voxels(self, path: str, level: int = 0, t: int = 0) -> np.ndarray[Any, Any]:
        """Return the voxels of a channel, z, y, x, from the start of the frame of level 0 on."""
        channel, _, frame = self._known(path.split("/"))
        shape = [frame[f"{axis}_stop"] - frame[f"{axis}_start"] for axis in "zyx"]
        with self._lock:
            return self._voxels.setdefault((path, level, t), np.zeros(shape, channel["datatype"]))

    def _app(self) -> flask.Flask:
        app = flask.Flask("boss")
        app.url_map.converters |= {"span": _Range, "digit": _Digit}
        app.url_map.strict_slashes = False
        app.url_map.merge_slashes = False
        app.register_error_handler(BossError, lambda error: _told(error.answer))
        app.before_request(self._check_token)

        def rule(address: str, view: Callable[..., Any], *methods: str) -> None:
            app.add_url_rule(f"/v1/{address}", address, view, methods=methods)

        for kind, address in {
            "collection": "collection/<a>",
            "experiment": "collection/<a>/experiment/<b>",
            "channel": "collection/<a>/experiment/<b>/channel/<c>",
            "coord": "coord/<a>",
        }.items():
            rule(address, functools.partial(self._resource, kind), "GET", "POST", "PUT", "DELETE")
        box = "<a>/<b>/<c>/<digit:level>/<span:x>/<span:y>/<span:z>/"
        for name in (box, f"{box}<span:t>/"):
            rule(f"cutout/{name}", self._cutout, "GET", "POST")
            rule(f"cutout/to_black/{name}", self._to_black, "PUT")
        return app

    def _check_token(self) -> flask.Response | None:
        token = flask.request.headers.get("Authorization", "").removeprefix("Token ")
        if token not in (FULL, READER, PUBLIC):
            return _told({"status": 401, "detail": "Invalid token."})
        if token != FULL and flask.request.method != "GET":
            raise BossError(403, 3001, "Missing permission 'add' on the resource")
        flask.g.public_only = token == PUBLIC
        return None

    def _resource(self, kind: str, **names: str) -> Any:
        key, method = (kind, *names.values()), flask.request.method
        if method != "POST":
            found = self._find(key)
            self._check_public(found)
            if method == "DELETE":
                del self.resources[key]
                return "", 204
            found.update(flask.request.get_json() if method == "PUT" else {})
            sizes = {
                key: float(value) for key, value in found.items() if isinstance(value, int) and "_size" in key
            }
            return {**_ALSO[kind], **found, **sizes}
        given = flask.request.get_json()
        if kind in ("experiment", "channel"):
            self._find(("collection", key[1]))
        if kind == "channel":
            self._find(("experiment", *key[1:3]))
        missing = [name for name in _REQUIRED[kind] if name not in given]
        if missing or key in self.resources:
            raise BossError(400, 1003, f"{{'name': ['{kind} exists already']}} {missing}")
        if kind == "experiment":
            self._find(("coord", given["coord_frame"]))
        self.resources[key] = {"base_resolution": 0, "default_time_sample": 0, **given}
        return self.resources[key], 201

    def _find(self, key: tuple[str, ...]) -> dict[str, Any]:
        if key not in self.resources:
            raise BossError(404, 4000, f"{key[-1]} does not exist.")
        return self.resources[key]

    def _known(self, names: list[str]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        self._find(("collection", names[0]))
        experiment = self._find(("experiment", *names[:2]))
        channel = self._find(("channel", *names))
        return channel, experiment, self._find(("coord", experiment["coord_frame"]))

    def _check_public(self, resource: dict[str, Any]) -> None:
        if flask.g.public_only and not resource.get("public", True):
            raise BossError(403, 3001, "Missing permission 'read' on the resource")

    def _place(self, names: list[str], level: int, x: range, y: range, z: range, t: range | None) -> Any:
        """The voxels of a box, t, z, y, x, to be read or changed."""
        self.cutouts.append((flask.request.method, flask.request.full_path))
        channel, experiment, frame = self._known(names)
        self._check_public(channel)
        base = channel["base_resolution"]
        if level not in range(base, base + experiment["num_hierarchy_levels"]):
            raise BossError(400, 1002, f"Invalid resolution {level}.")
        spans = {"x": x, "y": y, "z": z}
        for axis, span in spans.items():
            if not frame[f"{axis}_start"] <= span.start < span.stop <= frame[f"{axis}_stop"]:
                raise BossError(400, 1001, f"Incorrect cutout arguments {flask.request.path}")
        default = channel["default_time_sample"]
        times = range(default, default + 1) if t is None else t
        if not times or times.stop > experiment["num_time_samples"]:
            raise BossError(400, 1000, f"Invalid time range {t}.")
        nbytes = math.prod(map(len, spans.values())) * len(times) * np.dtype(channel["datatype"]).itemsize
        if (nbytes / 4 if channel["datatype"] == "uint64" else nbytes) > _LIMIT:
            raise BossError(
                413, 2000, "Cutout request is over 500MB when uncompressed. Reduce cutout dimensions."
            )
        where = tuple(
            slice(spans[axis].start - frame[f"{axis}_start"], spans[axis].stop - frame[f"{axis}_start"])
            for axis in "zyx"
        )
        return channel, [self.voxels("/".join(names), level, one)[where] for one in times]

    def _cutout(self, a: str, b: str, c: str, level: int, t: range | None = None, **spans: range) -> Any:
        channel, there = self._place([a, b, c], level, t=t, **spans)
        if flask.request.method == "GET":
            return self._sent(channel, np.stack(there) if t is not None else there[0])
        shape = (len(there), *there[0].shape)
        try:
            found = np.frombuffer(blosc.decompress(flask.request.data), channel["datatype"]).reshape(shape)
        except (ValueError, blosc.blosc_extension.error) as error:
            raise BossError(400, 2002, "Failed to unpack data.") from error
        for old, new in zip(there, found, strict=True):
            np.copyto(old, new, where=new != 0)  # a 0 leaves what is there
        return "", 201

    def _sent(self, channel: dict[str, Any], voxels: np.ndarray[Any, Any]) -> Any:
        if flask.request.headers.get("Accept") != "application/blosc":
            raise BossError(404, 5001, "Unsupported transport format")
        if ids := flask.request.args.get("filter"):
            if channel["type"] != "annotation":
                raise BossError(400, 2003, "Can only filter annotation channels")
            wanted = np.array([int(one) for one in ids.split(",")], np.uint64)
            voxels = np.where(np.isin(voxels, wanted), voxels, 0).astype(voxels.dtype)
        body = blosc.compress(np.ascontiguousarray(voxels), typesize=voxels.itemsize)
        return flask.Response(body, content_type="application/blosc")

    def _to_black(self, a: str, b: str, c: str, level: int, t: range | None = None, **spans: range) -> Any:
        for there in self._place([a, b, c], level, t=t, **spans)[1]:
            there[...] = 0
        return "", 200


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    client: Client

    def _answer(self) -> None:
        size = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(size)
        if len(body) < size:  # the client has gone
            self.close_connection = True
            return
        sent = {"method": self.command, "headers": dict(self.headers), "data": body}
        with self.client.open(self.path, **sent) as answer:
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.get_data())

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _told(answer: dict[str, Any]) -> flask.Response:
    return flask.Response(json.dumps(answer), answer["status"], content_type="application/json")


@functools.cache
def boss_server() -> BossServer:
    """Return this process's server."""
    return BossServer()
