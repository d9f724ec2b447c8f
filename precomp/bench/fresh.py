"""What an import costs, in fresh interpreters."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping

from precomp.bench.check import BenchError
from precomp.bench.peers import Contestant

__all__ = ["import_cost"]

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
__import__(sys.argv[1])
seconds = time.perf_counter() - start
pages = resident() - before
import json, os
print(json.dumps({"import-time": seconds, "import-memory": pages * os.sysconf("SC_PAGE_SIZE")}))
"""


def _environment() -> dict[str, str]:
    """This process's, but Python keeps what it compiles, as it does for installed packages."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def import_cost(contestant: Contestant) -> Mapping[str, float]:
    """Return `import-time` in seconds and `import-memory` in bytes of the contestant's package."""
    run = subprocess.run(
        [sys.executable, "-P", "-c", _SCRIPT, contestant.package],
        capture_output=True,
        text=True,
        check=False,
        env=_environment(),
    )
    if run.returncode:
        raise BenchError(f"{contestant.name}: import {contestant.package} failed: {run.stderr.strip()}")
    costs: Mapping[str, float] = json.loads(run.stdout.splitlines()[-1])
    return costs
