"""JSON text and typed records: strict, exact both ways, every problem named."""

import enum
import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import attrs
import numpy as np
import pytest
from attrs import validators
from hypothesis import given
from hypothesis import strategies as st

from precomp import Bbox, Vec
from precomp.errors import ArgumentError, ConfigError, InfoError, MeshError
from precomp.jsonio import MAX_DEPTH, attempt, dumps, loads, plain, structure, unstructure
from precomp.testing.strategies import json_values


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


# --- text ---


@given(json_values(), st.booleans())
def test_text_out_is_values_in(value: Any, compact: bool) -> None:
    data = dumps(value, compact=compact)
    assert loads(data, "x") == loads(data.decode(), "x") == value
    assert repr(json.loads(data)) == repr(value)  # 4 is not 4.0, and keys keep their order


def test_layout() -> None:
    value: dict[str, Any] = {
        "type": "image",
        "sizes": [[64, 64.5, -1], []],
        "names": ["[\n 1,\n 2\n]"],
        "none": None,
        "µ": {},
    }
    assert dumps(value).decode() == (
        "{\n"
        ' "type": "image",\n'
        ' "sizes": [\n'
        "  [64, 64.5, -1],\n"
        "  []\n"
        " ],\n"
        ' "names": [\n'
        '  "[\\n 1,\\n 2\\n]"\n'
        " ],\n"
        ' "none": null,\n'
        ' "µ": {}\n'
        "}"
    )
    assert dumps({"a": [1, 2], "b": "c d"}, compact=True) == b'{"a":[1,2],"b":"c d"}'


def test_half_a_surrogate_pair_survives() -> None:
    value = loads(b'["\\ud800", "\\ud83d\\ude00"]', "x")
    assert value == ["\ud800", "\U0001f600"]
    assert loads(dumps(value), "x") == value


def test_a_byte_order_mark_is_ignored_and_the_last_of_two_equal_keys_counts() -> None:
    assert loads(b'\xef\xbb\xbf{"a": 1, "a": 2}', "x") == {"a": 2}
    assert loads('\ufeff{"a": 1}', "x") == {"a": 1}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xff{}", "byte 0 is 0xff"),
        (b'{"a": "\xe9"}', "byte 7 is 0xe9"),
        ("{}".encode("utf-16"), "UTF-8"),
        (b"", "line 1 column 1"),
        (b'{"a": 1,\n "b": }', "line 2 column 7"),
        (b"{'a': 1}", "line 1 column 2"),
        (b"[1, 2] x", "line 1 column 8"),
        (b"[1, 2", "line 1"),
        (b"[NaN]", "NaN"),
        (b"[-Infinity]", "-Infinity"),
        (b"[1e999]", "1e999"),
        (b"[" + b"1" * 10_000 + b"]", "digits"),
        (b"[" * 200_000, "deep"),
        (b"[" * 200_000 + b"]" * 200_000, "deep"),
        (b'{"a":' * 200_000 + b"1" + b"}" * 200_000, "deep"),
        (json.dumps(nested(MAX_DEPTH + 1)).encode(), "deep"),
    ],
    ids=lambda value: value[:12].decode("latin-1") if isinstance(value, bytes) else value,
)
def test_what_is_no_json(data: bytes, text: str) -> None:
    with pytest.raises(InfoError) as caught:
        loads(data, "gs://bucket/layer/info")
    assert str(caught.value).startswith("gs://bucket/layer/info: ")
    assert text in str(caught.value)
    assert len(str(caught.value)) < 300


def test_the_caller_chooses_the_error() -> None:
    with pytest.raises(MeshError, match=r"^mesh/1:0: this is not JSON"):
        loads(b"{", "mesh/1:0", MeshError)


def test_the_deepest_value_goes_both_ways() -> None:
    deepest = nested(MAX_DEPTH)
    assert loads(dumps(deepest), "x") == deepest
    with pytest.raises(ArgumentError, match="deep"):
        dumps([deepest])
    side_by_side: list[Any] = ['"[' * 2 * MAX_DEPTH, "\\", *[[]] * 2 * MAX_DEPTH]
    assert loads(dumps(side_by_side), "x") == side_by_side


