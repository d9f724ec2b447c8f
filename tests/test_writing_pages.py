"""The packages on "Writing a protocol" and "Writing a codec" are complete, short, and pass the kit."""

import re
from pathlib import Path

import pytest
from installing import Environment, project_wheel

DOCS = Path(__file__).parent.parent / "docs"
# page: lines that the module, and the whole package, stay under
PAGES = {"writing-a-protocol": (20, 40), "writing-a-codec": (15, 40)}
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"^```(?:python|toml)\n# (\S+\.\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

each = pytest.mark.parametrize("page", PAGES)


def files_of(page: str) -> dict[str, str]:
    """The blocks that start with the name of a file, in their order."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    return {found[1]: found[2] for found in _FILE.finditer(text)}


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> tuple[Environment, dict[str, Path]]:
    """An environment with the packages of all pages, and their folders."""
    folder = tmp_path_factory.mktemp("pages")
    environment = Environment(folder / "venv")
    projects = {page: folder / page for page in PAGES}
    for page, project in projects.items():
        for name, content in files_of(page).items():
            path = project / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
    environment.install([project_wheel(project, folder) for project in projects.values()])
    return environment, projects


@each
def test_the_package_is_short(page: str) -> None:
    lines = [len([line for line in text.splitlines() if line.strip()]) for text in files_of(page).values()]
    names = list(files_of(page))
    assert names[0] == "pyproject.toml"
    assert names[2].startswith("tests/")
    module, package = PAGES[page]
    assert lines[1] < module
    assert sum(lines[:3]) < package


@each
def test_lines_between_the_files_run_in_the_module(
    page: str, projects: tuple[Environment, dict[str, Path]]
) -> None:
    environment, folders = projects
    blocks = _BLOCK.findall((DOCS / f"{page}.md").read_text(encoding="utf-8"))
    lines = [block for block in blocks if not re.match(r"# \S+\.py\n", block)]
    module = list(files_of(page).values())[1]
    done = environment.run("-W", "error", "-c", "\n".join([module, *lines]), cwd=folders[page])
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_the_kit_passes_what_the_page_on_plugins_shows(
    projects: tuple[Environment, dict[str, Path]], tmp_path: Path
) -> None:
    environment, _ = projects
    blocks = _BLOCK.findall((DOCS / "plugins.md").read_text(encoding="utf-8"))
    (tmp_path / "test_scratch.py").write_text("\n".join(blocks), encoding="utf-8")
    assert passed_in(environment, tmp_path, "test_scratch.py") > 10


@each
@pytest.mark.slow
def test_its_tests_pass(page: str, projects: tuple[Environment, dict[str, Path]]) -> None:
    environment, folders = projects
    assert passed_in(environment, folders[page], "tests") > 15


def passed_in(environment: Environment, folder: Path, tests: str) -> int:
    """Run tests, all of which have to pass, and return their number."""
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", "error", f"--rootdir={folder}"]
    done = environment.run("-m", "pytest", *options, tests, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    counted = re.search(r"(\d+) passed", done.stdout)
    assert counted
    return int(counted[1])


@each
def test_it_is_used_as_shown(page: str, projects: tuple[Environment, dict[str, Path]]) -> None:
    environment, folders = projects
    done = environment.run("-W", "error", "use.py", cwd=folders[page])
    assert (done.returncode, done.stderr) == (0, "")
