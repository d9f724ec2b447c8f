"""Cloudpaths: the grammar by examples, round trips, and keys that must not leave the bucket."""

import os
import posixpath
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from precomp.errors import CloudPathError, InfoError, UnknownProtocolError
from precomp.interfaces import CloudPath
from precomp.url import (
    WELL_KNOWN_SCHEMES,
    ExtractedPath,
    base_cloudpath,
    extract_path,
    info_cloudpath,
    is_scheme,
    layer_cloudpath,
    parse,
    resolve,
    sibling,
)

# What may stand between two slashes. `info` is dropped at the end, and tested apart.
parts = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8
).filter(lambda part: part not in (".", "..", "info"))
literal_schemes = st.sampled_from(["gs", "s3", "mem", "boss", "ftp", "x-y.z+1"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gs://bucket/dataset/layer", ("gs", "bucket", "dataset/layer")),
        ("gs://bucket/dataset/layer/", ("gs", "bucket", "dataset/layer")),
        ("gs://bucket/dataset/layer/info", ("gs", "bucket", "dataset/layer")),
        ("gs://bucket/dataset/layer/info/", ("gs", "bucket", "dataset/layer")),
        ("gs://bucket/dataset/layer/info/info", ("gs", "bucket", "dataset/layer")),
        ("precomputed://gs://bucket/dataset/layer", ("gs", "bucket", "dataset/layer")),
        ("precomputed:///data/dataset/layer", ("file", "/data", "dataset/layer")),
        ("S3://Bucket/Dataset/Layer", ("s3", "Bucket", "Dataset/Layer")),
        ("mem://a/b/c/d/e", ("mem", "a", "b/c/d/e")),
        ("boss://collection/experiment/channel", ("boss", "collection", "experiment/channel")),
        ("gs://bucket", ("gs", "bucket", "")),
        ("gs://bucket/layer", ("gs", "bucket", "layer")),
        ("gs://info/info", ("gs", "info", "")),
        ("s3://b/hash#1/what?x=1", ("s3", "b", "hash#1/what?x=1")),
        ("mem://b/pct%41x/a b/ü", ("mem", "b", "pct%41x/a b/ü")),
        ("gs://b/back\\slash/~/c:", ("gs", "b", "back\\slash/~/c:")),
        ("http://host:8080/a/pct%41x", ("http", "host:8080", "a/pct%41x")),
        ("https://me:word@[::1]:80/a/b", ("https", "me:word@[::1]:80", "a/b")),
        ("file:///data/ds/layer/", ("file", "/data", "ds/layer")),
        ("file:///a/b/c/ds/layer/info", ("file", "/a/b/c", "ds/layer")),
        ("file:///ds/layer", ("file", "/", "ds/layer")),
        ("file:///layer", ("file", "/", "layer")),
        ("file:///", ("file", "/", "")),
        ("file:////data/./x/..//ds/layer//", ("file", "/data", "ds/layer")),
        ("file:///../..", ("file", "/", "")),
        ("file:///data/hash#1/what?x=%41 b", ("file", "/data", "hash#1/what?x=%41 b")),
        ("file:///~/ds/layer", ("file", "/~", "ds/layer")),
        ("/data/ds/layer", ("file", "/data", "ds/layer")),
        ("//data/ds/../ds/layer/info", ("file", "/data", "ds/layer")),
        ("/data/a://b", ("file", "/data", "a:/b")),
    ],
)
def test_examples(text: str, expected: tuple[str, str, str]) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("gs://neuroglancer//segmentation", "empty part"),
        ("gs://///", "empty part"),
        ("gs://", "empty part"),
        ("gs://bucket/layer//", "empty part"),
        ("gs://gs://bucket/layer", "empty part"),
        ("gs://bucket/../layer", "'..'"),
        ("gs://bucket/./layer", "'.'"),
        ("gs://../layer", "'..'"),
        ("http://host/a/../b", "'..'"),
        ("http://host//b", "empty part"),
        ("http://host/a/b?token=1", "%3F"),
        ("https://host/a/b#1", "%23"),
        ("https://host?a/b", "%3F"),
        ("gs://bucket/a\0b", "NUL"),
        ("/data/a\0b", "NUL"),
        ("file://relative/x", "absolute"),
        ("file://", "absolute"),
        ("file://~/x", "absolute"),
        ("ou3bouqjsa fkj aojsf oaojf ojsaf", "'./ou3bouqjsa fkj aojsf oaojf ojsaf'"),
        ("layer", "'./layer'"),
        ("", "no slash"),
        ("C:\\data\\ds\\layer", "no slash"),
        ("gs:/bucket/layer", "'./gs:/bucket/layer'"),
        ("://bucket/layer", "no protocol"),
        ("g s://bucket/layer", "no protocol"),
        ("C:/data/ds/layer", "no protocol"),
        ("~nobody-of-that-name/x", "home"),
        (b"gs://bucket/layer", "bytes"),
        (None, "NoneType"),
        (Path("gs://bucket/layer"), "no protocol"),
    ],
)
def test_errors_show_the_problem_and_the_grammar(text: Any, problem: str) -> None:
    with pytest.raises(CloudPathError) as caught:
        parse(text)
    assert problem in str(caught.value)
    assert "$PROTOCOL://$BUCKET/$DATASET/$LAYER" in str(caught.value)
    assert repr(os.fspath(text) if isinstance(text, Path) else text) in str(caught.value)


