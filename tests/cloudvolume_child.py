"""Let cloud-volume read and write layers: `python cloudvolume_child.py JOBS`, a JSON file.

A process of its own, as that package changes much of the one it is imported into. A job is a path of a layer
with the file of an array, and `write` or `read`.
"""

import json
import sys
from pathlib import Path

import numpy as np
from cloudvolume import CloudVolume


def main(jobs: str) -> None:
    for what, path, array in json.loads(Path(jobs).read_text()):
        vol = CloudVolume(f"file://{path}", progress=False, compress=False)
        if what == "write":
            vol[:] = np.load(array)
        else:
            np.save(array, np.asarray(vol[:]))


if __name__ == "__main__":
    main(sys.argv[1])
