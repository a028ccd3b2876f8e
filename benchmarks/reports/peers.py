"""Sparse Jacobians, next to those of packages that colour the pattern of a Jacobian."""

import statistics

from ..cases import CASES
from ..harness.contestants import BASELINES
from .headline import (
    ARROWHEAD,
    BRUSSELATOR,
    by_jax,
    LARGE,
    MEAN_FIELD,
    Measurements,
)
from .tables import compile_seconds, factor, seconds, table


IRREGULAR = tuple(name for name, case in CASES.items() if case.group == "sparse")
OURS, ASDEX = "eqx_cc structured", "asdex bcoo"
_SPARSE = OURS, ASDEX, "sparsejac", "floor structured"

# What has to be measured: cases, setting, contestants.
BLOCKS = (
    (IRREGULAR, "call", (*BASELINES, OURS, ASDEX, "sparsejac")),
    ((BRUSSELATOR, ARROWHEAD, MEAN_FIELD), "call", (*BASELINES, "eqx_cc", "asdex")),
    ((BRUSSELATOR, MEAN_FIELD), "loop", (*BASELINES, *_SPARSE)),
    ((LARGE,), "loop", _SPARSE),
)


def bands_table(measurements: Measurements) -> str:
    """Sparse Jacobians in a loop, with the floor."""
    heads = ["Jacobian", "dense, by JAX", "eqx_cc", "asdex", "sparsejac", "floor"]
    lines = []
    for case in (BRUSSELATOR, LARGE, MEAN_FIELD):
        cells = [_time(measurements, case, "loop", name) for name in _SPARSE]
        lines.append([case, by_jax(measurements, case, "loop"), *cells])
    return table(heads, lines)


def irregular_table(measurements: Measurements) -> str:
    """Jacobians without bands, in a call, by how many times asdex takes as long."""
    lines, ratios = [], []
    for case in IRREGULAR:
        ratio = measurements.by(case, "call", ASDEX, OURS)
        ratios.append(ratio or 0.0)
        lines.append(
            [
                case,
                by_jax(measurements, case, "call"),
                *(_time(measurements, case, "call", name) for name in _SPARSE[:3]),
                factor(ratio),
                _preparing(measurements, case),
            ]
        )
    known = [ratio for ratio in ratios if ratio]
    order = sorted(range(len(lines)), key=lambda i: -ratios[i])
    mean = f"{statistics.geometric_mean(known):.2g}" if known else ""
    heads = ["Jacobian", "dense, by JAX", "eqx_cc", "asdex", "sparsejac"]
    heads += ["times faster than asdex", "trace and compile"]
    last = [f"geometric mean of {len(known)}", "", "", "", "", mean, ""]
    return table(heads, [*(lines[i] for i in order), last])


def _time(measurements: Measurements, case: str, setting: str, name: str) -> str:
    row = measurements.row(case, setting, name)
    return "" if row is None else seconds(row.median)


def _preparing(measurements: Measurements, case: str) -> str:
    """Our time to trace and compile, by that of asdex."""
    times = []
    for name in (OURS, ASDEX):
        row = measurements.row(case, "call", name)
        times.append(None if row is None else compile_seconds(row))
    ours, theirs = times
    return f"{ours / theirs:.2g}" if ours and theirs else ""


def sentence(measurements: Measurements) -> str:
    """What the page of questions says about these packages."""
    by = measurements.by
    dense = by(BRUSSELATOR, "call", "asdex", "eqx_cc") or 0.0
    bands = [by(BRUSSELATOR, "loop", n, OURS) or 0.0 for n in (ASDEX, "sparsejac")]
    arrow = by(ARROWHEAD, "call", "asdex", "eqx_cc") or 0.0
    mean = by(MEAN_FIELD, "call", "asdex", "eqx_cc") or 0.0
    return (
        "Times relative to eqx_cc, from the [benchmarks](benchmarks.md). For a 1-D "
        f"Brusselator of 1,024 states, asdex takes {dense:.2g} times as long for the "
        f"dense Jacobian; for the bands alone, asdex takes {bands[0]:.2g} times as "
        f"long, and sparsejac {bands[1]:.2g} times. For functions that need many "
        f"colours, asdex takes {arrow:.2g} (an arrowhead) and {mean:.2g} (a mean "
        "field) times as long."
    )
