"""Cloudpaths: text to `CloudPath` and back, and the folders that a layer's info may point to.

The grammar is `$PROTOCOL://$BUCKET/$DATASET/$LAYER`, shallower and deeper paths included, or a local
path. `precomputed://` in front, a final `/` and a final `/info` are dropped (so no layer is called
`info`). All else is literal: spaces, unicode, `%41`, and for every protocol but http(s) `?` and `#`
too. An http(s) path is a URL that is sent as given; since keys are appended to it, it may have no
query and no fragment: a literal `?` is written `%3F`, `#` is `%23`.

A `file://` path is absolute and a local path is made so; both are normalised as the system would
(`..`, `.`, doubled slashes), and `~` is expanded in local paths only. In any other cloudpath `.`,
`..` and an empty part are errors.
"""

import ntpath
import os
import posixpath
import re
from collections.abc import Iterable
from pathlib import PureWindowsPath
from typing import NamedTuple

from precomp.errors import CloudPathError, InfoError, UnknownProtocolError, did_you_mean
from precomp.interfaces import CloudPath

__all__ = [
    "WELL_KNOWN_SCHEMES",
    "ExtractedPath",
    "base_cloudpath",
    "extract_path",
    "info_cloudpath",
    "is_scheme",
    "layer_cloudpath",
    "parse",
    "resolve",
    "sibling",
]

WELL_KNOWN_SCHEMES = frozenset({"boss", "file", "gs", "http", "https", "mem", "s3"})
"""Protocols that are grammatical whether or not a plugin for them is installed."""

_WINDOWS = os.name == "nt"
_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]+"  # RFC 3986; two letters at least, one is a Windows drive
_USER = re.compile(r"(?<=://)[^/@\s]+(?=@)")  # of user:password@host, which is not for everybody's eyes
_ADDRESS = re.compile(f"({_SCHEME})://(.*)", re.DOTALL)
_GRAMMAR = (
    "expected $PROTOCOL://$BUCKET/$DATASET/$LAYER (gs://bucket/dataset/layer, file:///data/dataset/layer) "
    "or a local path with a slash (/data/dataset/layer, ./layer)"
)


class ExtractedPath(NamedTuple):
    """What `extract_path` returns; dataset and layer are the last two parts, empty where absent."""

    protocol: str
    bucket_name: str
    dataset_name: str
    layer_name: str


def parse(text: str | os.PathLike[str], *, windows: bool = _WINDOWS) -> CloudPath:
    """Take a cloudpath or a local path apart. Any scheme will do, whether or not a plugin serves it.

    Args:
        text: `gs://bucket/dataset/layer`, `/data/dataset/layer`, `./layer`, or a `pathlib.Path`.
        windows: whether local paths follow the rules of Windows (`C:\\data\\dataset\\layer`).

    Raises CloudPathError, which shows the grammar, where the text is neither.
    """
    bare_word = isinstance(text, os.PathLike)  # Path('layer') is surely a path, 'layer' may be a slip
    given: object = os.fspath(text) if isinstance(text, os.PathLike) else text
    if not isinstance(given, str):
        raise _refused(given, f"it is neither str nor path but {type(given).__name__}")
    if "\0" in given:
        raise _refused(given, "it holds a NUL character")
    address = given.removeprefix("precomputed://")
    match = _ADDRESS.fullmatch(address)
    if match is None:
        return _local(_absolute(address, bare_word=bare_word, windows=windows), windows)
    scheme, rest = match[1].lower(), match[2]
    if scheme != "file":
        return _remote(given, scheme, rest)
    if windows and PureWindowsPath(rest.removeprefix("/")).drive:
        rest = rest.removeprefix("/")  # file:///C:/data
    if not (PureWindowsPath(rest).root if windows else rest.startswith("/")):
        raise _refused(given, "file:// paths are absolute; a relative one is written './layer'")
    return _local(rest, windows)


def extract_path(text: str | os.PathLike[str], known_schemes: Iterable[str] = ()) -> ExtractedPath:
    """Return protocol, bucket, dataset and layer; `known_schemes` adds to the well-known ones.

    Raises CloudPathError as `parse` does, and UnknownProtocolError for any other scheme.
    """
    known = WELL_KNOWN_SCHEMES.union(known_schemes)
    scheme = _scheme(text)
    if scheme not in {None, *known}:  # before anything else, as what is right depends on it
        raise UnknownProtocolError(
            f"{os.fspath(text)!r}: unknown protocol {scheme!r}{did_you_mean(str(scheme), known)}; "
            f"expected one of {', '.join(sorted(known))}"
        )
    path = parse(text)
    return ExtractedPath(path.scheme, path.bucket, path.dataset, path.layer)


def resolve(layer: CloudPath, key: str, what: str = "scale key") -> tuple[CloudPath, str]:
    """Return the folder to open and the key in it for a key of `layer`'s info; `what` it is stands in errors.

    A key may climb out of its layer (`../image/8_8_8`) as far as the bucket, which for `file` is the
    folder two above the layer. The key returned holds no `..`, `.` or empty part, so a Store opened
    at the folder never sees one: `gs://b/ds/seg` and `../img/8_8_8` give `gs://b/ds` and `img/8_8_8`.

    Raises InfoError, naming the key, where it is empty, absolute, holds NUL or an empty part, or
    names the bucket itself or something above it.
    """

    def refused(problem: str) -> InfoError:
        return InfoError(
            f"{what} {key!r} of {layer} {problem}; expected a relative path of a folder inside the bucket "
            f"{layer.bucket!r}, such as '8_8_40'; correct the key in the info"
        )

    if not key:
        raise refused("is empty")
    if "\0" in key:
        raise refused("holds a NUL character")
    if key.startswith("/"):
        raise refused("is absolute")
    folder, below = layer.path.split("/") if layer.path else [], list[str]()
    for part in key.removesuffix("/").split("/"):
        if not part:
            raise refused("has an empty part")
        if part == "..":
            if not below and not folder:
                raise refused("climbs above the bucket")
            (below or folder).pop()
        elif part != ".":
            below.append(part)
    if not below:  # the key is a folder above the chunks: the layer itself or one that it lies in
        if not folder:
            raise refused("is the bucket itself")
        below = [folder.pop()]
    return layer._replace(path="/".join(folder)), "/".join(below)


