"""Claims `ftp`, as `beta` does, and an encoding of its own."""

from precomp.hookspecs import CodecPlugin, ProtocolPlugin, hookimpl
from precomp.memory import MemoryStore


@hookimpl
def precomp_register_protocols():
    return [ProtocolPlugin("ftp", lambda path, options: MemoryStore(), install_hint="alpha")]


@hookimpl
def precomp_register_codecs():
    return [CodecPlugin("alpha", lambda info, scale: None)]
