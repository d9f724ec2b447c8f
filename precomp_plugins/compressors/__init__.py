"""The compressors that ship with precomp, each a plugin like a stranger's."""
