"""What comes of comparing one Jacobian with others."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from .check_references import precision, Problem, to_numpy, Verdict


OURS = "eqx_cc"
FORWARD, REVERSE, DIFFERENCES = "JAX forward", "JAX reverse", "finite differences"


@dataclasses.dataclass(frozen=True)
class Entry:
    """One entry of a Jacobian: where it is, and what every method makes of it."""

    output: str
    input: str
    values: dict[str, float | complex | None]
    trusted: bool

    @property
    def place(self) -> str:
        return f"d {self.output} / d {self.input}"

    def __str__(self):
        rows = [self.place]
        for method, value in self.values.items():
            shown = "not available" if value is None else f"{value:.12g}"
            if method == DIFFERENCES and value is not None and not self.trusted:
                shown = f"{shown} (not trusted)"
            rows.append(f"    {method:<20}{shown}")
        return "\n".join(rows)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How far our Jacobian is from that of another method.

    `error` and `allowed` are those of the entry, `worst`, at which their ratio is the
    largest, and are relative to the largest entry of its block. `worst` is `None` if
    there is no entry to compare; `note` says why the method is not available.
    """

    method: str
    ok: bool
    available: bool
    error: float
    allowed: float
    worst: Entry | None
    note: str

    def __str__(self):
        if not self.available:
            return f"{self.method}: not available ({self.note})"
        verdict = "agrees" if self.ok else "DISAGREES"
        shown = f"{verdict}, error {self.error:.1e} of {self.allowed:.1e} allowed"
        if self.worst is None:
            shown = "nothing to compare"
        return f"{self.method}: {shown}{self.note and '; '}{self.note}"


@dataclasses.dataclass(frozen=True)
class JacobianReport:
    """What [`eqx_cc.check_jacobian`][] found. Convert it to a string to read it.

    `ok` says whether our Jacobian is that of every mode of JAX that exists for this
    function; if none does, whether it is that of finite differences. `untrusted` is the
    number of entries, out of `entries`, of which finite differences can say nothing.
    `worst` is the worst entry of the comparisons on which `ok` rests. `disputed` is the
    number of entries at which JAX's own modes disagree with each other, as they may
    where partial derivatives are infinite: there no Jacobian can be that of both.

    !!! Example

        ```python
        report = eqx_cc.check_jacobian(fun, x)
        print(report)
        report.ok, report.forward.error  # The error relative to the largest entry.
        ```
    """

    ok: bool
    order: Any
    entries: int
    untrusted: int
    disputed: int
    forward: Comparison
    reverse: Comparison
    finite_differences: Comparison
    worst: Entry | None

    def __str__(self):
        rows = [
            f"Jacobian of {self.entries} entries by elimination in the order "
            f"{self.order!r}: {'ok' if self.ok else 'NOT OK'}.",
            *(f"  {c}" for c in (self.forward, self.reverse, self.finite_differences)),
        ]
        if (
            self.ok
            and self.finite_differences.available
            and not (
                self.finite_differences.ok or self.finite_differences.worst is None
            )
        ):
            rows.append(
                "  JAX agrees with us and not with finite differences: is there a "
                "`stop_gradient` or a custom rule in the function?\n"
                f"  There: {self.finite_differences.worst}"
            )
        if self.disputed:
            rows.append(
                "  JAX's forward and reverse mode disagree with each other at "
                f"{self.disputed} of them, where no Jacobian could agree with both."
            )
        if self.worst is not None:
            rows.append(f"  Worst entry: {self.worst}")
        return "\n".join(rows)