def sibling(path: CloudPath, dataset: str | None = None, layer: str | None = None) -> CloudPath:
    """Return `path` with another dataset or layer name, or both; a missing one is added.

    Raises CloudPathError where a name is no single part of a path.
    """
    for name in (dataset, layer):
        if not (name is None or isinstance(name, str)):
            raise _refused(name, "a dataset's or layer's name is a text")
    dataset, layer = path.dataset if dataset is None else dataset, path.layer if layer is None else layer
    above = path.path.split("/")[:-2]
    names = [dataset, layer] if dataset else [layer]
    moved = path._replace(path="/".join([*above, *names]))
    for name in names:
        problem = "a slash or NUL" if {"/", "\0"} & set(name) else _problem(path.scheme, name)
        if problem:
            raise _refused(str(moved), f"{name!r} cannot name a dataset or layer, it has {problem}")
    if layer == "info":
        raise _refused(str(moved), "no layer is called 'info'")
    return moved


def base_cloudpath(path: CloudPath) -> str:
    """Return the text of the dataset, `s3://bucket/dataset/`, with its final slash."""
    text = str(path._replace(path=path.path.rpartition("/")[0]))
    return text if text.endswith("/") else f"{text}/"


def layer_cloudpath(path: CloudPath) -> str:
    """Return the text of the layer, `gs://bucket/dataset/image`."""
    return str(path)


def info_cloudpath(path: CloudPath) -> str:
    """Return the text of the info file, `gs://bucket/dataset/image/info`."""
    return str(path._replace(path=f"{path.path}/info" if path.path else "info"))


def is_scheme(text: str) -> bool:
    """Whether cloudpaths can have this scheme: lower case, two characters at least."""
    return re.fullmatch(_SCHEME, text) is not None and text == text.lower() != "precomputed"


def _refused(text: object, problem: str) -> CloudPathError:
    shown = _USER.sub("***", repr(text))
    return CloudPathError(f"{shown} is no cloudpath: {problem}; {_GRAMMAR}")


def _problem(scheme: str, part: str) -> str | None:
    if not part:
        return "an empty part"
    if part in (".", ".."):
        return f"the part {part!r}"
    if scheme in ("http", "https") and ("?" in part or "#" in part):
        return "a query or fragment, to which no key can be appended (a literal '?' is %3F, '#' is %23)"
    return None


def _scheme(text: object) -> str | None:
    """The protocol that stands in front of a text, None where there is none."""
    given = os.fspath(text) if isinstance(text, os.PathLike) else text
    match = _ADDRESS.fullmatch(given.removeprefix("precomputed://")) if isinstance(given, str) else None
    return match[1].lower() if match else None


def _remote(text: str, scheme: str, rest: str) -> CloudPath:
    bucket, *parts = rest.removesuffix("/").split("/")
    _drop_info(parts)
    for part in (bucket, *parts):
        if problem := _problem(scheme, part):
            hint = "" if scheme in WELL_KNOWN_SCHEMES else did_you_mean(scheme, WELL_KNOWN_SCHEMES)
            raise _refused(text, f"it has {problem}" + (f" behind {scheme}://{hint}" if hint else ""))
    return CloudPath(scheme, bucket, "/".join(parts))


def _local(path: str, windows: bool) -> CloudPath:
    if windows:
        folder = PureWindowsPath(ntpath.normpath(path))
        root, parts = folder.anchor, list(folder.parts[1:])
    else:  # as text, at a third of the price; POSIX leaves '//' at the start to the system
        root, parts = "/", posixpath.normpath(path).lstrip("/").split("/")
        parts = [part for part in parts if part]
    _drop_info(parts)
    bucket = PureWindowsPath(root, *parts[:-2]).as_posix() if windows else root + "/".join(parts[:-2])
    return CloudPath("file", bucket, "/".join(parts[-2:]))


def _drop_info(parts: list[str]) -> None:
    while parts and parts[-1] == "info":
        parts.pop()


def _absolute(text: str, *, bare_word: bool, windows: bool) -> str:
    slashed = text.replace("\\", "/") if windows else text
    explicit = re.match(r"~|\.{0,2}/|\.{1,2}\Z" + ("|[A-Za-z]:/" if windows else ""), slashed)
    if not explicit and ":/" in slashed:  # gs:/bucket, ://bucket, C:/data where that is no drive
        raise _refused(text, f"no protocol stands before '://'; a local path of that name is {'./' + text!r}")
    if not explicit and not bare_word and "/" not in slashed:
        raise _refused(text, f"it has no protocol and no slash; the local folder is {'./' + text!r}")
    paths = ntpath if windows else posixpath
    expanded = paths.expanduser(text)
    if expanded.startswith("~"):
        raise _refused(text, f"there is no home directory for it; the local folder is {'./' + text!r}")
    absolute: str = paths.abspath(expanded)
    return absolute
