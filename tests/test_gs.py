"""`gs://` on a real server: the contract, failures on the way, credentials, processes."""

from typing import Any

from servers.gs import free_port, gs_server

from precomp.interfaces import CloudPath, Store
from precomp.testing import StoreTests
from precomp_plugins._gs import GsStore
from precomp_plugins.gs import GsOptions


def store_at(bucket: str, path: str = "ds/layer", **options: Any) -> GsStore:
    options = {"endpoint_url": gs_server().url, "anonymous": True, "concurrency": 4, **options}
    return GsStore(CloudPath("gs", bucket, path), GsOptions(**options))


class TestStore(StoreTests):
    """The contract of a store."""

    keeps_headers = True
    picklable = True

    def make_store(self) -> Store:
        self.bucket = gs_server().client.bucket(gs_server().new_bucket())
        return store_at(self.bucket.name)

    def raw_put(self, store: Store, key: str, data: bytes) -> None:
        self.bucket.blob(f"ds/layer/{key}").upload_from_string(data)

    def raw_get(self, store: Store, key: str) -> bytes | None:
        blob = self.bucket.get_blob(f"ds/layer/{key}")
        return None if blob is None else bytes(blob.download_as_bytes(raw_download=True))

    def make_failing_store(self) -> Store:
        return store_at("bucket", endpoint_url=f"http://127.0.0.1:{free_port()}", max_attempts=1)
