"""Measurement of a case in a setting: contestants are checked, then timed."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..cases import batch_size, Case
from .contestants import AbstractContestant, BASELINES
from .prepared import Prepared
from .timing import Cost, Program, quartiles, sample


# Of the largest entry of a row.
TOLERANCE = {"float64": 1e-9, "float32": 1e-3}


@dataclass
class Row:
    """Measurement of one contestant.

    Times are in seconds for one evaluation (of the whole batch): the median, and the
    quartiles on either side. `status` is "ok", "refused" (it makes no sense here),
    "skipped" (it raised an error, or a package is not there) or "ERROR" (it is not the
    Jacobian), and `reason` says more. `ratio` is the better median of `jax.jacfwd` and
    `jax.jacrev` by this one, with the quartiles of that ratio over the rounds;
    `bandwidth` is that of writing the Jacobians, and `of_copy` the share of it in that
    of a copy.
    """

    case: str
    group: str
    setting: str
    dtype: str
    batch: int
    entries: int
    contestant: str
    structured: bool
    status: str = "ok"
    reason: str = ""
    median: float | None = None
    lower_quartile: float | None = None
    upper_quartile: float | None = None
    rounds: int = 0
    ratio: float | None = None
    ratio_lower_quartile: float | None = None
    ratio_upper_quartile: float | None = None
    bandwidth: float | None = None
    of_copy: float | None = None
    trace: float | None = None
    lower: float | None = None
    compile: float | None = None
    retrace: float | None = None
    temp_bytes: int | None = None
    output_bytes: int | None = None

    def costs(self, cost: Cost) -> None:
        """Takes down what it took to compile."""
        for key, value in asdict(cost).items():
            setattr(self, key, value)


class Mismatch(Exception):
    """Not the Jacobian of `jax.jacfwd`."""


def measure(
    case: Case,
    setting: str,
    dtype: str,
    everyone: Mapping[str, AbstractContestant],
    seconds: float,
) -> list[Row]:
    """A row for every contestant that takes part, or says why it does not."""
    prepared = Prepared(case, setting, dtype)
    rows, programs = {}, {}
    for name, contestant in everyone.items():
        row = rows[name] = _row(case, setting, dtype, contestant)
        if reason := contestant.refusal(case, setting):
            row.status, row.reason = "refused", reason
            continue
        try:
            programs[name] = _checked(contestant, prepared, row)
        except Mismatch as error:
            row.status, row.reason = "ERROR", str(error)
        except Exception as error:
            row.status, row.reason = "skipped", _first_line(error)
    times = sample(programs, seconds) if programs else {}
    for name, taken in times.items():
        first, middle, third = quartiles(taken)
        row = rows[name]
        row.lower_quartile, row.median, row.upper_quartile = first, middle, third
        row.rounds = len(taken)
    _compare(rows, times)
    return list(rows.values())


def _row(case: Case, setting: str, dtype: str, contestant: AbstractContestant) -> Row:
    size = batch_size(setting)
    about = case.name, case.group, setting, dtype, size, case.num_entries
    return Row(*about, contestant.name, contestant.structured)


def _first_line(error: Exception) -> str:
    words = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {words[0]}"[:200]


def _checked(contestant: AbstractContestant, prepared: Prepared, row: Row) -> Program:
    program = contestant.program(prepared)
    row.costs(program.cost)
    # The second evaluation of a loop is the first that has another before it.
    for point, matrix in contestant.matrices(prepared, program.evaluate(2)):
        check(prepared, point, matrix)
    return program


def check(prepared: Prepared, point: int, matrix: Any) -> None:
    """Raises `Mismatch` unless a matrix is the Jacobian at one of the points.

    Where a dense matrix is not too large, entry by entry with that of `jax.jacfwd`;
    otherwise by products with random vectors, with those of `jax.jvp`.
    """
    flat, x = prepared.flat, prepared.points[point]
    if prepared.case.is_dense:
        expected = prepared.reference(point)
        got = _filled(matrix, expected.shape)
        scale = np.max(np.abs(expected), axis=1, keepdims=True, initial=0.0)
        _assert_close(got, expected, scale, prepared)
    else:
        vectors = np.random.default_rng(0).normal(size=(3, x.size))
        for vector in jnp.asarray(vectors, x.dtype):
            _, expected = jax.jit(lambda x, v: jax.jvp(flat, (x,), (v,)))(x, vector)
            got = _product(matrix, np.asarray(vector), expected.size)
            _assert_close(got, np.asarray(expected), np.abs(expected).max(), prepared)


def _assert_close(got, expected, scale, prepared: Prepared) -> None:
    if got.shape != expected.shape:
        raise Mismatch(f"its shape is {got.shape}, not {expected.shape}")
    # Rows of zeros come out as what rounding makes of them.
    scale = np.maximum(scale, 1e-6 * np.max(np.abs(expected), initial=0.0))
    error = np.abs(got.astype(np.float64) - expected) / np.maximum(scale, 1e-300)
    worst = float(np.max(error, initial=0.0))
    if not worst <= TOLERANCE[prepared.dtype]:  # NaN is no match.
        raise Mismatch(f"differs from jax.jacfwd by {worst:.1e}")


def _filled(matrix: Any, shape: tuple[int, int]) -> np.ndarray:
    if not isinstance(matrix, tuple):
        return np.asarray(matrix)
    values, rows, columns = map(np.asarray, matrix)
    dense = np.zeros(shape)
    np.add.at(dense, (rows, columns), values)
    return dense


def _product(matrix: Any, vector: np.ndarray, size: int) -> np.ndarray:
    values, rows, columns = map(np.asarray, matrix)
    return np.bincount(rows, values * vector[columns], minlength=size)


def _compare(rows: dict[str, Row], times: dict[str, list[float]]) -> None:
    """Fills in the ratios, of medians and within rounds, and the bandwidths."""
    baselines = [name for name in BASELINES if name in times]
    for name, taken in times.items():
        row = rows[name]
        median = row.median or math.nan
        if baselines:
            best = min(rows[b].median or math.inf for b in baselines)
            by_round = zip(*(times[b] for b in baselines))
            ratios = [min(bs) / t for bs, t in zip(by_round, taken)]
            row.ratio = best / median
            row.ratio_lower_quartile, _, row.ratio_upper_quartile = quartiles(ratios)
        if row.batch > 1:
            size = np.dtype(row.dtype).itemsize * row.entries * row.batch
            row.bandwidth = size / median
            if "copy" in rows and rows["copy"].median:
                row.of_copy = rows["copy"].median / median
