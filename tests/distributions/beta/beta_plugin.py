"""Claims `ftp`, as `alpha` does."""

from precomp.hookspecs import ProtocolPlugin, hookimpl
from precomp.memory import MemoryStore


@hookimpl
def precomp_register_protocols():
    return [ProtocolPlugin("ftp", lambda path, options: MemoryStore(), install_hint="beta")]
