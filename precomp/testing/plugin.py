"""`PluginTests`: what holds for every plugin, whatever it provides."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from precomp.hookspecs import ENTRY_POINT_GROUP
from precomp.mesh.model import Mesh
from precomp.plugins import Registry
from precomp.plugins.records import Declaration

__all__ = ["PluginTests"]

_SCRIPT = Path(__file__).with_name("_fresh.py")
_HEAVY = (
    *("boto3", "botocore", "google.cloud", "intern", "dask", "requests", "urllib3", "fsspec"),
    *("PIL", "simplejpeg", "imagecodecs", "brotli", "zstandard", "tqdm", "scipy", "pandas", "torch"),
    *("tensorflow", "tensorstore", "cloudvolume", "pytest", "hypothesis"),
)


class PluginTests:
    """What precomp expects of a plugin as a whole. Subclass it in a test module and give `entry`:

        class TestPlugin(PluginTests):
            entry = "precomp_scratch"

    pytest then collects the tests.

    Attributes:
        entry: the value of the entry point, a module or `module:object`.
        distribution: the package that has the entry point; None where it need not be installed.
        sdks: modules that loading the plugin must not import, besides those that its records require.
        options: for each scheme whose options have fields without default, what a config would say.
    """

    entry: ClassVar[str]
    distribution: ClassVar[str | None] = None
    sdks: ClassVar[Sequence[str]] = ()
    options: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def declared(self, registry: Registry | None = None) -> tuple[Declaration, ...]:
        """Return what the plugin declares, in `registry` where one is given."""
        registry = registry or self.registry()
        (plugin,), (declared,) = registry.plugins, registry.declared
        assert plugin.state == "loaded", f"{self.entry}: {plugin.state}: {plugin.detail}"
        return declared

    def registry(self) -> Registry:
        """Return a registry of this plugin alone."""
        return Registry.of([EntryPoint("", self.entry, ENTRY_POINT_GROUP).load()])

    def test_it_declares_what_it_provides(self) -> None:
        """Its hooks are spelt as specified, and return well-formed records."""
        assert self.declared(), f"{self.entry}: its hooks return nothing, so it provides nothing"

    def test_it_serves_through_the_registry(self) -> None:
        """Under each of its names."""
        registry = self.registry()
        find = {
            "protocol": registry.protocol,
            "encoding": registry.codec,
            "compressor": registry.compressor_plugin,
            "exporter": registry.exporter,
        }
        for kind, name, record in map(_fields, self.declared(registry)):
            found = find[kind](name)
            assert found is record, f"{kind} {name!r}: expected {record}, found {found}"

    def test_it_is_installed(self) -> None:
        """By the entry point of its distribution, without which precomp cannot find it."""
        if self.distribution is None:
            pytest.skip("needs `distribution`")
        try:
            entries = distribution(self.distribution).entry_points
        except PackageNotFoundError as error:
            raise AssertionError(f"{self.distribution} is not installed; run pip install -e .") from error
        values = [found.value for found in entries.select(group=ENTRY_POINT_GROUP)]
        assert self.entry in values, (
            f"{self.distribution} has no entry point for {self.entry!r} in the group {ENTRY_POINT_GROUP!r}, "
            f"found {values}; look for [project.entry-points.{ENTRY_POINT_GROUP}] in its pyproject.toml, and "
            "install it again after a change"
        )

    def test_loading_is_cheap(self) -> None:
        """No SDK is imported before `open` or `build` is called, and nothing is printed."""
        printed, report = self.fresh()
        assert report["state"] == "loaded", f"{self.entry}, in a fresh interpreter: {report['detail']}"
        required = [module for one in self.declared() for module in one.record.requires]
        heavy = sorted({*_HEAVY, *self.sdks, *required} & set(report["modules"]))
        assert not heavy, (
            f"loading {self.entry} imports {', '.join(heavy)}; import it inside `open` or `build`, or inside "
            "a module that only they import"
        )
        assert not printed, f"loading {self.entry} prints {printed!r}"

    def test_a_missing_sdk_is_told(self) -> None:
        """Where it `requires` modules, it says how to install them, and `build` or `open` notices."""
        required = sorted({module for one in self.declared() for module in one.record.requires})
        if not required:
            pytest.skip("no record requires a module")
        _, report = self.fresh(required)
        assert report["state"] == "loaded", (
            f"{self.entry} cannot be loaded without {', '.join(required)}: {report['detail']}"
        )
        for kind, name, record in map(_fields, self.declared()):
            if not record.requires:
                continue
            what = f"{kind} {name!r} without {', '.join(record.requires)}"
            assert record.install_hint, f"{what}: it has no install_hint"
            error = report["errors"][f"{kind} {name}"]
            assert error is not None, (
                f"{what}: nothing was raised when it was built, so it would fail later; import it there"
            )
            assert "ImportError" in error, f"{what}: expected MissingDependencyError, found {error}"
            told = "MissingDependencyError" not in error or record.install_hint in error[-1]
            assert told, f"{what}: the error does not say {record.install_hint!r}: {error[-1]}"

    def test_exporters_export(self) -> None:
        """A mesh, and one without faces, to bytes, the same each time."""
        exporters = [record for kind, _, record in map(_fields, self.declared()) if kind == "exporter"]
        if not exporters:
            pytest.skip("it provides no mesh format")
        corners = np.array([[0, 0, 0], [10, 0, 0], [0, 20, 0], [0, 0, 30.5]], np.float32)
        faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.uint32)
        for mesh in (Mesh(corners, faces), Mesh(corners, faces[:0])):
            for record in exporters:
                files = [bytes(record.build().export(mesh)) for _ in range(2)]
                what = f"exporter {record.name!r}, {len(mesh.faces)} faces"
                assert files[0], f"{what}: the file is empty"
                assert files[0] == files[1], f"{what}: the same mesh gives other bytes the second time"

    def fresh(self, missing: Sequence[str] = ()) -> tuple[str, dict[str, Any]]:
        """Load the plugin in a fresh interpreter; return what it printed and the report of the script."""
        given = {"entry": self.entry, "missing": list(missing), "options": self.options}
        done = subprocess.run(
            [sys.executable, "-P", str(_SCRIPT), json.dumps(given)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{self.entry} cannot be loaded in a fresh interpreter:\n{done.stderr}"
        printed, _, report = done.stdout.rpartition("\n{")
        return printed.strip(), json.loads("{" + report)


def _fields(declared: Declaration) -> tuple[str, str, Any]:
    return declared.kind, declared.name, declared.record
