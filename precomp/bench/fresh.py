"""What an import costs, and finding the plugins, in fresh interpreters."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from precomp.bench.check import BenchError
from precomp.bench.peers import Contestant

__all__ = ["import_cost", "registry_cost"]

# The memory is asked for by the script itself: importing our own code would be half of what it measures.
_SCRIPT = """
import sys, time
def resident():
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1])
    except OSError:
        return 0
before, start = resident(), time.perf_counter()
exec(sys.argv[1])
seconds = time.perf_counter() - start
pages = resident() - before
import json, os
print(json.dumps({"import-time": seconds, "import-memory": pages * os.sysconf("SC_PAGE_SIZE")}))
"""


_REGISTRY = """
import sys, time
folder, count = sys.argv[1], int(sys.argv[2])
from precomp import CloudVolume
from precomp.plugins import load
sys.path.append(folder)
start = time.perf_counter()
plugins = load().plugins
seconds = time.perf_counter() - start
assert len(plugins) == count and all(plugin.state == "loaded" for plugin in plugins), plugins
import json
print(json.dumps({"registry": seconds}))
"""

_PLUGIN = """
from precomp.hookspecs import ProtocolPlugin, hookimpl

def open_store(path, options):
    raise NotImplementedError

@hookimpl
def precomp_register_protocols():
    return [ProtocolPlugin("bench-{number}", open_store)]
"""


def import_cost(contestant: Contestant) -> Mapping[str, float]:
    """Return `import-time` in seconds and `import-memory` in bytes of what opens a contestant's volumes."""
    return _run(contestant.name, _SCRIPT, contestant.imports)


def registry_cost(folder: Path, count: int, shipped: int) -> Mapping[str, float]:
    """Return `registry`, the seconds to find and ask `count` installed plugins, `shipped` of them ours.

    The others are written into `folder`, each a distribution of its own.
    """
    for number in range(count - shipped):
        module = folder / f"precomp_bench_{number}.py"
        if not module.exists():
            info = folder / f"precomp_bench_{number}-1.0.dist-info"
            info.mkdir(parents=True)
            (info / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: precomp-bench-{number}\nVersion: 1.0\n"
            )
            (info / "entry_points.txt").write_text(f"[precomp]\nbench-{number} = {module.stem}\n")
            module.write_text(_PLUGIN.format(number=number))
    return _run("precomp", _REGISTRY, str(folder), str(count))


def _run(name: str, script: str, *arguments: str) -> Mapping[str, float]:
    # Python keeps what it compiles, as it does for installed packages.
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-P", "-c", script, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=kept)
    if run.returncode:
        raise BenchError(f"{name}: {' '.join(arguments)} failed in a fresh process: {run.stderr.strip()}")
    costs: Mapping[str, float] = json.loads(run.stdout.splitlines()[-1])
    return costs
