"""Another copy of the distribution `alpha`, found later on the path or earlier."""

from precomp.hookspecs import CodecPlugin, hookimpl


@hookimpl
def precomp_register_codecs():
    return [CodecPlugin("alpha-old", lambda info, scale: None)]
