"""S3: SeaweedFS, one for all processes of a test run. It checks signatures and conditions.

It differs from Amazon's in that it takes a backslash in a key for a slash, and that a put makes a missing
bucket where the user may do anything.
"""

import contextlib
import fcntl
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from precomp.bench import weed

__all__ = ["BUCKET", "S3Server", "s3_server"]

BUCKET = "tests"

_PATIENCE = 60  # seconds


class S3Server:
    """A running server, whose keys are of this test run only: who answers to them is no other one.

    Attributes:
        port: on 127.0.0.1.
        url: what endpoint_url takes.
        secret: the fields of an aws-secret.json, of a user who may do anything.
        other_secret: the same, of a user who may read, write and list, and makes no buckets.
        client: of boto3.
    """

    def __init__(self, port: int, keys: Mapping[str, str]) -> None:
        self.port, self.url = port, f"http://127.0.0.1:{port}"
        self.secret, self.other_secret = (
            {"AWS_ACCESS_KEY_ID": f"{name}-{key}", "AWS_SECRET_ACCESS_KEY": f"secret-of-{name}-{key}"}
            for name, key in keys.items()
        )
        self.client = self.new_client()

    def new_client(self) -> Any:
        """Return a client of the bare SDK."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=self.secret["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.secret["AWS_SECRET_ACCESS_KEY"],
            config=Config(retries={"total_max_attempts": 2}),
        )

    def new_folder(self) -> str:
        """Return the path of a layer in which nobody else writes."""
        return f"ds/{uuid.uuid4().hex}"

    def answers(self) -> bool:
        """Tell whether this is the server that knows these keys."""
        try:
            self.client.create_bucket(Bucket=BUCKET)
        except ClientError as error:
            return error.response["Error"]["Code"] in ("BucketAlreadyExists", "BucketAlreadyOwnedByYou")
        except BotoCoreError:
            return False
        return True


@functools.cache
def s3_server() -> S3Server:
    """Return the server of this test run; the first who asks starts it, and it ends with the last of them."""
    folder = Path(tempfile.gettempdir(), f"precomp-s3-{os.getuid()}-{_run()}")
    folder.mkdir(exist_ok=True)
    users = os.open(folder / "users", os.O_RDWR | os.O_CREAT)  # never closed:
    fcntl.flock(users, fcntl.LOCK_SH)  # as long as this process lives
    with (folder / "start").open("w") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
        for _ in range(5):  # somebody may be quicker to take a port
            known = folder / "server.json"
            if not known.exists():
                _start(folder)
            server = S3Server(**json.loads(known.read_text()))
            if _waited_for(server, folder):
                return server
            known.unlink()
    raise RuntimeError(f"SeaweedFS does not start: {(folder / 'log').read_text()[-2000:]}")


def _run() -> str:
    """Name this test run: what its workers have in common."""
    return os.environ.get("PYTEST_XDIST_TESTRUNUID") or f"{os.getpid()}-{uuid.uuid4().hex}"


def _waited_for(server: S3Server, folder: Path) -> bool:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if server.answers():
            return True
        if (folder / "over").exists():
            return False
        time.sleep(0.05)
    return False


def _start(folder: Path) -> None:
    ports = weed.free_ports(4)
    keys = {name: uuid.uuid4().hex[:16] for name in ("admin", "user")}
    server = {"port": ports[3], "keys": keys}
    data = folder / "data"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir()
    (folder / "over").unlink(missing_ok=True)
    actions = {"admin": ["Admin"], "user": ["Read", "Write", "List", "Tagging"]}
    identities = [
        {
            "name": name,
            "credentials": [{"accessKey": f"{name}-{key}", "secretKey": f"secret-of-{name}-{key}"}],
            "actions": [*actions[name], "Read", "Write", "List", "Tagging"],
        }
        for name, key in keys.items()
    ]
    (data / "s3.json").write_text(json.dumps({"identities": identities}))
    watching = [sys.executable, "-P", __file__, str(folder), *map(str, ports)]
    with (folder / "log").open("w") as log:
        subprocess.run(
            watching, start_new_session=True, check=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    (folder / "server.json").write_text(json.dumps(server))


def _watch(folder: Path, ports: list[str]) -> None:
    """Run the server until nobody uses it any more, however they ended: a lock ends with its process."""
    data = folder / "data"
    command = weed.command(data, ports)
    with (folder / "users").open("w") as users:
        with subprocess.Popen(command) as server:
            while server.poll() is None:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    server.kill()
                    server.wait()
                    shutil.rmtree(folder)
                    return
                time.sleep(0.2)
        (folder / "over").touch()


if __name__ == "__main__":
    if os.fork() == 0:  # who started this waits for no more than that
        _watch(Path(sys.argv[1]), sys.argv[2:])
