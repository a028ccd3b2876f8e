"""Where the default is slower than the better of JAX's two modes, worst first.

    python -m benchmarks.never [--group NAME ...] [--setting NAME ...] [--seconds 2]
        [--json FILE]

measures the default, `jax.jacfwd` and `jax.jacrev` for every dense case, alone and in a
loop, and in one call for the functions of `tests.zoo`. It prints for each by how many
times the default is faster, and how many times as long it takes to trace and compile.
A row is repeated where it is slower, or takes more than twice as long to compile. The
goals: 98 percent of rows at least 0.95 times as fast and all at least 0.8, in geometric
mean 1.5; compilation at most twice as long, in geometric mean not longer. The
documentation shows what `--json docs/benchmarks/never.json` has written.
"""

import argparse
import importlib
import itertools
import math
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from .cases import Case, CASES
from .harness import rows as files
from .harness.contestants import BASELINES, contestants
from .harness.measure import measure, Row
from .reports import tables


DEFAULT, ZOO = "eqx_cc", "zoo"
_SETTINGS = "call", "loop"
_NEARLY_ALL, _ALWAYS, _LONGEST = 0.95, 0.8, 2.0


class Comparison(NamedTuple):
    """The default beside the better mode. More is better for `ratio`, less for
    `compile_ratio`."""

    case: str
    setting: str
    ratio: float
    compile_ratio: float


def compared(rows: Sequence[Row]) -> Comparison | None:
    """The comparison of the rows of one case in one setting, if it was measured."""
    measured = {row.contestant: row for row in rows if row.status == "ok"}
    peers = [measured[name] for name in BASELINES if name in measured]
    ours = measured.get(DEFAULT)
    if ours is None or not peers or ours.ratio is None:
        return None
    shortest = min(map(_preparation, peers))
    return Comparison(
        ours.case, ours.setting, ours.ratio, _preparation(ours) / shortest
    )


def _preparation(row: Row) -> float:
    return sum(x or 0.0 for x in (row.trace, row.lower, row.compile))


def summary(comparisons: Sequence[Comparison]) -> list[str]:
    """What the goals are about."""
    ratios = [c.ratio for c in comparisons]
    times = [c.compile_ratio for c in comparisons]
    share = statistics.mean(ratio >= _NEARLY_ALL for ratio in ratios)
    return [
        f"{len(ratios)} rows: {100 * share:.0f} percent at least {_NEARLY_ALL}, worst "
        f"{min(ratios):.2f}, geometric mean {_geometric_mean(ratios):.2f}",
        f"trace and compile: worst {max(times):.2f}, geometric mean "
        f"{_geometric_mean(times):.2f}",
    ]


def worst_first(comparisons: Sequence[Comparison], count: int | None = None) -> str:
    """A table of the comparisons, or of so many of them."""
    cells = [
        (c.case, c.setting, f"{c.ratio:.2f}", f"{c.compile_ratio:.2f}")
        for c in sorted(comparisons, key=lambda c: c.ratio)[:count]
    ]
    heads = "case", "setting", "times as fast", "trace and compile"
    return tables.table(heads, cells)


def report(document: Mapping[str, Any], count: int = 20) -> str:
    """What the documentation says of a file of measurements: the machine, the summary,
    and the worst rows."""
    rows = [Row(**row) for row in document["rows"]]
    groups = itertools.groupby(rows, key=lambda row: (row.case, row.setting))
    comparisons = [c for _, group in groups if (c := compared(list(group)))]
    about = document["machine"]
    machine = f"{about['processor']}, {about['cores']} cores, JAX {about['jax']}"
    lines = [f"- {line[0].upper()}{line[1:]}." for line in summary(comparisons)]
    return "\n".join(
        [f"On {machine}:", "", *lines, "", worst_first(comparisons, count)]
    )


def _geometric_mean(values: Sequence[float]) -> float:
    return math.exp(statistics.mean(map(math.log, values)))


def _loses(comparison: Comparison | None) -> bool:
    if comparison is None:
        return False
    return comparison.ratio < _NEARLY_ALL or comparison.compile_ratio > _LONGEST


def _better(first: Sequence[Row], second: Sequence[Row]) -> Sequence[Row]:
    """Of two measurements, that in which the default is faster, with the shorter of
    both preparations of each contestant. Both are of the same programs: what is noise
    in one of them is not in the other."""
    one, two = compared(first), compared(second)
    if one is None or two is None:
        return first
    rows = second if two.ratio > one.ratio else first
    pairs = zip(first, second)
    return [_prepared(row, min(pair, key=_time)) for row, pair in zip(rows, pairs)]


def _time(row: Row) -> float:
    return _preparation(row) if row.status == "ok" else math.inf


def _prepared(row: Row, like: Row) -> Row:
    """A row with the times of another to trace, lower and compile."""
    return replace(row, trace=like.trace, lower=like.lower, compile=like.compile)


def _measured(case: Case, setting: str, seconds: float) -> Sequence[Row]:
    everyone = contestants()
    chosen = {name: everyone[name] for name in (*BASELINES, DEFAULT)}
    rows = measure(case, setting, "float64", chosen, seconds)
    if _loses(compared(rows)):
        rows = _better(rows, measure(case, setting, "float64", chosen, seconds))
    return rows


def _zoo() -> Iterator[Case]:
    """The functions of the tests, which are imported if they are to be measured. Those
    of anything but arrays of floats are left out: JAX has no such transforms."""
    for name, case in importlib.import_module("tests.zoo").ZOO.items():
        fun, point = case.build()
        if all(map(eqx.is_inexact_array_like, jax.tree.leaves(point))):
            yield Case(name, ZOO, fun, point, settings=("call",))


def _cases(groups: Sequence[str]) -> Iterator[Case]:
    """The cases of the groups, or of all."""
    chosen = [case for case in CASES.values() if case.group in (groups or [case.group])]
    yield from (case for case in chosen if case.is_dense)
    if not groups or ZOO in groups:
        yield from _zoo()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.never")
    groups = [*dict.fromkeys(case.group for case in CASES.values()), ZOO]
    several: dict[str, Any] = {"action": "extend", "nargs": "+", "metavar": "NAME"}
    parser.add_argument("--group", default=[], choices=groups, **several)
    parser.add_argument("--setting", default=[], choices=_SETTINGS, **several)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each row")
    parser.add_argument("--json", metavar="FILE")
    return parser.parse_args()


def main() -> None:
    options = _options()
    jax.config.update("jax_enable_x64", True)
    jax.jit(jax.jacfwd(jnp.sin))(1.0)  # Whoever is first is not to start up JAX.
    rows: list[Row] = []
    comparisons: list[Comparison] = []
    for case in _cases(options.group):
        for setting in options.setting or _SETTINGS:
            if setting not in case.settings:
                continue
            new = _measured(case, setting, options.seconds)
            rows += new
            comparison = compared(new)
            comparisons += [comparison] if comparison else []
            print(f"{case.name}, {setting}: {comparison}", file=sys.stderr, flush=True)
            if options.json:
                files.save(options.json, rows, files.machine())
    print(worst_first(comparisons))
    print("\n" + "\n".join(summary(comparisons)))


if __name__ == "__main__":
    main()
