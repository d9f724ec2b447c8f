"""`http://` and `https://`: volumes on any web server, read only."""

from collections.abc import Iterable

from precomp.errors import MissingDependencyError
from precomp.hookspecs import ProtocolPlugin, hookimpl
from precomp.interfaces import CloudPath, Store
from precomp_plugins._http.options import HostOptions, HttpOptions

__all__ = ["HostOptions", "HttpOptions", "open_store", "precomp_register_protocols"]

_INSTALL = "pip install 'precomp[http]'"


def open_store(path: CloudPath, options: HttpOptions) -> Store:
    """Return the store of the layer's folder; nothing is sent yet."""
    try:
        import urllib3  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(f"{path.scheme}:// needs urllib3: {_INSTALL}") from error
    from precomp_plugins._http.store import HttpStore

    return HttpStore.opened(path, options)


@hookimpl
def precomp_register_protocols() -> Iterable[ProtocolPlugin]:
    """Return the protocols `http` and `https`."""
    return [
        ProtocolPlugin(
            scheme,
            open_store,
            options=HttpOptions,
            install_hint=_INSTALL,
            requires=("urllib3",),
            read_only=True,
        )
        for scheme in ("http", "https")
    ]
