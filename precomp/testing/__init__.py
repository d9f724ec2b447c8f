"""For authors of plugins and for tests: what every plugin must keep to, and strategies for hypothesis.

Needs `pip install 'precomp[testing]'`.
"""