class Case(NamedTuple):
    """Our Jacobian and the verdicts on it. Arrays have the entries of all blocks."""

    problem: Problem
    ours: list[list[np.ndarray]]
    names: tuple[list[str], list[str]]
    verdicts: dict[str, Verdict | str]

    def report(self, order: Any) -> JacobianReport:
        comparisons = [self.compare(method) for method in self.verdicts]
        by_jax = [c for c in comparisons[:2] if c.available]
        decisive = by_jax or comparisons[2:]
        trusted = self.trusted(DIFFERENCES)
        return JacobianReport(
            ok=all(c.ok for c in decisive),
            order=order,
            entries=trusted.size,
            untrusted=int(np.sum(~trusted)),
            disputed=self.disputed,
            forward=comparisons[0],
            reverse=comparisons[1],
            finite_differences=comparisons[2],
            worst=max(decisive, key=lambda c: _ratio(c.error, c.allowed)).worst,
        )

    @property
    def disputed(self) -> int:
        """How many entries differ between the modes of JAX, if both exist."""
        ours, theirs = self.verdicts[FORWARD], self.verdicts[REVERSE]
        if isinstance(ours, str) or isinstance(theirs, str):
            return 0
        if not _in_a_row(self.ours).size:
            return 0
        error, allowed = self._replace(ours=ours.blocks).errors(theirs)
        return int(np.sum(error > allowed))

    def compare(self, method: str) -> Comparison:
        verdict = self.verdicts[method]
        if isinstance(verdict, str):
            return Comparison(method, False, False, 0.0, 0.0, None, verdict)
        trusted, note = self.trusted(method), ""
        if not np.all(trusted):
            first = self.entry(int(np.argmin(trusted)))
            note = f"not trusted: {np.sum(~trusted)}, the first being {first.place}"
        if not np.any(trusted):
            # Which is fine only if there is nothing to compare.
            return Comparison(method, trusted.size == 0, True, 0.0, 0.0, None, note)
        error, allowed = self.errors(verdict)
        worst = int(np.argmax(np.where(trusted, _ratio(error, allowed), -1.0)))
        error, allowed = float(error[worst]), float(allowed[worst])
        entry, ok = self.entry(worst), error <= allowed
        return Comparison(method, ok, True, error, allowed, entry, note)

    def trusted(self, method: str) -> np.ndarray:
        verdict = self.verdicts[method]
        if isinstance(verdict, str):
            return np.zeros(_in_a_row(self.ours).shape, bool)
        return np.isfinite(_in_a_row(verdict.slack))

    def errors(self, verdict: Verdict) -> tuple[np.ndarray, np.ndarray]:
        """How far off the entries are, and may be, relative to their blocks."""
        tolerance, scale = self.rounding(verdict)
        ours, theirs = _in_a_row(self.ours), _in_a_row(verdict.blocks)
        with np.errstate(all="ignore"):
            difference = abs(ours - theirs)
            same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
            error = np.where(same, 0.0, difference / scale)
            allowed = tolerance + np.nan_to_num(_in_a_row(verdict.slack) / scale)
        return np.nan_to_num(error, nan=np.inf, posinf=np.inf), allowed

    def rounding(self, verdict: Verdict) -> tuple[np.ndarray, np.ndarray]:
        """The relative tolerance of every entry, and what it is relative to.

        That is the largest entry of its block; unless the block is so small next to
        the values of the function that it may be nothing but rounding.
        """
        tolerances, scales = [], []
        for out, row in zip(self.problem.outs, verdict.blocks):
            for leaf, block in zip(self.problem.leaves, row):
                tolerance = precision(out, leaf) ** (2 / 3)
                rounding = 8 * precision(out, leaf) * _largest(out)
                rounding = rounding / max(_largest(leaf), 1.0)
                scale = max(_largest(block), rounding / tolerance)
                tolerances.append(np.full(block.size, tolerance))
                scales.append(np.full(block.size, scale))
        return np.concatenate(tolerances), np.concatenate(scales)

    def entry(self, at: int) -> Entry:
        trusted = bool(self.trusted(DIFFERENCES)[at])
        values: dict = {OURS: _number(_in_a_row(self.ours)[at])}
        for method, verdict in self.verdicts.items():
            known = isinstance(verdict, Verdict)
            values[method] = _number(_in_a_row(verdict.blocks)[at]) if known else None
        return Entry(*self.place(at), values, trusted)

    def place(self, at: int) -> tuple[str, str]:
        """The output's and the input's name and index."""
        out_names, in_names = self.names
        for out, out_name in zip(self.problem.outs, out_names):
            for leaf, in_name in zip(self.problem.leaves, in_names):
                if at < out.size * leaf.size:
                    row, column = divmod(at, leaf.size)
                    return _index(out_name, row, out), _index(in_name, column, leaf)
                at -= out.size * leaf.size
        raise AssertionError


def _in_a_row(blocks: list[list[np.ndarray]]) -> np.ndarray:
    return np.concatenate([np.zeros(0), *(b.ravel() for row in blocks for b in row)])


def _number(x: Any) -> float | complex:
    return complex(x) if np.imag(x) != 0 else float(np.real(x))


def _largest(x: Any) -> float:
    x = abs(to_numpy(x))
    return float(np.max(x, where=np.isfinite(x), initial=0.0))


def _ratio(error: Any, allowed: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.where(np.equal(error, 0.0), 0.0, np.divide(error, allowed))


def _index(name: str, at: int, x: Any) -> str:
    index = ", ".join(map(str, np.unravel_index(at, x.shape)))
    return f"{name}[{index}]" if x.shape else name
