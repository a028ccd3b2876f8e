"""Which tests of which host say something of our parts, and where they are."""

import importlib.metadata
import os
import pathlib
from typing import NamedTuple


VARIABLE = "EQX_CC_HOSTS"


class Suite(NamedTuple):
    """The tests of one host.

    - `repository`, `tag`: where the sources are, and their name for a release.
    - `files`: those that are run, as patterns below the checkout.
    - `select`: which tests of these, as pytest's `-k` takes it; those that our parts
        cannot reach take most of the time.
    """

    repository: str
    tag: str
    files: tuple[str, ...]
    select: str = ""


_KIDGER = "https://github.com/patrick-kidger/"

SUITES = {
    "lineax": Suite(_KIDGER + "lineax", "v{}", ("tests/test_*.py",)),
    "optimistix": Suite(
        _KIDGER + "optimistix",
        "v{}",
        (
            "tests/test_ad.py",
            "tests/test_compat.py",
            "tests/test_least_squares.py",
            "tests/test_root_find.py",
            "tests/solve/test_solve.py",
        ),
    ),
    "diffrax": Suite(
        _KIDGER + "diffrax",
        "v{}",
        (
            "test/test_very_chord.py",
            "test/test_solver.py",
            "test/test_integrate.py",
            "test/test_detest.py",
            "test/test_event.py",
            "test/test_adaptive_stepsize_controller.py",
            "test/test_global_interpolation.py",
        ),
    ),
    "equinox": Suite(
        _KIDGER + "equinox",
        "v{}",
        ("tests/test_ad.py", "tests/test_while_loop.py"),
        "jac or hess or vmap_cotangent",
    ),
    "jax": Suite(
        "https://github.com/jax-ml/jax",
        "jax-v{}",
        ("tests/api_test.py",),
        "jac or hess",
    ),
}


class NoSources(Exception):
    """The sources of a host are not there."""


def sources(name: str, given: str | None = None) -> pathlib.Path:
    """The checkout of a host: the path that is given, or else below `EQX_CC_HOSTS`."""
    above = os.environ.get(VARIABLE)
    if given is None and above is None:
        raise NoSources(f"Releases of {name} have no tests. {_advice(name)}")
    path = pathlib.Path(given) if given is not None else pathlib.Path(above or "", name)
    if not files(name, path):
        patterns = ", ".join(SUITES[name].files)
        raise NoSources(f"{path} has none of {patterns}. {_advice(name)}")
    return path.resolve()


def files(name: str, path: pathlib.Path) -> list[str]:
    """The files that are run, relative to the checkout."""
    matching = [file for pattern in SUITES[name].files for file in path.glob(pattern)]
    return sorted(str(file.relative_to(path)) for file in matching)


def _advice(name: str) -> str:
    suite = SUITES[name]
    tag = suite.tag.format(importlib.metadata.version(name))
    return (
        f"Run `git clone --depth 1 --branch {tag} {suite.repository} PATH/{name}` and "
        f"give `--source PATH/{name}`, or set `{VARIABLE}=PATH`."
    )
