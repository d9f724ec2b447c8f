"""Which login counts where a volume and its config each say something: the nearer one."""

import itertools
from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from precomp import CloudVolume, VolumeFactory
from precomp.errors import ArgumentError, ConfigError
from precomp.hookspecs import ProtocolPlugin, hookimpl, instead_of
from precomp.interfaces import CloudPath, Store
from precomp.memory import open_shared
from precomp.plugins import Registry, load
from precomp.plugins.nearest import replaced
from precomp.plugins.probe import probe
from precomp.plugins.records import Plugin
from precomp.volume.options import Options

NEW: dict[str, Any] = {
    "num_channels": 1,
    "layer_type": "image",
    "data_type": "uint8",
    "encoding": "raw",
    "resolution": [8, 8, 40],
    "voxel_offset": [0, 0, 0],
    "volume_size": [20, 20, 10],
}
FILE = {"token": "x"}
PATH = "lab://nearest/d/em"


@attrs.frozen
class LabOptions:
    user: str = "ada"
    anonymous: bool = attrs.field(default=False, metadata=instead_of("secrets"))
    secrets: Any = attrs.field(default=None, repr=False, metadata=instead_of("anonymous"))

    def __attrs_post_init__(self) -> None:
        if self.anonymous and self.secrets is not None:
            raise ConfigError("anonymous: expected no `secrets` beside it")


opened: list[LabOptions] = []


def open_store(path: CloudPath, options: LabOptions) -> Store:
    opened.append(options)
    return open_shared(f"{path.bucket}/{path.path}")


class Lab:
    @staticmethod
    @hookimpl
    def precomp_register_protocols() -> list[ProtocolPlugin]:
        return [ProtocolPlugin("lab", open_store, options=LabOptions)]


@pytest.fixture
def registry() -> Registry:
    from precomp_plugins import memory
    from precomp_plugins.codecs import raw

    modules = [Lab, memory, raw]
    probed = [probe(Plugin(one.__name__, "tests", "1.0"), lambda one=one: one) for one in modules]  # type: ignore[misc]
    found = Registry.assemble(probed)
    CloudVolume(PATH, info=CloudVolume.create_new_info(**NEW), registry=found).commit_info()
    return found


# Far, near, and what comes of it: beside each other they would be an error.
CASES: list[tuple[dict[str, Any], dict[str, Any], LabOptions]] = [
    ({"anonymous": True, "user": "eve"}, {"secrets": FILE}, LabOptions("eve", secrets=FILE)),
    ({"secrets": FILE}, {"anonymous": True}, LabOptions(anonymous=True)),
    ({"secrets": FILE}, {"anonymous": False, "user": "eve"}, LabOptions("eve", secrets=FILE)),
    ({"anonymous": True}, {"secrets": None}, LabOptions(anonymous=True)),
    ({"anonymous": True}, {"secrets": {}}, LabOptions(secrets={})),
]


@pytest.mark.parametrize(("far", "near", "expected"), CASES)
def test_an_argument_comes_before_the_config(
    registry: Registry, far: dict[str, Any], near: dict[str, Any], expected: LabOptions
) -> None:
    known = registry.configured({"lab": far})
    CloudVolume(PATH, options=near, registry=known).shape  # noqa: B018
    assert opened[-1] == expected
    if set(near) == {"secrets"}:
        CloudVolume(PATH, secrets=near["secrets"], registry=known).shape  # noqa: B018
        assert opened[-1] == expected


@pytest.mark.parametrize(("far", "near", "expected"), CASES)
def test_a_table_comes_before_those_further_away(
    registry: Registry, far: dict[str, Any], near: dict[str, Any], expected: LabOptions
) -> None:
    volume = {"cloudpath": PATH}
    tables: dict[str, Mapping[str, Any]] = {
        "of the protocol": {
            "protocols": {"lab": far},
            "volumes": {"em": {**volume, "options": near}},
        },
        "of another volume": {
            "volumes": {"base": {**volume, "options": far}, "em": {"like": "base", "options": near}}
        },
        "that is opened": {"volumes": {"em": {**volume, "options": far}}},
        "of all": {"protocols": {"lab": far}, "volumes": {"em": volume}},
    }
    for what, config in tables.items():
        arguments = {"options": near} if what in ("that is opened", "of all") else {}
        VolumeFactory.from_dict(config, registry=registry).open("em", **arguments).shape  # noqa: B018
        assert opened[-1] == expected, what
    if set(near) == {"secrets"} and near["secrets"] is not None:
        VolumeFactory.from_dict(tables["of all"], registry=registry).open("em", **near).shape  # noqa: B018
        assert opened[-1] == expected


def test_what_comes_from_one_place_still_meets(registry: Registry) -> None:
    both: dict[str, Any] = {"anonymous": True, "secrets": FILE}
    with pytest.raises(ConfigError, match=r"^options: anonymous: expected no"):
        CloudVolume(PATH, options=both, registry=registry)
    with pytest.raises(ConfigError, match=r"^protocols\.lab: anonymous: expected no"):
        CloudVolume(PATH, registry=registry.configured({"lab": both}))
    for volume in ({"options": both}, {"options": {"anonymous": True}, "secrets": FILE}):
        config = {"volumes": {"em": {"cloudpath": PATH, **volume}}}
        with pytest.raises(ConfigError, match=r"volumes\.em.*: anonymous: expected no"):
            VolumeFactory.from_dict(config, registry=registry)
    factory = VolumeFactory.from_dict({"volumes": {"em": {"cloudpath": PATH}}}, registry=registry)
    with pytest.raises(ArgumentError, match="anonymous: expected no"):
        factory.open("em", secrets=FILE, options={"anonymous": True})


LOGINS: dict[str, dict[str, Any]] = {
    "gs": {"anonymous": True, "secrets": FILE},
    "s3": {"anonymous": True, "secrets": FILE, "profile": "lab"},
    "boss": {"token": "public", "secrets": FILE},
    "https": {"hosts": {"a.org": {"token": "x"}}, "secrets": {"a.org": {"token": "y"}}},
}
MEET = {("s3", "profile", "secrets"), ("https", "secrets", "hosts")}  # a profile says more than who asks


@pytest.mark.parametrize(
    ("scheme", "far", "near"),
    [(scheme, *pair) for scheme, ways in LOGINS.items() for pair in itertools.permutations(ways, 2)],
)
def test_the_shipped_protocols_take_the_nearer_login(scheme: str, far: str, near: str) -> None:
    known, ways = load(), LOGINS[scheme]
    record = Options(scheme, {near: ways[near]}).structured(
        scheme, known.configured({scheme: {far: ways[far], "max_attempts": 3}})
    )
    kept = {name for name in ways if getattr(record, name) not in (None, False, {})}
    assert kept == ({near, far} if (scheme, far, near) in MEET else {near})
    assert record.max_attempts == 3


def test_every_name_in_its_metadata_is_a_field() -> None:
    known = load()
    for scheme in known.schemes:
        kind = known.protocol(scheme).options
        if kind is not None:
            names = {field.name for field in attrs.fields(kind)}
            assert replaced(kind, dict.fromkeys(names, True)) <= names, scheme