def test_depth_does_not_hang_on_the_recursion_limit() -> None:
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(10**6)
        with pytest.raises(InfoError, match="deep"):
            loads(b"[" * 10**6, "x")
    finally:
        sys.setrecursionlimit(limit)


# --- plain ---


def test_plain_makes_json_of_what_users_have() -> None:
    given_values = {
        "vec": Vec(1, 2, 3),
        "array": np.arange(4, dtype=np.uint8).reshape(2, 2),
        "scalars": (np.int64(-5), np.float32(0.5), np.bool_(True), np.str_("a")),
        "kept": [1, 1.0, True, None, "b"],
    }
    result = plain(given_values, "info")
    assert result == {
        "vec": [1, 2, 3],
        "array": [[0, 1], [2, 3]],
        "scalars": [-5, 0.5, True, "a"],
        "kept": [1, 1.0, True, None, "b"],
    }
    assert [type(item) for item in result["scalars"]] == [int, float, bool, str]
    assert [type(item) for item in result["kept"]] == [int, float, bool, type(None), str]
    assert type(result["vec"]) is list
    assert loads(dumps(given_values), "x") == result


@given(json_values())
def test_plain_is_a_deep_copy(value: Any) -> None:
    before = repr(value)
    result = plain({"a": [value]}, "info")
    assert repr(result) == repr({"a": [value]})
    result["a"].append(1)
    if isinstance(value, (list, dict)):
        result["a"][0].clear()
    assert repr(value) == before


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": [1, {2}]}, "info.a[1]"),
        ({"a": {"b c": b"bytes"}}, "info.a['b c']"),
        ({"a": [float("nan")]}, "info.a[0]"),
        ({"a": np.array([1.0, np.inf])}, "info.a[1]"),
        ({"a": {1: 2}}, "info.a"),
        ({"a": 1j}, "info.a"),
        ({"a": np.datetime64("2020-01-01")}, "info.a"),
        ({"a": Path("x")}, "info.a"),
        ({"a": Bbox((0, 0, 0), (1, 1, 1))}, "info.a"),
    ],
)
def test_what_has_no_json_is_named(value: Any, path: str) -> None:
    for function in (plain, dumps):
        with pytest.raises(ArgumentError) as caught:
            function(value, "info")
        assert str(caught.value).startswith(f"{path}: ")
    with pytest.raises(InfoError):
        plain(value, "info", InfoError)


def test_a_circle_is_too_deep() -> None:
    circle: dict[str, Any] = {}
    circle["again"] = circle
    with pytest.raises(ArgumentError, match="deep"):
        plain(circle, "info")


# --- records ---


class Level(enum.IntEnum):
    LOW = 1


class Colour(enum.Enum):
    RED = "red"


def _upper(value: str) -> str:
    return value.upper()


@attrs.frozen
class Inner:
    name: str
    levels: tuple[int, ...] = ()


@attrs.frozen
class Options:
    """What a plugin's author would write, one string annotation included."""

    root: str
    retries: int = attrs.field(default=3, validator=validators.ge(0))
    timeout: float = attrs.field(default=30.0, validator=[validators.instance_of(float), validators.gt(0)])
    fsync: bool = False
    token: str | None = None
    mode: Literal["fast", "safe", 1] = "safe"
    hosts: list[str] = attrs.field(factory=list)
    corner: tuple[int, float, str] = (0, 0.0, "")
    headers: dict[str, str] = attrs.field(factory=dict)
    tables: Mapping[str, Inner] = attrs.field(factory=dict)
    inner: "Inner | None" = None
    ports: Sequence[int] = ()
    labels: frozenset[str] = frozenset()
    either: bool | str = False
    several: str | list[str] = ""
    count: Literal["auto"] | int = "auto"
    anything: Any = None
    untyped: list = attrs.field(factory=list)  # type: ignore[type-arg]
    folder: Path = Path("/tmp")
    level: Level = Level.LOW
    colour: Colour = Colour.RED
    even: Annotated[int, "a remark", lambda value: _even(value)] = 0
    upper: str = attrs.field(default="a", converter=_upper, validator=validators.max_len(3))


def _even(value: int) -> None:
    if value % 2:
        raise ValueError("must be even")


