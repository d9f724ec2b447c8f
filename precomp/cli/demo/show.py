"""What a person gets to see of the demo: a picture, a server for Neuroglancer, and what to type next."""

import json
import shlex
import sys
import sysconfig
import urllib.parse
from pathlib import Path

import numpy as np

from precomp.imaging import label_colors, save_slices
from precomp.volume import CloudVolume

__all__ = ["next_steps", "save_picture", "write_server"]

_PORT = 9000
_VIEWER = "https://neuroglancer-demo.appspot.com/#!"

_SERVER = f'''\
"""Serve this folder to Neuroglancer in a browser on this machine. Ctrl-C stops it."""

import functools
import http.server
import pathlib


class Handler(http.server.SimpleHTTPRequestHandler):
    def end_headers(self):
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()


handler = functools.partial(Handler, directory=pathlib.Path(__file__).parent)
http.server.ThreadingHTTPServer(("127.0.0.1", {_PORT}), handler).serve_forever()
'''

_NEXT = """
Next, paste this into {python}

    from precomp import CloudVolume
    vol = CloudVolume({image!r}, mip=1)
    cutout = vol[:, :, 10:12]  # a numpy array, x y z channel
    print(vol, cutout.mean(), cutout.save_images())
    CloudVolume({segmentation!r}).save_mesh({segids})

or this into a shell

    {precomp} plugins

or see it in Neuroglancer: run

    {python} {server}

and open

    {link}"""


def save_picture(image: CloudVolume, segmentation: CloudVolume, folder: Path) -> Path:
    """Save the middle section, image beside coloured segments, and return the file.

    Raises MissingDependencyError, which names the install line, without Pillow.
    """
    z = int(image.volume_size.z) // 2
    grey = np.asarray(image[:, :, z])
    panels = np.concatenate(
        [np.repeat(grey, 3, axis=3), label_colors(np.asarray(segmentation[:, :, z, 0])[..., 0])]
    )
    return Path(save_slices(panels, folder), "00000.png")


def write_server(folder: Path) -> None:
    """Write `serve.py` into the folder: a web server whose files other web pages may read."""
    (folder / "serve.py").write_text(_SERVER)


def next_steps(folder: Path, image: CloudVolume, segids: list[int]) -> str:
    """Return what to type next, with the paths of this very demo."""
    return _NEXT.format(
        python=shlex.quote(sys.executable),
        precomp=shlex.quote(str(Path(sysconfig.get_path("scripts"), "precomp"))),
        image=f"file://{folder}/image",
        segmentation=f"file://{folder}/segmentation",
        segids=segids,
        server=shlex.quote(str(folder / "serve.py")),
        link=_link(image, segids),
    )


def _link(image: CloudVolume, segids: list[int]) -> str:
    source = f"precomputed://http://localhost:{_PORT}"
    state = {
        "position": [int(length) // 2 for length in image.volume_size],
        "layers": [
            {"type": "image", "name": "image", "source": f"{source}/image"},
            {
                "type": "segmentation",
                "name": "segmentation",
                "source": f"{source}/segmentation",
                "segments": [str(segid) for segid in segids],
            },
        ],
        "layout": "4panel",
    }
    return _VIEWER + urllib.parse.quote(json.dumps(state, separators=(",", ":")), safe=":/,[]")
