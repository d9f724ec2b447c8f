"""Packages installed for real: wheels made here, a fresh environment beside precomp, and pip."""

import base64
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["Environment", "make_wheel", "project_wheel", "unpacked_wheel"]

_WHEEL = "Wheel-Version: 1.0\nGenerator: precomp-tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def make_wheel(folder: Path, name: str, version: str, files: Mapping[str, bytes]) -> Path:
    """Write a wheel into `folder`; `files` are its modules and its metadata but WHEEL and RECORD."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    content = {**files, f"{info}/WHEEL": _WHEEL.encode()}
    record = [f"{path},sha256={_digest(data)},{len(data)}" for path, data in content.items()]
    content[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    wheel = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, data in content.items():
            archive.writestr(path, data)
    return wheel


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def project_wheel(project: Path, folder: Path) -> Path:
    """Make the wheel of a project, as its build backend would: its package, or its one module.

    Building needs neither network nor backend this way; installing is pip's work all the same.
    """
    table = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name, version = table["name"], table["version"]
    module = name.replace("-", "_")
    sources = [*(project / module).rglob("*.py"), *project.glob(f"{module}.py")]
    assert sources, f"{project} has no package or module {module}"
    files = {path.relative_to(project).as_posix(): path.read_bytes() for path in sources}
    required = "".join(f"Requires-Dist: {one}\n" for one in table.get("dependencies", []))
    info = f"{module}-{version}.dist-info"
    files[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{required}".encode()
    )
    groups = table["entry-points"]
    entries = [
        line for group, found in groups.items() for line in (f"[{group}]", *map(" = ".join, found.items()))
    ]
    files[f"{info}/entry_points.txt"] = "\n".join(entries).encode()
    return make_wheel(folder, name, version, files)


def unpacked_wheel(distribution: Path, folder: Path) -> Path:
    """Make the wheel of a folder that looks like an installed package: modules and a dist-info folder."""
    (info,) = distribution.glob("*.dist-info")
    name, version = info.name.removesuffix(".dist-info").rsplit("-", 1)
    target = f"{name.replace('-', '_')}-{version}.dist-info"
    files = {f"{target}/{path.name}": path.read_bytes() for path in info.iterdir()}
    files |= {path.name: path.read_bytes() for path in distribution.glob("*.py")}
    return make_wheel(folder, name, version, files)


class Environment:
    """A fresh virtual environment that sees what the running one has installed, and what pip adds to it."""

    def __init__(self, folder: Path) -> None:
        venv.EnvBuilder(symlinks=os.name != "nt").create(folder)
        scripts = folder / ("Scripts" if os.name == "nt" else "bin")
        self.folder = folder
        self.python = str(scripts / "python")
        # addsitedir, for an editable installation of precomp is a .pth file itself.
        beside = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
        (packages,) = folder.glob("[Ll]ib/**/site-packages")
        lines = [f"import site; site.addsitedir({path!r})\n" for path in beside]
        (packages / "beside.pth").write_text("".join(lines), encoding="utf-8")

    def install(self, wheels: Iterable[Path]) -> None:
        """Install wheels by pip, without network."""
        options = ["--no-index", "--no-deps", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
        command = [_python_with_pip(), "-m", "pip", "--python", self.python, "install", *options]
        done = self._run([*command, *map(str, wheels)])
        assert done.returncode == 0, done.stdout + done.stderr

    def run(
        self, *arguments: str, cwd: Path | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the environment's Python."""
        return self._run([self.python, *arguments], cwd=cwd or self.folder, **variables)

    def ask(self, code: str, cwd: Path | None = None, **variables: str) -> Any:
        """Run code and return the JSON that it prints."""
        done = self.run("-c", code, cwd=cwd, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    @staticmethod
    def _run(
        command: list[str], cwd: Path | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        inherited = {
            name: text
            for name, text in os.environ.items()
            if not name.startswith(("PYTEST", "PRECOMP", "PIP_"))
        }
        return subprocess.run(
            command,
            cwd=cwd,
            env={**inherited, "PIP_CONFIG_FILE": os.devnull, **variables},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


def _python_with_pip() -> str:
    """The running Python, or the one that made its environment, which may have been made without pip."""
    if importlib.util.find_spec("pip"):
        return sys.executable
    base: str = sys._base_executable  # type: ignore[attr-defined]
    return base