FULL: dict[str, Any] = {
    "root": "/data",
    "retries": 0,
    "timeout": 5,
    "fsync": True,
    "token": "t",
    "mode": 1,
    "hosts": ["a", "b"],
    "corner": [1, 2, "x"],
    "headers": {"A-B": "c"},
    "tables": {"t": {"name": "n", "levels": [1, 2]}},
    "inner": {"name": "i"},
    "ports": [80],
    "labels": ["l"],
    "either": "auto",
    "several": ["a"],
    "count": 2,
    "anything": {"a": [1, None]},
    "untyped": [1, "a"],
    "folder": "/data/x",
    "level": 1,
    "colour": "red",
    "even": 4,
    "upper": "abc",
}


def configure(**table: Any) -> Options:
    return structure({"root": "/data", **table}, Options, "protocols.ftp", ConfigError)


def complaints(**table: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        configure(**table)
    assert caught.value.__cause__ is not None
    return str(caught.value).splitlines()


def test_ordinary_annotations() -> None:
    assert configure() == Options("/data")
    assert structure(FULL, Options, "x") == Options(
        root="/data",
        retries=0,
        timeout=5.0,
        fsync=True,
        token="t",
        mode=1,
        hosts=["a", "b"],
        corner=(1, 2.0, "x"),
        headers={"A-B": "c"},
        tables={"t": Inner("n", (1, 2))},
        inner=Inner("i"),
        ports=(80,),
        labels=frozenset({"l"}),
        either="auto",
        several=["a"],
        count=2,
        anything={"a": [1, None]},
        untyped=[1, "a"],
        folder=Path("/data/x"),
        level=Level.LOW,
        colour=Colour.RED,
        even=4,
        upper="ABC",
    )


def test_unstructure_gives_plain_values() -> None:
    options = structure(FULL, Options, "x")
    result = unstructure(options)
    assert result == {**FULL, "inner": {"name": "i", "levels": []}, "upper": "ABC"}
    assert json.loads(json.dumps(result)) == result
    assert structure(result, Options, "x") == options


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ({"root": 1}, "protocols.ftp.root: expected a text, got 1"),
        ({"retries": "10"}, "protocols.ftp.retries: expected an integer, got '10'"),
        ({"retries": 10.7}, "protocols.ftp.retries: expected an integer, got 10.7"),
        ({"retries": True}, "protocols.ftp.retries: expected an integer, got True"),
        ({"timeout": "1.5"}, "protocols.ftp.timeout: expected a number, got '1.5'"),
        ({"timeout": False}, "protocols.ftp.timeout: expected a number, got False"),
        ({"fsync": 1}, "protocols.ftp.fsync: expected true or false, got 1"),
        ({"token": 5}, "protocols.ftp.token: expected a text, got 5"),
        ({"mode": True}, "protocols.ftp.mode: expected 'fast' or 'safe' or 1, got True"),
        (
            {"mode": "save"},
            "protocols.ftp.mode: expected 'fast' or 'safe' or 1 (did you mean 'safe'?), got 'save'",
        ),
        ({"mode": ["fast"]}, "protocols.ftp.mode: expected 'fast' or 'safe' or 1, got ['fast']"),
        ({"hosts": "abc"}, "protocols.ftp.hosts: expected a list, got 'abc'"),
        ({"hosts": ["a", 1]}, "protocols.ftp.hosts[1]: expected a text, got 1"),
        ({"corner": [1, 2.0]}, "protocols.ftp.corner: expected 3 values, got [1, 2.0]"),
        ({"corner": [1, 2.0, 3]}, "protocols.ftp.corner[2]: expected a text, got 3"),
        ({"headers": []}, "protocols.ftp.headers: expected an object, got []"),
        ({"headers": {"A-B": 1}}, "protocols.ftp.headers['A-B']: expected a text, got 1"),
        ({"tables": {"t": {"name": None}}}, "protocols.ftp.tables.t.name: expected a text, got None"),
        ({"inner": {}}, "protocols.ftp.inner.name: required field missing"),
        (
            {"inner": {"name": "i", "level": 1}},
            "protocols.ftp.inner.level: unknown field (did you mean 'levels'?)",
        ),
        ({"labels": [["unhashable"]]}, "protocols.ftp.labels[0]: expected a text, got ['unhashable']"),
        ({"either": 1}, "protocols.ftp.either: expected true or false or a text, got 1"),
        ({"several": {}}, "protocols.ftp.several: expected a text or list, got {}"),
        ({"count": "aut"}, "protocols.ftp.count: expected 'auto' or an integer, got 'aut'"),
        ({"even": 3}, "protocols.ftp.even: must be even, got 3"),
        (
            {"retrys": 1},
            "protocols.ftp.retrys: unknown field (did you mean 'retries'?), expected root, retries",
        ),
        ({"@x y": 1}, "protocols.ftp['@x y']: unknown field, expected root"),
        ({"retries": -1}, "protocols.ftp.retries: 'retries' must be >= 0: -1"),
        ({"upper": "abcd"}, "protocols.ftp: Length of 'upper' must be <= 3: 4"),
        ({"folder": 1}, "protocols.ftp.folder: "),
        ({"level": 5}, "protocols.ftp.level: 5 is not a valid Level"),
        ({"level": "1"}, "protocols.ftp.level: expected an integer, got '1'"),
        ({"colour": "rot"}, "protocols.ftp.colour: 'rot' is not a valid Colour"),
    ],
)
def test_one_problem(table: dict[str, Any], line: str) -> None:
    (found,) = complaints(**table)
    assert found.startswith(line)


