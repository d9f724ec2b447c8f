"""Misspells a hook, beside a right one."""

from precomp.hookspecs import CodecPlugin, hookimpl


@hookimpl
def precomp_register_codec():
    return [CodecPlugin("misspelt", lambda info, scale: None)]


@hookimpl
def precomp_register_protocols():
    return []
