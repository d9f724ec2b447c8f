"""Raises SyntaxError when imported, as a file with a slip does, but leaves this file parseable."""

compile("def broken(:", __file__, "exec")
