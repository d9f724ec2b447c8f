"""Ctrl-C while a server does not answer: it is heard at once, by readers of one chunk and of many."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from faults import Fault, FaultProxy
from s3_places import alone, new_path, put_secret
from servers.boss import FULL, boss_server
from servers.gs import gs_server
from servers.http import HttpServer
from servers.s3 import s3_server
from volumes import make, noise

pytestmark = pytest.mark.skipif(os.name != "posix", reason="there are no such signals here")

CHILD = """
import json, sys
from precomp import CloudVolume
path, options, stop, work = json.loads(sys.argv[1])
vol = CloudVolume(path, options=options)
if work == "read":
    vol[-5:stop, 3:19, 100:116]
elif work == "write a part":
    vol.non_aligned_writes = True
    vol[-5:stop, 4:5, 101:102] = 7
else:
    vol[-5:11, 3:19, 100:116] = 7
"""
OF_BOXES = """
import json, sys
from precomp import CloudVolume
from precomp_plugins._boss import channel
channel._REQUEST_BYTES = 40 * 30 * 16
path, options, stop, work = json.loads(sys.argv[1])
vol = CloudVolume(path, options=options)
if work == "read":
    vol[:, :, :stop]
else:
    vol[:, :, :stop] = 7
"""
PATIENT = {"timeout": 200.0}  # seconds that it would take without


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone(tmp_path / "home", monkeypatch)
    put_secret(tmp_path / "home" / ".neuroglancer" / "secrets", s3_server().secret)


@contextmanager
def served(protocol: str, folder: Path) -> Iterator[tuple[FaultProxy, str, dict[str, Any]]]:
    """A written volume of 20 chunks, its path, and options that lead through a proxy."""
    with HttpServer(folder) as web:
        servers = {"s3": s3_server().port, "gs": gs_server().port, "http": web.port}
        with FaultProxy(servers[protocol]) as proxy:
            front = f"http://127.0.0.1:{proxy.port}"
            path = {"s3": new_path(), "gs": f"gs://{gs_server().new_bucket()}/ds/image"}.get(protocol, "")
            options: dict[str, Any] = {} if protocol == "http" else {"endpoint_url": front}
            if protocol == "gs":
                options["anonymous"] = True
            vol = make(path or folder / "ds" / "image", (320, 16, 16), options=options)
            vol[...] = noise(vol.shape)
            proxy.clear()
            yield proxy, path or f"{front}/ds/image", {**options, **PATIENT}


def interrupted(
    proxy: FaultProxy, *arguments: Any, again: bool = False, script: str = CHILD, where: str = "100-116"
) -> str:
    """What a child says at its end that is interrupted once it waits for a chunk, or for a box."""
    command = [sys.executable, "-c", script, json.dumps(arguments)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
        try:
            while not any(where in request.path for request in proxy.requests):
                assert child.poll() is None, child.stderr and child.stderr.read()
                time.sleep(0.01)
            time.sleep(0.3)  # it is asked for, and now it is waited for
            child.send_signal(signal.SIGINT)
            while again and child.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(0.2)
                child.send_signal(signal.SIGINT)
            _, said = child.communicate(timeout=60)
            return said
        finally:
            child.kill()


@pytest.mark.parametrize("protocol", ["s3", "gs", "http"])
@pytest.mark.parametrize("stop", [11, 43, 315], ids=["one", "three", "twenty"])
@pytest.mark.parametrize("after", [None, 100], ids=["silent", "stalled"])
def test_a_reader_hears_it_at_once(protocol: str, stop: int, after: int | None, tmp_path: Path) -> None:
    with served(protocol, tmp_path) as (proxy, path, options):
        proxy.plan(Fault.stall(after), match=lambda request: "100-116" in request.path, forever=True)
        said = interrupted(proxy, path, options, stop, "read")
        assert said.rstrip().endswith("KeyboardInterrupt")


@pytest.mark.parametrize("protocol", ["s3", "gs"])
def test_a_writer_who_looks_for_chunks_hears_it_at_once(protocol: str, tmp_path: Path) -> None:
    """Nothing is written before all that are written in part are known to be there."""
    with served(protocol, tmp_path) as (proxy, path, options):
        proxy.plan(Fault.stall(), match=lambda request: "100-116" in request.path, forever=True)
        said = interrupted(proxy, path, options, 315, "write a part")
        assert said.rstrip().endswith("KeyboardInterrupt")


@pytest.mark.parametrize("stop", [16, 48, 320], ids=["one", "three", "twenty"])
@pytest.mark.parametrize("work", ["read", "write"])
def test_at_a_service_of_boxes(stop: int, work: str) -> None:
    server = boss_server()
    path = server.add(f"c{uuid.uuid4().hex}/retina/em", stop=(40, 30, 320))
    with FaultProxy(server.port) as proxy:
        options = {"protocol": "http", "host": f"127.0.0.1:{proxy.port}", "token": FULL, **PATIENT}
        proxy.plan(Fault.stall(), match=lambda request: "/cutout/" in request.path, forever=True)
        arguments = path, options, stop, work
        said = interrupted(proxy, *arguments, again=work == "write", script=OF_BOXES, where="/cutout/")
        assert said.rstrip().endswith("KeyboardInterrupt")


def test_a_writer_hears_the_second_one_at_once(tmp_path: Path) -> None:
    """The first one would leave a write on its way, which might come later than the next one."""
    with served("s3", tmp_path) as (proxy, path, options):
        proxy.plan(Fault.stall(), match=lambda request: request.method == "PUT", forever=True)
        said = interrupted(proxy, path, options, 0, "write", again=True)
        assert said.rstrip().endswith("KeyboardInterrupt")
