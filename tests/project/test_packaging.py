"""What is declared about releases and files agrees with what is tested."""

import itertools as it
import re
import tomllib

from tests.printed import ROOT


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OLDEST = (ROOT / ".ci" / "oldest.txt").read_text()
SELECTION = (ROOT / ".ci" / "selection.txt").read_text().split()


def _floors(*extras: str) -> dict[str, str]:
    optional = (PROJECT["optional-dependencies"][extra] for extra in extras)
    declared = it.chain(PROJECT["dependencies"], *optional)
    return dict(dependency.split(">=") for dependency in declared)


def test_the_oldest_releases_that_are_tested_are_the_floors():
    pinned = dict(re.findall(r"^([\w-]+)==([\w.]+?)(?:\.\*)?$", OLDEST, re.MULTILINE))
    floors = _floors("policy", "tests")
    assert len(floors) > 0
    assert {name: pinned.get(name) for name in floors} == floors


def test_every_supported_python_is_declared():
    prefix = "Programming Language :: Python :: 3."
    minors = [c.removeprefix(prefix) for c in PROJECT["classifiers"] if prefix in c]
    assert PROJECT["requires-python"] == f">=3.{minors[0]}"
    assert [int(minor) for minor in minors] == list(range(11, 11 + len(minors)))


def test_selected_tests_are_there():
    assert len(SELECTION) > 0
    assert all((ROOT / path).is_file() for path in SELECTION)