def test_every_problem_is_listed() -> None:
    lines = complaints(retries=-1, timeout=-2.0, fsync=0, hosts=[1, "a", 2], color="red")
    assert [line.split(": ")[0] for line in lines] == [
        "protocols.ftp.color",
        "protocols.ftp.fsync",
        "protocols.ftp.hosts[0]",
        "protocols.ftp.hosts[2]",
        "protocols.ftp.retries",
        "protocols.ftp.timeout",
    ]


def test_a_validator_may_raise_anything() -> None:
    def broken(_: Any, __: Any, value: int) -> None:
        raise ZeroDivisionError("of the plugin" if value else "")

    @attrs.frozen
    class Broken:
        number: int = attrs.field(validator=broken)

    whose = rf"raised by {re.escape(__name__)}\..*\.Broken"
    with pytest.raises(ConfigError, match=rf"^x\.number: ZeroDivisionError: of the plugin, {whose}$"):
        structure({"number": 1}, Broken, "x", ConfigError)
    with pytest.raises(ConfigError, match=rf"^x\.number: ZeroDivisionError, {whose}$"):
        structure({"number": 0}, Broken, "x", ConfigError)


def test_a_validator_is_quoted_as_it_speaks() -> None:
    """Those of attrs pass on the field and the value, too, and KeyError shows a repr of its argument."""

    def broken(_: Any, __: Any, value: str) -> None:
        raise KeyError("boom")

    @attrs.frozen
    class Checked:
        mode: str = attrs.field(default="a", validator=validators.in_(["a", "b"]))
        name: str = attrs.field(default="x", validator=validators.matches_re("[a-z]+"))
        count: Any = attrs.field(default=1, validator=validators.instance_of(int))
        word: str = attrs.field(default="", validator=validators.optional(broken))

    given = {"mode": "q", "name": "7", "count": "x", "word": ""}
    record, found = attempt(given, Checked, "x")
    assert record is None
    texts = dict(found)
    assert texts[".mode"] == "'mode' must be in ['a', 'b'] (got 'q')"
    assert texts[".name"].startswith("'name' must match regex '[a-z]+' ('7' doesn't)")
    assert texts[".count"].startswith("'count' must be <class 'int'> (got 'x' that is a <class 'str'>).")
    assert texts[".word"].startswith("KeyError: boom, raised by ")
    assert not [text for text in texts.values() if "Attribute(" in text]


