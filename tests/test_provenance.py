"""Provenance: a dict with attributes, checked when it is read and saved."""

import copy
import json
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precomp import Vec
from precomp.errors import InfoError
from precomp.jsonio import provenance
from precomp.provenance import Provenance
from precomp.testing.strategies import json_values

EMPTY = {"sources": [], "owners": [], "processing": [], "description": ""}


def test_a_missing_file_is_an_empty_provenance() -> None:
    assert Provenance() == provenance(None, "x") == provenance({}, "x") == provenance("{}", "x") == EMPTY


def test_attributes_are_items() -> None:
    vol = Provenance({"owners": ["ada"]}, lab="B12")
    vol.processing.append({"method": "contrast"})
    vol.description = "a cube"
    vol.grant = 7
    assert vol["owners"] is vol.owners
    assert vol.lab == "B12"
    assert vol == {
        "sources": [],
        "owners": ["ada"],
        "processing": [{"method": "contrast"}],
        "description": "a cube",
        "lab": "B12",
        "grant": 7,
    }
    assert dict(vol) == vol
    assert "sources" in vol
    assert list(vol) == [*EMPTY, "lab", "grant"]
    assert vol.get("nothing") is None
    assert {"grant", "serialize", "keys"} <= set(dir(vol))
    vol.update(description="b", more=1)
    del vol.lab, vol["grant"]
    assert set(vol) == {*EMPTY, "more"}


def test_absent_fields_are_attribute_errors() -> None:
    empty = Provenance()
    assert not hasattr(empty, "colour")
    with pytest.raises(AttributeError, match="'colour'; it has sources, owners"):
        _ = empty.colour
    with pytest.raises(AttributeError, match="'colour'"):
        del empty.colour


def test_methods_are_not_overwritten() -> None:
    empty = Provenance()
    with pytest.raises(AttributeError, match=r"set provenance\['items'\]"):
        empty.items = []  # type: ignore[assignment, method-assign]
    empty["items"] = 3
    assert dict(empty.items()) == {**EMPTY, "items": 3}


def test_two_provenances_share_nothing() -> None:
    Provenance().sources.append("x")
    assert Provenance() == EMPTY


unknown = st.dictionaries(
    st.text(max_size=5).filter(lambda name: name not in EMPTY), json_values(), max_size=3
)
known = st.fixed_dictionaries(
    {},
    optional={
        "sources": st.lists(st.text(), max_size=2),
        "owners": st.lists(st.text(), max_size=2),
        "processing": st.lists(st.dictionaries(st.text(), json_values(), max_size=2), max_size=2),
        "description": st.text(),
    },
)


@given(known, unknown)
def test_files_come_back_with_their_unknown_fields(fields: dict[str, Any], extra: dict[str, Any]) -> None:
    file = {**fields, **extra}
    expected = {**EMPTY, **file}
    for given_value in (file, json.dumps(file), json.dumps(file).encode(), Provenance(file)):
        read = provenance(given_value, "x")
        assert read == expected
        assert json.loads(read.serialize().encode()) == expected
        assert provenance(read.serialize(), "x") == read


def test_copies_are_independent() -> None:
    mine = {"processing": [{"method": "a"}]}
    read = provenance(mine, "x")
    for twin in (pickle.loads(pickle.dumps(read)), copy.deepcopy(read), copy.copy(read)):
        assert type(twin) is Provenance
        assert twin == read
    read.processing[0]["method"] = "b"
    assert mine == {"processing": [{"method": "a"}]}


def test_parameters_of_numpy_are_written_as_json() -> None:
    steps = [{"shape": Vec(1, 2, 3), "array": np.arange(2), "scalar": np.float32(0.5)}]
    expected = {**EMPTY, "processing": [{"shape": [1, 2, 3], "array": [0, 1], "scalar": 0.5}]}
    assert json.loads(Provenance(processing=steps).serialize()) == expected
    assert provenance({"processing": steps}, "x") == expected


def test_half_a_surrogate_pair_can_be_saved() -> None:
    text = Provenance(description="\ud800 é").serialize()
    assert "é" in text
    assert json.loads(text.encode())["description"] == "\ud800 é"


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"sources": "gs://b/d/l"}, "provenance.sources"),
        ({"owners": ["ada", 3]}, "provenance.owners[1]"),
        ({"processing": ["sharpened"]}, "provenance.processing[0]"),
        ({"processing": [{"shape": {1, 2}}]}, "provenance.processing[0].shape"),
        ({"description": None}, "provenance.description"),
        ({"note": float("nan")}, "provenance.note"),
        ([], "provenance"),
        ("[1]", "provenance"),
    ],
)
def test_what_is_wrong_is_named(value: Any, path: str) -> None:
    with pytest.raises(InfoError) as caught:
        provenance(value, "gs://b/d/l/provenance")
    first, *lines = str(caught.value).splitlines()
    assert first.startswith("gs://b/d/l/provenance: ")
    assert [line.split(": ")[0] for line in lines] == [path]


def test_every_problem_is_listed() -> None:
    with pytest.raises(InfoError) as caught:
        provenance({"owners": [1, 2], "description": 3}, "x")
    assert [line.split(": ")[0] for line in str(caught.value).splitlines()[1:]] == [
        "provenance.owners[0]",
        "provenance.owners[1]",
        "provenance.description",
    ]


def test_text_that_is_no_json() -> None:
    with pytest.raises(InfoError, match=r"^x: this is not JSON"):
        provenance("{", "x")


@pytest.mark.parametrize("value", [object(), float("inf"), {1, 2}, {(1, 2): 3}])
def test_what_cannot_be_written(value: Any) -> None:
    with pytest.raises(InfoError, match=r"^provenance: cannot be written as JSON"):
        Provenance(note=value).serialize()
