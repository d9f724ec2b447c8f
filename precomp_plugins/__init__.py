"""The plugins that ship with precomp; they use the same door as a stranger's."""
