"""Run by `PluginTests` in a fresh interpreter, by its path: loads one plugin and prints what became of it.

Usage: `python -P _fresh.py JSON`, an object of `entry`; `missing`, modules that shall not be importable;
and `options` of the plugin's protocols. Imports nothing that loading a plugin does not need.
"""

import json
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from typing import Any

from precomp import jsonio
from precomp.hookspecs import ENTRY_POINT_GROUP, CodecPlugin, ProtocolPlugin
from precomp.info import Scale, VolumeInfo
from precomp.interfaces import CloudPath
from precomp.plugins import Registry

__all__ = ["main"]


def main(entry: str, missing: list[str], options: Mapping[str, Any]) -> None:
    """Print a JSON object: state, detail, the modules that were loaded, and the error of each build."""
    sys.modules.update(dict.fromkeys(missing))  # type: ignore[arg-type]  # None: it cannot be imported
    before = set(sys.modules)
    registry = Registry.of([EntryPoint("", entry, ENTRY_POINT_GROUP).load()])
    loaded = sorted(set(sys.modules) - before)
    (plugin,), (declared,) = registry.plugins, registry.declared
    errors = {f"{one.kind} {one.name}": _error(one.record, options) for one in declared} if missing else {}
    report = {"state": plugin.state, "detail": plugin.detail, "modules": loaded, "errors": errors}
    sys.stdout.write(f"\n{json.dumps(report)}\n")


def _error(record: Any, options: Mapping[str, Any]) -> list[str] | None:
    """Return the class names and the text of what building it raises."""
    try:
        _build(record, options)
    except Exception as error:  # noqa: BLE001  to be judged by the caller
        return [*(kind.__name__ for kind in type(error).__mro__), str(error)]
    return None


def _build(record: Any, options: Mapping[str, Any]) -> None:
    match record:
        case ProtocolPlugin(scheme=scheme):
            given = options.get(scheme, {})
            typed = record.options and jsonio.structure(given, record.options, f"options of {scheme}")
            record.open(CloudPath(scheme, "bucket", "dataset/layer"), typed)
        case CodecPlugin():
            dtype, channels = next(iter(record.dtypes or ["uint8"])), next(iter(record.channels or [1]))
            shape = (64, 64, 64)
            scale = Scale(
                "8_8_40",
                shape,
                (8, 8, 40),
                (shape,),
                record.encoding,
                compressed_segmentation_block_size=(8, 8, 8),
            )
            record.build(VolumeInfo("image", dtype, channels, (scale,)), scale)
        case _:
            record.build()


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
