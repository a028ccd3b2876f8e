"""The table of goals: the measurements that it takes, and the text of each row."""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..cases import CASES
from ..harness.measure import Row
from .tables import compile_seconds, seconds


ARM = "6-DOF arm, matrices"
SCALAR = tuple(name for name, case in CASES.items() if case.group == "scalar tasks")
ARGUMENTS = tuple(name for name, case in CASES.items() if case.group == "arguments")
BRUSSELATOR, LARGE = "1-D Brusselator, 1,024 states", "1-D Brusselator, 100,000 states"
BOTTLENECKS = "bottleneck 256-8-256", "bottleneck 1024-16-1024"
ARROWHEAD, MEAN_FIELD = "arrowhead, 1,024 states", "mean field, 1,024 states"
ROBOTS = "7-DOF inverse dynamics", "7-DOF forward dynamics"

OURS = "eqx_cc", "eqx_cc measured"
_DENSE = ("jax.jacfwd", "jax.jacrev", *OURS)
_SPARSE = "eqx_cc structured", "floor structured"

# What has to be measured: cases, setting, contestants.
BLOCKS = (
    ((ARM, *SCALAR), "loop", (*_DENSE, "CasADi", "floor")),
    ((ARM, *SCALAR, *ARGUMENTS), "batch 65536", (*_DENSE, "floor", "copy")),
    (("MLP 4-16-16-4",), "loop", _DENSE),
    (("MLP 4-16-16-4",), "batch 512", _DENSE),
    ((BRUSSELATOR, ARROWHEAD, MEAN_FIELD), "call", (*_DENSE, "floor")),
    ((BRUSSELATOR, MEAN_FIELD), "loop", ("jax.jacfwd", "jax.jacrev", *_SPARSE)),
    ((LARGE,), "loop", _SPARSE),
    (BOTTLENECKS, "call", (*_DENSE, "floor")),
    (ROBOTS, "loop", _DENSE),
)


class Measurements:
    """The rows that took part, by case, setting and contestant."""

    def __init__(self, rows: Iterable[Row], dtype: str):
        self._rows = {
            (row.case, row.setting, row.contestant): row
            for row in rows
            if row.status == "ok" and row.dtype == dtype
        }

    def row(self, case: str, setting: str, contestant: str) -> Row | None:
        return self._rows.get((case, setting, contestant))

    def ratio(self, case: str, setting: str, contestant: str) -> float | None:
        row = self.row(case, setting, contestant)
        return None if row is None else row.ratio

    def by(self, case: str, setting: str, one: str, other: str) -> float | None:
        """Median of `one`, in medians of `other`."""
        above, below = self.row(case, setting, one), self.row(case, setting, other)
        if above is None or below is None or not above.median or not below.median:
            return None
        return above.median / below.median


@dataclass(frozen=True)
class Goal:
    """A row of the table."""

    case: str
    goal: str
    measured: Callable[[Measurements], str]


def by_jax(measurements: Measurements, case: str, setting: str) -> str:
    """The better baseline's time."""
    rows = [measurements.row(case, setting, name) for name in _DENSE[:2]]
    return seconds(min((r.median or math.inf for r in rows if r), default=None))


def _speed(case: str, setting: str, names: Sequence[str] = OURS) -> Callable:
    """From the better baseline's time to that of each of `names`, with ratios."""

    def measured(measurements: Measurements) -> str:
        texts = []
        for name in names:
            row = measurements.row(case, setting, name)
            if row is not None and row.ratio is not None:
                times = (
                    f"{by_jax(measurements, case, setting)} -> {seconds(row.median)}"
                )
                texts.append(f"{name} {row.ratio:.3g}x ({times})")
        return "; ".join(texts) or "not measured"

    return measured


def _times(value: float | None, words: str) -> str:
    return "" if value is None else f"; {value:.3g}x {words}"


def _arm(measurements: Measurements) -> str:
    beside = _times(measurements.by(ARM, "loop", "eqx_cc", "CasADi"), "CasADi's time")
    floor = measurements.row(ARM, "loop", "floor")
    return (
        _speed(ARM, "loop")(measurements)
        + beside
        + (f"; floor {seconds(floor.median)}" if floor else "")
    )


def _together(cases: Sequence[str], setting: str, *, copy: bool = False) -> Callable:
    """The geometric mean over cases, and the least."""

    def measured(measurements: Measurements) -> str:
        texts = []
        for name in OURS:
            ratios = {case: measurements.ratio(case, setting, name) for case in cases}
            positive = {case: ratio for case, ratio in ratios.items() if ratio}
            if positive:
                mean = statistics.geometric_mean(positive.values())
                least = min(positive, key=lambda case: positive[case])
                texts.append(
                    f"{name}: geometric mean {mean:.3g}x of {len(positive)}, "
                    f"least {positive[least]:.2f}x ({least})"
                )
                if copy:
                    texts += _bandwidths(measurements, list(positive), setting, name)
        return "; ".join(texts) or "not measured"

    return measured


def _bandwidths(
    measurements: Measurements, cases: list[str], setting: str, name: str
) -> list[str]:
    rows = [measurements.row(case, setting, name) for case in cases]
    shares = [row.of_copy for row in rows if row is not None and row.of_copy]
    median = f"{statistics.median(shares):.0%}" if shares else ""
    return [f"writes at {median} of a copy's bandwidth (median)"] if shares else []


