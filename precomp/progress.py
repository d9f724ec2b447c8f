"""Progress bars on long work: shown by tqdm on a terminal, or where they are asked for."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from precomp.errors import MissingDependencyError

__all__ = ["Tick", "progress_bar"]

Tick = Callable[[int], object]

_DELAY = 1.0  # seconds; work shorter than this needs no bar


@contextmanager
def progress_bar(total: int, text: str, wanted: bool | None, unit: str = "chunk") -> Iterator[Tick | None]:
    """Yield a function that takes, from any thread, how many more units are done; None: there is no bar.

    `wanted` True shows a bar at once, False never, None after a second where stderr is a terminal
    and tqdm is installed. Raises MissingDependencyError where True and tqdm is missing.
    """
    if wanted is False or (wanted is None and not _on_a_terminal()):
        yield None
        return
    try:
        from tqdm import tqdm
    except ImportError as error:
        if wanted is None:
            yield None
            return
        raise MissingDependencyError(
            "progress=True needs tqdm; install it with: pip install 'precomp[progress]'"
        ) from error

    class Bar(tqdm):  # type: ignore[misc]
        monitor_interval = 0  # no thread of tqdm's that outlives the bar

    updating = threading.Lock()

    def tick(done: int) -> None:
        with updating:
            bar.update(done)

    delay = 0 if wanted else _DELAY
    with Bar(total=total, desc=text, unit=unit, delay=delay, leave=bool(wanted)) as bar:
        yield tick


def _on_a_terminal() -> bool:
    try:
        return sys.stderr is not None and sys.stderr.isatty()
    except ValueError:  # closed, as daemons have it
        return False
