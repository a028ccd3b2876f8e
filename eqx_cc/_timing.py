"""Timing functions next to each other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


# Seconds for one sample, and for all of one function; the fewest samples.
_SAMPLE, _ENOUGH, _FEWEST = 2e-3, 3e-2, 3
# What takes so many times as long as the fastest is timed no more.
_HOPELESS = 4.0


def timed(runs: Mapping[str, Callable[[int], None]]) -> dict[str, float]:
    """The median seconds of each of `runs`, which do something so many times and wait.

    All take turns, so that a change of the machine's speed meets all of them.
    """
    first = {name: _seconds(run, 1) for name, run in runs.items()}
    first = {name: min(first[name], _seconds(run, 1)) for name, run in runs.items()}
    counts = {name: max(1, round(_SAMPLE / max(t, 1e-7))) for name, t in first.items()}
    samples = {name: [taken] for name, taken in first.items()}
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


def _seconds(run: Callable[[int], None], count: int) -> float:
    started = time.perf_counter()
    run(count)
    return time.perf_counter() - started
