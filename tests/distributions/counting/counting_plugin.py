"""Counts the calls of its hook, which waits at a gate."""

import threading

from precomp.hookspecs import hookimpl

calls: list[None] = []
gate = threading.Event()


@hookimpl
def precomp_register_protocols():
    calls.append(None)
    gate.wait(60)
    return []