@pytest.mark.parametrize(
    "text", ["./ds/layer", "ds/layer", "ds//layer/", "../here/ds/layer", Path("ds/layer"), "ds/layer/info"]
)
def test_relative_paths_are_made_absolute(
    text: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert parse(text) == ("file", str(here), "ds/layer")


def test_a_path_object_needs_no_slash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert parse(Path("layer")) == parse("./layer") == ("file", str(tmp_path / "a"), "b/layer")
    assert parse(".") == parse(Path()) == ("file", str(tmp_path), "a/b")
    assert parse("..") == ("file", str(tmp_path.parent), f"{tmp_path.name}/a")


def test_home_is_expanded_in_local_paths_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert parse("~/ds/layer") == parse(Path("~/ds/layer")) == ("file", "/home/me", "ds/layer")
    assert parse("~") == ("file", "/", "home/me")
    assert parse("gs://~/ds/layer") == ("gs", "~", "ds/layer")
    assert parse("./~/ds/layer").bucket.endswith("/~")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"C:\data\ds\layer", ("file", "C:/data", "ds/layer")),
        (r"C:\data\x\..\ds\.\layer\info", ("file", "C:/data", "ds/layer")),
        ("C:/data/ds/layer/", ("file", "C:/data", "ds/layer")),
        ("C://data/ds/layer", ("file", "C:/data", "ds/layer")),
        ("file:///C:/data/ds/layer", ("file", "C:/data", "ds/layer")),
        ("file://C:/data/ds/layer", ("file", "C:/data", "ds/layer")),
        (r"C:\layer", ("file", "C:/", "layer")),
        ("C:/", ("file", "C:/", "")),
        (r"\\server\share\data\ds\layer", ("file", "//server/share/data", "ds/layer")),
        ("gs://bucket/ds/back\\slash", ("gs", "bucket", "ds/back\\slash")),
    ],
)
def test_windows_paths(text: str, expected: tuple[str, str, str]) -> None:
    path = parse(text, windows=True)
    assert path == expected
    assert parse(str(path), windows=True) == path


@pytest.mark.parametrize("text", ["file://C:layer", "file://data/layer", "layer", "C:layer"])
def test_windows_errors(text: str) -> None:
    with pytest.raises(CloudPathError):
        parse(text, windows=True)


@given(
    literal_schemes, st.lists(parts, min_size=1, max_size=6), st.sampled_from(["", "/", "/info", "/info/"])
)
def test_all_text_is_literal(scheme: str, names: list[str], end: str) -> None:
    path = parse(f"{scheme}://{'/'.join(names)}{end}")
    assert path == (scheme, names[0], "/".join(names[1:]))
    assert parse(str(path)) == parse(f"precomputed://{path}") == path


@given(st.lists(parts, max_size=6))
def test_file_path_names_the_same_folder(names: list[str]) -> None:
    folder = "/" + "/".join(names)
    path = parse(f"file://{folder}")
    assert posixpath.join(path.bucket, path.path) == folder
    assert path.path == "/".join(names[-2:])
    assert parse(str(path)) == parse(folder) == parse(Path(folder)) == path


@given(st.text() | st.text(alphabet="gs:/.~ info\\?#"))
@example("file:///a/info")
@example("/info/info")
@example("a/../info")
def test_parse_is_stable_or_refuses(text: str) -> None:
    try:
        path = parse(text)
    except CloudPathError:
        return
    assert parse(str(path)) == path
    assert parse(str(path) + "/") == path
    assert not {"", ".", "..", "info"} & {path.layer} or path.path == ""


