"""Provides what needs a package that is not installed, beside what needs none."""

from precomp.hookspecs import CodecPlugin, hookimpl

_HINT = "pip install 'lacking[holograms]'"
_NEEDED = ("a_package_that_nobody_has.part", "json")


def _build(info, scale):
    import a_package_that_nobody_has

    return a_package_that_nobody_has.Codec()


@hookimpl
def precomp_register_codecs():
    return [
        CodecPlugin("hologram", _build, install_hint=_HINT, requires=_NEEDED),
        CodecPlugin("plain", lambda info, scale: None),
    ]
