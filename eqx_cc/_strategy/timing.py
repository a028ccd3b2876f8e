"""Timing of several functions in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


# Seconds for one sample, and for all samples of one function.
_SAMPLE, _ENOUGH = 2e-3, 3e-2
_MIN_SAMPLES, _MAX_RUNS = 3, 1 << 18
# A function that takes so many times as long as the fastest is timed no more.
_HOPELESS = 4.0


def timed(runs: Mapping[str, Callable[[int], None]]) -> dict[str, float]:
    """The median seconds of each of `runs`, functions of the number of repetitions that
    wait for the last one.

    The runs take turns, so that a change of the machine's speed concerns all of them.
    """
    counts = {name: _count(run) for name, run in runs.items()}
    samples: dict[str, list[float]] = {name: [] for name in runs}
    spent = dict.fromkeys(runs, 0.0)
    remaining = list(runs)
    while remaining:
        for name in remaining:
            seconds = _seconds(runs[name], counts[name])
            samples[name].append(seconds / counts[name])
            spent[name] += seconds
        least = min(map(statistics.median, samples.values()))
        remaining = [
            name
            for name in remaining
            if statistics.median(samples[name]) < _HOPELESS * least
            and (spent[name] < _ENOUGH or len(samples[name]) <= _MIN_SAMPLES)
        ]
    return {name: statistics.median(times) for name, times in samples.items()}


def _count(run: Callable[[int], None]) -> int:
    """The repetitions for one sample, enough that starting a run counts for little."""
    count, seconds = 1, min(_seconds(run, 1), _seconds(run, 1))
    while seconds < _SAMPLE / 4 and count < _MAX_RUNS:
        count *= 8
        seconds = _seconds(run, count)
    return max(1, round(count * _SAMPLE / max(seconds, 1e-9)))


def _seconds(run: Callable[[int], None], count: int) -> float:
    started = time.perf_counter()
    run(count)
    return time.perf_counter() - started
