"""Leaves the process when imported."""

raise SystemExit("no licence found")
