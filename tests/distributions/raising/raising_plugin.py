"""Raises in a hook."""

from precomp.hookspecs import hookimpl


@hookimpl
def precomp_register_compressors():
    raise RuntimeError("the hook is out of order\nand has a long story to tell")
