"""The exporters that ship with precomp, each a plugin like a stranger's."""
