"""Decoding in helper processes, by libraries that damaged bytes would bring down."""
