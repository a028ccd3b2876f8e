"""Runs a host's suite with our parts and without, and says what differs."""

import fnmatch
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .known import KNOWN
from .suites import files, SUITES


ROOT = pathlib.Path(__file__).parents[2]


class Outcome(NamedTuple):
    """What became of a test: pytest's word for it, why, and how often our parts were
    called on the way."""

    word: str
    reason: str = ""
    uses: int = 0


Outcomes = dict[str, Outcome]


class Comparison(NamedTuple):
    """The outcomes with our parts, those without, and what differs: for each test the
    reason in `known.py`, `None` if it has none."""

    ours: Outcomes
    theirs: Outcomes
    different: dict[str, str | None]

    @property
    def unexpected(self) -> list[str]:
        return [test for test, reason in self.different.items() if reason is None]

    @property
    def num_used(self) -> int:
        """In how many tests our parts were called."""
        return sum(outcome.uses > 0 for outcome in self.ours.values())


class Choice(NamedTuple):
    """Which tests of a file are run, and for how long.

    - `select`: those that pytest's `-k` selects.
    - `every`: one in so many of these, the same ones every time.
    - `seconds`: the time for a file, after which its tests count as not run.
    - `thrifty`: whether those alone are run without our parts that fail with them.
    """

    select: str = ""
    every: int = 1
    seconds: float | None = None
    thrifty: bool = False


def compare(name: str, source: pathlib.Path, file: str, choice: Choice) -> Comparison:
    """Compares the tests of one file of a host's checkout."""
    ours = _run(name, source, [file], choice, replaced=True)
    tests = [file]
    if choice.thrifty and not any(x.word == "not run" for x in ours.values()):
        tests = [test for test, x in ours.items() if x.word == "failed"]
    theirs = _run(name, source, tests, choice, replaced=False) if tests else {}
    return Comparison(ours, theirs, _differences(name, ours, theirs))


def compare_all(
    name: str, source: pathlib.Path, chosen: list[str], choice: Choice
) -> Iterator[tuple[str, Comparison]]:
    """Compares the files of a suite, or those chosen, one after the other."""
    choice = choice._replace(select=choice.select or SUITES[name].select)
    for file in chosen or files(name, source):
        yield file, compare(name, source, file, choice)


def merged(comparisons: Iterable[Comparison]) -> Comparison:
    """The comparison of all files."""
    ours, theirs, different = {}, {}, {}
    for comparison in comparisons:
        ours |= comparison.ours
        theirs |= comparison.theirs
        different |= comparison.different
    return Comparison(ours, theirs, different)


def _differences(name: str, ours: Outcomes, theirs: Outcomes):
    """The tests that have another outcome, those apart for which there was no time, and
    those that are not run without our parts as they pass with them."""
    missing = Outcome("missing")
    failing = {test for test, x in ours.items() if x.word == "failed"}
    different = {}
    for test in sorted(failing | theirs.keys()):
        words = {outcomes.get(test, missing).word for outcomes in (ours, theirs)}
        if len(words) > 1 and "out of time" not in words:
            different[test] = known_reason(name, test)
    return different


def known_reason(name: str, test: str) -> str | None:
    """Why a test may differ, if that is known."""
    for pattern, reason in KNOWN.get(name, {}).items():
        if fnmatch.fnmatchcase(test.replace("[", "("), pattern.replace("[", "(")):
            return reason
    return None


def _run(
    name: str, source: pathlib.Path, tests: list[str], choice: Choice, replaced: bool
) -> Outcomes:
    """The outcomes of some tests, in a process of their own."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "outcomes")
        path.touch()
        command = [sys.executable, "-m", "pytest", "-p", "hosts.plugin", "-q"]
        command += ["-p", "no:cacheprovider", "-o", "addopts=", f"--outcomes={path}"]
        command += [f"-k={choice.select}", f"--every={choice.every}"]
        command += [f"--parts={name}"] if replaced else []
        try:
            done = subprocess.run(
                [*command, *tests],
                cwd=source,
                env=_environment(),
                capture_output=True,
                text=True,
                timeout=choice.seconds,
            )
            outcomes = _read(path)
        except subprocess.TimeoutExpired:
            late = Outcome("out of time")
            outcomes = _read(path)
            return {t: late if x.word == "not run" else x for t, x in outcomes.items()}
    if not outcomes and done.returncode != 5:  # no tests selected
        raise RuntimeError(f"pytest failed:\n{done.stdout}\n{done.stderr}")
    return outcomes


def _read(path: pathlib.Path) -> Outcomes:
    """The last outcome of every test."""
    lines = map(json.loads, path.read_text().splitlines())
    return {test: Outcome(*outcome) for test, *outcome in lines}


def _environment() -> dict[str, str]:
    """That of this process, in which the plugin and this package are found."""
    paths = [str(ROOT / "tests"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "EQX_CC_CACHE": "off",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }


def counts(comparison: Comparison) -> str:
    """How many tests had which outcome."""
    return (
        f"with our parts: {_counts(comparison.ours)}\n"
        f"without:        {_counts(comparison.theirs)}\n"
        f"our parts were called in {comparison.num_used}; {len(comparison.different)} "
        f"differ, {len(comparison.unexpected)} of them unexpectedly"
    )


def report(comparison: Comparison) -> str:
    """Counts, and every test that differs."""
    lines = [counts(comparison)]
    for test, outcome in comparison.ours.items():
        if outcome.word == "failed" and test not in comparison.different:
            lines += [f"fails either way: {test}", f"    {outcome.reason}"]
    for test, reason in comparison.different.items():
        ours = comparison.ours.get(test, Outcome("missing"))
        theirs = comparison.theirs.get(test, Outcome("missing"))
        label = "UNEXPECTED" if reason is None else f"known ({reason})"
        lines.append(f"{label}: {test}: {ours.word}, without {theirs.word}")
        lines += [f"    {x.reason}" for x in (ours, theirs) if x.reason]
    return "\n".join(lines)


def _counts(outcomes: Outcomes) -> str:
    words = Counter(outcome.word for outcome in outcomes.values())
    return ", ".join(f"{n} {word}" for word, n in sorted(words.items())) or "no tests"
