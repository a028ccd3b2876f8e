"""The test suites of the hosts (lineax, optimistix, diffrax, Equinox and JAX) with our
parts in place of theirs: `python -m tests.hosts lineax --source PATH`.

Their releases on PyPI have no tests, and none of their code is kept here: `PATH` is
a checkout of the release that is installed.
"""