def _brusselator(measurements: Measurements) -> str:
    floor = measurements.by(BRUSSELATOR, "call", "eqx_cc", "floor")
    return _speed(BRUSSELATOR, "call")(measurements) + _times(floor, "the floor")


def _structured(measurements: Measurements) -> str:
    name = "eqx_cc structured"
    texts = _speed(BRUSSELATOR, "loop", (name,))(measurements)
    floor = measurements.by(BRUSSELATOR, "loop", name, "floor structured")
    texts += _times(floor, "writing and reading what is stored")
    small, large = (
        measurements.row(BRUSSELATOR, "loop", name),
        measurements.row(LARGE, "loop", name),
    )
    if small and large and small.median and large.median:
        growth = large.median / small.median
        texts += f"; 100,000 states take {seconds(large.median)}, {growth:.0f}x"
    floor = measurements.by(LARGE, "loop", name, "floor structured")
    return texts + _times(floor, "the floor there")


def _and(*parts: Callable[[Measurements], str]) -> Callable[[Measurements], str]:
    return lambda measurements: "; ".join(part(measurements) for part in parts)


def _robots(measurements: Measurements) -> str:
    texts = []
    for case in ROBOTS:
        first, again = compiling(measurements, case, "loop")
        words = "" if first is None else f", compile {first:.2f}x jacfwd's"
        words += "" if again is None else f", {again:.2f}x with known orders"
        texts.append(f"{case}: {_speed(case, 'loop')(measurements)}{words}")
    return "; ".join(texts)


def compiling(measurements: Measurements, case: str, setting: str):
    """Our time to trace and compile by that of `jax.jacfwd`: at first, and again."""
    ours = measurements.row(case, setting, "eqx_cc")
    theirs = measurements.row(case, setting, "jax.jacfwd")
    if ours is None or theirs is None:
        return None, None
    base = compile_seconds(theirs)
    times = compile_seconds(ours), compile_seconds(ours, again=True)
    return tuple(t / base if t is not None and base else None for t in times)


def _all_compiling(measurements: Measurements) -> str:
    pairs = {(case, setting) for cases, setting, _ in BLOCKS for case in cases}
    texts = []
    for i, words in enumerate(("cold", "with known orders")):
        ratios = {pair: compiling(measurements, *pair)[i] for pair in pairs}
        positive = {pair: ratio for pair, ratio in ratios.items() if ratio}
        if positive:
            mean = statistics.geometric_mean(positive.values())
            worst = max(positive, key=lambda pair: positive[pair])
            texts.append(
                f"{words}: geometric mean {mean:.2f}x of {len(positive)} programs, "
                f"worst {positive[worst]:.2f}x ({', '.join(worst)})"
            )
    return "; ".join(texts) or "not measured"


def _batches(measurements: Measurements) -> str:
    vectors = _together((ARM, *SCALAR), "batch 65536", copy=True)(measurements)
    arguments = _together(ARGUMENTS, "batch 65536", copy=True)(measurements)
    return f"of vectors: {vectors}; of separate arguments: {arguments}"


GOALS = (
    Goal(
        "6-DOF arm, 4x4 matrices, inside a compiled loop",
        ">= 40x; within 4x of CasADi's compiled C",
        _arm,
    ),
    Goal(
        "scalar tasks in a compiled loop",
        "geometric mean >= 10x, none below 1",
        _together(SCALAR, "loop"),
    ),
    Goal(
        "batch of 65,536 (scalar tasks and the arm)",
        "CPU: geometric mean >= 3x, none below 1; GPU: >= 2x; bandwidth reported",
        _batches,
    ),
    Goal(
        "MLP 4-16-16-4, batch 1 (in a loop) and 512",
        ">= 1.2x",
        _and(_speed("MLP 4-16-16-4", "loop"), _speed("MLP 4-16-16-4", "batch 512")),
    ),
    Goal(
        "1-D Brusselator, 1,024 states, dense result",
        ">= 5x",
        _brusselator,
    ),
    Goal(
        "same, structured result",
        ">= 100x, within 2x of writing the nonzeros; linear in n to 10^5",
        _structured,
    ),
    Goal(
        "bottleneck MLP 256-8-256 and 1024-16-1024, dense result",
        "as by hand (5x and 2.5-9x), automatically",
        _and(*(_speed(case, "call") for case in BOTTLENECKS)),
    ),
    Goal("arrowhead 1,024", ">= 14x", _speed(ARROWHEAD, "call")),
    Goal(
        "diagonal + rank one (mean field) 1,024",
        ">= 2x dense, >= 30x structured",
        _and(
            _speed(MEAN_FIELD, "call"),
            _speed(MEAN_FIELD, "loop", ("eqx_cc structured",)),
        ),
    ),
    Goal("7-DOF robot dynamics", "compile <= jacfwd's, run >= 2x", _robots),
    Goal(
        "trace + order + compile, against jacfwd's",
        "<= 1x cached, <= 2x cold with the default order",
        _all_compiling,
    ),
)


def lines(rows: Iterable[Row], dtype: str) -> list[list[str]]:
    """Case, goal and what was measured."""
    measurements = Measurements(rows, dtype)
    return [[goal.case, goal.goal, goal.measured(measurements)] for goal in GOALS]