@given(st.text(alphabet="C/\\.ab info"))
def test_windows_drive_paths_are_stable(rest: str) -> None:
    path = parse(f"C:\\{rest}", windows=True)
    assert path.scheme == "file"
    assert parse(str(path), windows=True) == path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("file:///data/ds/layer/", ("file", "/data", "ds", "layer")),
        ("gs://bucket/dataset/layer", ("gs", "bucket", "dataset", "layer")),
        ("s3://bucket/a/b/dataset/layer/info", ("s3", "bucket", "dataset", "layer")),
        ("http://host/layer", ("http", "host", "", "layer")),
        ("mem://bucket", ("mem", "bucket", "", "")),
    ],
)
def test_extract_path(text: str, expected: tuple[str, ...]) -> None:
    found = extract_path(text)
    assert found == expected
    assert found == ExtractedPath(
        protocol=expected[0], bucket_name=expected[1], dataset_name=expected[2], layer_name=expected[3]
    )


def test_extract_path_knows_the_plugins_schemes() -> None:
    assert extract_path("lucifer://a/b/c", {"lucifer"}).protocol == "lucifer"
    with pytest.raises(UnknownProtocolError, match=r"'lucifer'.*boss, file, gs, http, https, mem, s3"):
        extract_path("lucifer://a/b/c")
    with pytest.raises(UnknownProtocolError, match=r"did you mean 'https'\?"):
        extract_path("htps://a/b/c", ["ftp"])
    for scheme in WELL_KNOWN_SCHEMES:
        assert extract_path(f"{scheme}:///a/b" if scheme == "file" else f"{scheme}://a/b").protocol == scheme


@pytest.mark.parametrize(
    "text", ["filee:///a/b/c", "precomputed://filee:///a/b/c", "FILEE://", "filee://a/../b"]
)
def test_a_misspelt_protocol_comes_before_what_is_wrong_behind_it(text: str) -> None:
    with pytest.raises(UnknownProtocolError, match=r"unknown protocol 'filee' \(did you mean 'file'\?\)"):
        extract_path(text)
    with pytest.raises(CloudPathError, match=r"behind filee:// \(did you mean 'file'\?\); expected"):
        parse(text)
    with pytest.raises(CloudPathError, match="it has an empty part; expected"):
        extract_path("zzz:///a", ["zzz"])


@pytest.mark.parametrize(
    ("layer", "key", "folder", "below"),
    [
        ("gs://b/ds/seg", "8_8_8", "gs://b/ds/seg", "8_8_8"),
        ("gs://b/ds/seg", "a/./b/../8_8_8/", "gs://b/ds/seg", "a/8_8_8"),
        ("gs://b/ds/seg", "../img/8_8_8", "gs://b/ds", "img/8_8_8"),
        ("gs://b/ds/seg", "../../8_8_8", "gs://b", "8_8_8"),
        ("gs://b/ds/seg", "../seg/8_8_8", "gs://b/ds", "seg/8_8_8"),
        ("gs://b/ds/seg", ".", "gs://b/ds", "seg"),
        ("gs://b/ds/seg", "..", "gs://b", "ds"),
        ("gs://b", "8_8_8", "gs://b", "8_8_8"),
        ("file:///data/x/ds/seg", "../../8_8_8", "file:///data/x", "8_8_8"),
        ("file:///seg", "../8_8_8", "file:///", "8_8_8"),
        ("mem://b/ds/seg", "%2e%2e/#1", "mem://b/ds/seg", "%2e%2e/#1"),
    ],
)
def test_resolve(layer: str, key: str, folder: str, below: str) -> None:
    opened, inside = resolve(parse(layer), key)
    assert (str(opened), inside) == (folder, below)
    assert opened.bucket == parse(layer).bucket


@pytest.mark.parametrize(
    ("layer", "key", "problem"),
    [
        ("gs://b/ds/seg", "", "empty"),
        ("gs://b/ds/seg", "/8_8_8", "absolute"),
        ("gs://b/ds/seg", "a\0b", "NUL"),
        ("gs://b/ds/seg", "a//b", "empty part"),
        ("gs://b/ds/seg", "../../../8_8_8", "above the bucket"),
        ("gs://b/ds/seg", "../../../b/8_8_8", "above the bucket"),
        ("gs://b/ds/seg", "../..", "the bucket itself"),
        ("gs://b", ".", "the bucket itself"),
        ("file:///data/x/ds/seg", "../../../8_8_8", "above the bucket"),
    ],
)
def test_resolve_refuses(layer: str, key: str, problem: str) -> None:
    with pytest.raises(InfoError) as caught:
        resolve(parse(layer), key)
    assert problem in str(caught.value)
    assert repr(key) in str(caught.value)
    assert layer in str(caught.value)


