"""Timing functions next to each other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


# Seconds for one sample, and for all of one function; the fewest samples; the most runs
# for a sample.
_SAMPLE, _ENOUGH, _FEWEST = 2e-3, 3e-2, 3
_MOST = 1 << 18
# What takes so many times as long as the fastest is timed no more.
_HOPELESS = 4.0


def timed(runs: Mapping[str, Callable[[int], None]]) -> dict[str, float]:
    """The median seconds of each of `runs`, which do something so many times and wait.

    All take turns, so that a change of the machine's speed meets all of them.
    """
    counts = {name: _count(run) for name, run in runs.items()}
    samples: dict[str, list[float]] = {name: [] for name in runs}
    spent = dict.fromkeys(runs, 0.0)
    left = dict(runs)
    while left:
        for name, run in left.items():
            taken = _seconds(run, counts[name])
            samples[name].append(taken / counts[name])
            spent[name] += taken
        least = min(map(statistics.median, samples.values()))
        left = {
            name: run
            for name, run in left.items()
            if statistics.median(samples[name]) < _HOPELESS * least
            and (spent[name] < _ENOUGH or len(samples[name]) <= _FEWEST)
        }
    return {name: statistics.median(own) for name, own in samples.items()}


def _count(run: Callable[[int], None]) -> int:
    """How often it is run for one sample. What starting it takes counts for little."""
    count, taken = 1, min(_seconds(run, 1), _seconds(run, 1))
    while taken < _SAMPLE / 4 and count < _MOST:
        count *= 8
        taken = _seconds(run, count)
    return max(1, round(count * _SAMPLE / max(taken, 1e-9)))


def _seconds(run: Callable[[int], None], count: int) -> float:
    started = time.perf_counter()
    run(count)
    return time.perf_counter() - started