def test_a_class_that_cannot_be_used_is_named() -> None:
    @attrs.frozen
    class Inner:
        where: "NotDefined"  # type: ignore[name-defined]  # noqa: F821

    @attrs.frozen
    class Outer:
        inner: Inner | None = None

    def fails() -> int:
        raise KeyError("no default")

    @attrs.frozen
    class Unready:
        number: int = attrs.field(factory=fails)

    for cls, why in ((Outer, "NameError: name 'NotDefined'"), (Unready, "KeyError: no default")):
        for call in (structure, attempt):
            with pytest.raises(ConfigError, match=rf"^x: .*{cls.__name__}.*{why}.*correct the class$"):
                call({}, cls, "x", ConfigError)


def test_a_key_that_is_no_text_is_named() -> None:
    @attrs.frozen
    class Labelled:
        labels: dict[str, str] = attrs.field(factory=dict)

    _, found = attempt({3: 4, "labels": {5: "x"}}, Labelled, "x")
    assert dict(found) == {
        "[3]": "unknown field, expected labels",
        ".labels[5]": "expected a text as key, got 5",
    }


def test_a_default_that_depends_on_the_record_is_no_problem() -> None:
    @attrs.frozen
    class Dependent:
        name: str
        length: int = attrs.field(validator=validators.ge(0))
        double: int = attrs.field(
            default=attrs.Factory(lambda self: 2 * self.length, takes_self=True), validator=validators.ge(0)
        )

    assert structure({"name": "a", "length": 2}, Dependent, "x") == Dependent("a", 2, 4)
    with pytest.raises(ConfigError) as caught:
        structure({"name": 1, "length": -1}, Dependent, "x", ConfigError)
    assert str(caught.value).splitlines() == [
        "x.name: expected a text, got 1",
        "x.length: 'length' must be >= 0: -1",
    ]


def test_long_lists_of_problems_and_long_values_are_cut() -> None:
    lines = complaints(hosts=list(range(1000)))
    assert lines[-1] == "and 950 more"
    assert len(lines) == 51
    (line,) = complaints(retries="9" * 10_000)
    assert len(line) < 150
    (line,) = complaints(retries=nested(500))
    assert len(line) < 150


def test_an_annotation_that_json_cannot_hold_is_named() -> None:
    @attrs.frozen
    class Odd:
        stream: complex

    with pytest.raises(ConfigError, match="complex"):
        structure({"stream": 1}, Odd, "x", ConfigError)


def test_extra_keeps_what_has_no_field_of_its_own() -> None:
    @attrs.frozen
    class Open:
        kind: str = attrs.field(default="raw", metadata={"json": "@kind"})
        made: list[int] = attrs.field(factory=list)
        note: str | None = None
        first: int = attrs.field(default=attrs.Factory(lambda self: len(self.kind), takes_self=True))
        extra: Mapping[str, Any] = attrs.field(factory=dict)

    value = {"@kind": "raw", "extra": {"a": 1}, "kind": 5, "note": None, "first": 3}
    record = structure(value, Open, "x")
    assert record.extra == {"@kind": "raw", "extra": {"a": 1}, "kind": 5, "note": None}
    assert unstructure(record) == value
    assert unstructure(attrs.evolve(record, kind="gzip", made=[1])) == {**value, "@kind": "gzip", "made": [1]}
    assert unstructure(structure({}, Open, "x")) == {"first": 3}
    with pytest.raises(InfoError, match=r"^x\.@kind: expected a text, got 1$"):
        structure({"@kind": 1}, Open, "x")


@given(json_values())
def test_scalars_are_never_guessed(value: Any) -> None:
    is_integer = type(value) is int
    kinds: list[tuple[type[Any], bool]] = [
        (int, is_integer or (type(value) is float and value.is_integer())),
        (float, type(value) is float or (is_integer and abs(value) < 2**1000)),
        (str, type(value) is str),
        (bool, type(value) is bool),
    ]
    for kind, fits in kinds:
        if fits:
            result = structure(value, kind, "x")
            assert type(result) is kind
            assert result == value or math.isclose(result, value)
        elif not is_integer or kind is not float:
            with pytest.raises(InfoError, match=r"^x: expected "):
                structure(value, kind, "x")


def test_an_integer_too_large_for_a_float() -> None:
    with pytest.raises(InfoError, match=r"^x: int too large"):
        structure(10**400, float, "x")
    (line,) = complaints(timeout=10**400)
    assert line.startswith("protocols.ftp.timeout: int too large")
