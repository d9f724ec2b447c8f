"""JSON text, and plain values to typed records and back: the one door for everything that is JSON or TOML.

A record is an attrs class with ordinary annotations: int, float, str, bool, Any, Literal, unions, lists,
tuples, sets, dicts with text keys, and other records. Three conventions add what annotations lack:

- `Annotated[int, check]`: `check(value)` raises a ValueError that says what the value must be.
- `attrs.field(metadata={"json": "@type"})` names a JSON field whose name is not one of Python's.
- A field called `extra`, a mapping, keeps the JSON fields that the record has no name for, and the
  optional ones stated with their default value, so that the JSON comes back as it was. A record
  without `extra` refuses unknown fields.

Nothing is converted silently: no text to a number, no 10.7 to 10, no true to 1. Only an integral float
is taken for an int, since JSON does not tell 64.0 from 64, and an int for a float.
"""

from precomp.jsonio.records import attempt, provenance, structure, unstructure
from precomp.jsonio.text import MAX_DEPTH, dumps, loads, plain

__all__ = ["MAX_DEPTH", "attempt", "dumps", "loads", "plain", "provenance", "structure", "unstructure"]
