"""How fast precomp is, beside tensorstore, cloud-volume and bare numpy: `python -m precomp.bench`.

Needs `pip install 'precomp[bench]'`; a peer that is not installed is left out. How it measures and what its
columns mean is in `docs/performance.md`. Nothing else in precomp imports this package.
"""
