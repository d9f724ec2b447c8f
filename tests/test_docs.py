"""The Python code of the pages below runs, from top to bottom, in an empty folder."""

import contextlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    "README.md",
    "docs/index.md",
    "docs/guide.md",
    "docs/encodings.md",
    "docs/sharding.md",
    "docs/config.md",
    "docs/cache.md",
    "docs/gs.md",
    "docs/s3.md",
    "docs/plugins.md",
]
# Whose code is in packages of its own: test_writing_pages runs it.
WITH_PACKAGES = ["docs/writing-a-protocol.md", "docs/writing-a-codec.md"]
# A block of TOML that starts with the name of a file, `# precomp.toml`, is written to it.
_BLOCK = re.compile(r"^```(?:python|toml\n# (\S+\.toml))\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_code_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = list(_BLOCK.finditer(text))
    assert blocks
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PRECOMP_CONFIG", raising=False)
    if "gs://my-lab/" in text:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", bucket_of_google("my-lab"))
    if "s3://my-lab/" in text:
        for name, value in bucket_of_s3("my-lab").items():
            monkeypatch.setenv(name, value)
    module = ModuleType("the_code_of_a_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in blocks:
        if block[1]:
            Path(block[1]).write_text(block[2], encoding="utf-8")
            continue
        lines_before = text.count("\n", 0, block.start(2))
        # Empty lines in front make a traceback name the line of the page.
        exec(compile("\n" * lines_before + block[2], str(ROOT / page), "exec"), vars(module))


def bucket_of_google(name: str) -> str:
    """Empty a bucket, or make it, and return the address of the server that has it."""
    from servers.gs import gs_server

    client = gs_server().client
    bucket = client.lookup_bucket(name) or client.create_bucket(name)
    for blob in client.list_blobs(bucket):
        blob.delete()
    return gs_server().url


def bucket_of_s3(name: str) -> dict[str, str]:
    """Make a bucket and return the environment in which boto3 finds it."""
    from servers.s3 import s3_server

    with contextlib.suppress(s3_server().client.exceptions.BucketAlreadyOwnedByYou):
        s3_server().client.create_bucket(Bucket=name)
    return {"AWS_ENDPOINT_URL_S3": s3_server().url, **s3_server().secret}


def test_every_page_with_code_is_run() -> None:
    pages = ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
    with_code = {page for page in pages if "```python\n" in (ROOT / page).read_text(encoding="utf-8")}
    assert with_code == {*PAGES, *WITH_PACKAGES}


@pytest.mark.parametrize(
    "page", ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
)
def test_links_between_files_lead_somewhere(page: str) -> None:
    path = ROOT / page
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8"))
    assert [target for target in targets if not (path.parent / target).exists()] == []
