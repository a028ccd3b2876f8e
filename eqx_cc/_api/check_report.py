"""Reports on the comparison of a Jacobian with its references."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from .check_references import FunctionAtPoint, precision, Reference, to_numpy


OURS = "eqx_cc"
FORWARD, REVERSE, DIFFERENCES = "JAX forward", "JAX reverse", "finite differences"


@dataclasses.dataclass(frozen=True)
class Entry:
    """An entry of a Jacobian: its position, and its value by each method."""

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
    """The distance between our Jacobian and that of another method.

    `worst` is the entry at which the ratio of `error` to `allowed` is the largest; both
    are relative to the largest entry of its block. It is `None` if there is no entry to
    compare. `note` says why the method is not available.
    """

    method: str
    ok: bool
    available: bool = True
    error: float = 0.0
    allowed: float = 0.0
    worst: Entry | None = None
    note: str = ""

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
    """The result of [`eqx_cc.check_jacobian`][]. `print` it, or read:

    **Attributes:**

    - `ok`: `True` if the Jacobian agrees with all modes of JAX that exist for this
        function; if there is none, with finite differences.
    - `order`: the order of elimination, as it was passed.
    - `entries`: the number of entries of the Jacobian.
    - `untrusted`: the number of entries for which finite differences are not trusted.
    - `disputed`: the number of entries at which JAX's two modes disagree. They may
        where partial derivatives are infinite; there no Jacobian agrees with both.
    - `forward`, `reverse`, `finite_differences`: the comparisons with each method:
        `ok`, `available`, `error`, `allowed` (relative to the largest entry of the
        block), `worst` and `note`.
    - `worst`: the worst entry of the comparisons that decide on `ok`.

    !!! Example

        ```python
        report = eqx_cc.check_jacobian(fun, x)
        print(report.ok, report.entries)
        ```

        ```text
        True 9
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

    def __repr__(self):
        verdict = "ok" if self.ok else "NOT OK"
        return f"JacobianReport({verdict}, {self.entries} entries; print it for more)"

    def __str__(self):
        rows = [
            f"Jacobian of {self.entries} entries by elimination in the order "
            f"{self.order!r}: {'ok' if self.ok else 'NOT OK'}.",
            *(f"  {c}" for c in (self.forward, self.reverse, self.finite_differences)),
        ]
        differences = self.finite_differences
        is_contradicted = differences.available and not differences.ok
        if self.ok and is_contradicted and differences.worst is not None:
            rows.append(
                "  JAX agrees with us and not with finite differences: is there a "
                "`stop_gradient` or a custom rule in the function?\n"
                f"  There: {differences.worst}"
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
    """Our Jacobian and its references; in place of one that is not available, the
    reason. The arrays of the methods have the entries of all blocks."""

    problem: FunctionAtPoint
    ours: list[list[np.ndarray]]
    names: tuple[list[str], list[str]]
    references: dict[str, Reference | str]

    def report(self, order: Any) -> JacobianReport:
        comparisons = [self.compare(method) for method in self.references]
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
        """The number of entries that differ between the modes of JAX, if both exist."""
        forward, reverse = self.references[FORWARD], self.references[REVERSE]
        if isinstance(forward, str) or isinstance(reverse, str):
            return 0
        if not _ravel(self.ours).size:
            return 0
        error, allowed = self._replace(ours=forward.blocks).errors(reverse)
        return int(np.sum(error > allowed))

    def compare(self, method: str) -> Comparison:
        reference = self.references[method]
        if isinstance(reference, str):
            return Comparison(method, ok=False, available=False, note=reference)
        trusted, note = self.trusted(method), ""
        if not np.all(trusted):
            first = self.entry(int(np.argmin(trusted)))
            note = f"not trusted: {np.sum(~trusted)}, the first being {first.place}"
        if not np.any(trusted):
            return Comparison(method, ok=trusted.size == 0, note=note)
        error, allowed = self.errors(reference)
        worst = int(np.argmax(np.where(trusted, _ratio(error, allowed), -1.0)))
        return Comparison(
            method,
            ok=bool(error[worst] <= allowed[worst]),
            error=float(error[worst]),
            allowed=float(allowed[worst]),
            worst=self.entry(worst),
            note=note,
        )

    def trusted(self, method: str) -> np.ndarray:
        """A mask of the entries at which the method is trusted."""
        reference = self.references[method]
        if isinstance(reference, str):
            return np.zeros(_ravel(self.ours).shape, bool)
        return np.isfinite(_ravel(reference.slack))

    def errors(self, reference: Reference) -> tuple[np.ndarray, np.ndarray]:
        """The errors of the entries and the allowed ones, relative to their blocks."""
        tolerance, scale = self.rounding(reference)
        ours, theirs = _ravel(self.ours), _ravel(reference.blocks)
        with np.errstate(all="ignore"):
            difference = abs(ours - theirs)
            same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
            error = np.where(same, 0.0, difference / scale)
            allowed = tolerance + np.nan_to_num(_ravel(reference.slack) / scale)
        return np.nan_to_num(error, nan=np.inf, posinf=np.inf), allowed

    def rounding(self, reference: Reference) -> tuple[np.ndarray, np.ndarray]:
        """The relative tolerance of each entry, and its scale.

        The scale is the largest entry of the block; but more if the block is so small
        next to the values of the function that it may consist of rounding errors.
        """
        tolerances, scales = [], []
        for out, row in zip(self.problem.outs, reference.blocks):
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
        values: dict = {OURS: _number(_ravel(self.ours)[at])}
        for method, reference in self.references.items():
            available = isinstance(reference, Reference)
            values[method] = (
                _number(_ravel(reference.blocks)[at]) if available else None
            )
        return Entry(*self.place(at), values, trusted)

    def place(self, at: int) -> tuple[str, str]:
        """The names of the output and the input, with the indices of an entry."""
        out_names, in_names = self.names
        for out, out_name in zip(self.problem.outs, out_names):
            for leaf, in_name in zip(self.problem.leaves, in_names):
                if at < out.size * leaf.size:
                    row, column = divmod(at, leaf.size)
                    return _index(out_name, row, out), _index(in_name, column, leaf)
                at -= out.size * leaf.size
        raise AssertionError


def _ravel(blocks: list[list[np.ndarray]]) -> np.ndarray:
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