@given(
    st.sampled_from(["gs", "file", "mem"]),
    st.lists(parts, max_size=4),
    st.lists(st.sampled_from(["..", ".", "a", "b c", "info", "..."]), min_size=1, max_size=8),
)
def test_resolve_is_what_a_file_system_does(scheme: str, names: list[str], key_parts: list[str]) -> None:
    layer, key = CloudPath(scheme, "bucket", "/".join(names)), "/".join(key_parts)
    depths = [len(names)]
    for part in key_parts:
        depths.append(depths[-1] + {"..": -1, ".": 0}.get(part, 1))
    try:
        folder, below = resolve(layer, key)
    except InfoError:
        assert min(depths) < 0 or depths[-1] == 0
        return
    assert min(depths) >= 0
    assert (folder.scheme, folder.bucket) == (layer.scheme, layer.bucket)
    assert posixpath.join(folder.path, below) == posixpath.normpath(posixpath.join(layer.path, key))
    assert folder == layer or len(folder.path) < len(layer.path)


@given(st.lists(parts, max_size=4), st.text() | st.text(alphabet="./a\\ \0"))
def test_no_key_escapes_the_bucket(names: list[str], key: str) -> None:
    layer = CloudPath("file", "/data", "/".join(names))
    try:
        folder, below = resolve(layer, key)
    except InfoError:
        return
    assert not {"", ".", ".."} & set(below.split("/"))
    assert "\0" not in below
    inside = posixpath.normpath(posixpath.join("/data", folder.path, below))
    assert inside == posixpath.join("/data", folder.path, below)
    assert inside.startswith("/data/")
    assert folder.bucket == "/data"


def test_sibling() -> None:
    path = parse("gs://b/x/ds/seg")
    assert sibling(path) == path
    assert sibling(path, dataset="other") == parse("gs://b/x/other/seg")
    assert sibling(path, layer="img") == parse("gs://b/x/ds/img")
    assert sibling(path, "other", "img") == parse("gs://b/x/other/img")
    assert sibling(parse("file:///data/ds/seg"), dataset="other") == parse("file:///data/other/seg")
    assert sibling(parse("gs://b/seg"), layer="img") == parse("gs://b/img")
    assert sibling(parse("gs://b/seg"), dataset="ds") == parse("gs://b/ds/seg")
    assert sibling(parse("gs://b"), layer="img") == parse("gs://b/img")


@given(st.lists(parts, min_size=1, max_size=4), parts, parts)
def test_sibling_names_what_it_was_told(names: list[str], dataset: str, layer: str) -> None:
    moved = sibling(CloudPath("gs", "b", "/".join(names)), dataset, layer)
    assert (moved.dataset, moved.layer) == (dataset, layer)
    assert parse(str(moved)) == moved


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "a\0", "info"])
def test_sibling_takes_single_names_only(name: str) -> None:
    with pytest.raises(CloudPathError):
        sibling(parse("gs://b/ds/seg"), layer=name)


@pytest.mark.parametrize("name", [".", "..", "a/b"])
def test_sibling_refuses_a_dataset_that_is_no_name(name: str) -> None:
    with pytest.raises(CloudPathError):
        sibling(parse("gs://b/ds/seg"), dataset=name)


def test_sibling_of_a_url() -> None:
    with pytest.raises(CloudPathError, match="%3F"):
        sibling(parse("http://host/ds/seg"), layer="a?b")


@pytest.mark.parametrize(
    ("text", "base", "info"),
    [
        ("s3://bucket/dataset/layer", "s3://bucket/dataset/", "s3://bucket/dataset/layer/info"),
        ("gs://b/x/ds/layer", "gs://b/x/ds/", "gs://b/x/ds/layer/info"),
        ("gs://b/layer", "gs://b/", "gs://b/layer/info"),
        ("gs://b", "gs://b/", "gs://b/info"),
        ("file:///data/ds/layer", "file:///data/ds/", "file:///data/ds/layer/info"),
        ("file:///layer", "file:///", "file:///layer/info"),
        ("file:///", "file:///", "file:///info"),
    ],
)
def test_texts(text: str, base: str, info: str) -> None:
    path = parse(text)
    assert (base_cloudpath(path), layer_cloudpath(path), info_cloudpath(path)) == (base, text, info)
    assert parse(info) == path


@pytest.mark.parametrize(
    ("text", "expected"),
    [("gs", True), ("x-y.z+1", True), ("g", False), ("GS", False), ("1a", False), ("a_b", False), ("", False),
     ("precomputed", False), ("gs\n", False)],
)  # fmt: skip
def test_is_scheme(text: str, expected: bool) -> None:
    assert is_scheme(text) is expected
