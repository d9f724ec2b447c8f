"""Keys that every store keeps as they are, and keys that every store refuses."""

__all__ = ["ILLEGAL_KEYS", "LEGAL_KEYS", "SUFFIXES"]

# No key is a folder of another one, which only some stores can hold. Neighbours become one key in a
# store that decodes, trims, folds or cuts names.
LEGAL_KEYS = (
    "info",
    "8_8_40/0-64_0-64_0-64",
    "8_8_40/64-128_0-64_0-64",
    "8_8_40/-5-11_3-19_0-16",
    "4.5_4_40/0-1_0-1_0-1",
    "mesh/12345",
    "mesh/12345:0",
    "mesh/12345:0:0-64_0-64_0-64",
    "mesh.d/Info",
    "a b/c",
    "a+b/c",
    "a%20b/c",
    "hash",
    "hash#1",
    "what",
    "what?x=1&y=[2]",
    "pct%41x/100%/~/$HOME/*",
    "pctAx/100%/~/$HOME/*",
    "ünïcödé/神経/\N{SNOWMAN}",
    "u\N{COMBINING DIAERESIS}nicode",
    "tail./gz",
    "trailing",
    "trailing ",
    " leading/-",
    "quote'\"/back/slash",
    "quote'\"/back\\slash",
    "line\nbreak",
)

ILLEGAL_KEYS = (
    *("", "/", ".", "..", "/a", "a/", "a//b", "./a", "a/.", "a/./b", "../a", "a/..", "a/../b", "a\0b"),
)

SUFFIXES = {"gzip": (".gz",), "br": (".br",), "zstd": (".zstd", ".zst")}
"""What a store that uses suffixes is given, as the shipped compressors declare them."""
