"""`python -m precomp` is the `precomp` command."""

import sys

from precomp.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
