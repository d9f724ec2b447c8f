"""The Python code of the pages below runs, from top to bottom, in an empty folder."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", "docs/guide.md", "docs/config.md"]
# A block of TOML that starts with the name of a file, `# precomp.toml`, is written to it.
_BLOCK = re.compile(r"^```(?:python|toml\n# (\S+\.toml))\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_code_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = list(_BLOCK.finditer(text))
    assert blocks
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PRECOMP_CONFIG", raising=False)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in blocks:
        if block[1]:
            Path(block[1]).write_text(block[2], encoding="utf-8")
            continue
        lines_before = text.count("\n", 0, block.start(2))
        # Empty lines in front make a traceback name the line of the page.
        exec(compile("\n" * lines_before + block[2], str(ROOT / page), "exec"), namespace)


@pytest.mark.parametrize(
    "page", [*PAGES, *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
)
def test_links_between_files_lead_somewhere(page: str) -> None:
    path = ROOT / page
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8"))
    assert [target for target in targets if not (path.parent / target).exists()] == []
