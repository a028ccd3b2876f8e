"""Linear solvers by the name of a structure."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import lineax as lx
import numpy as np
import pytest
from eqx_cc import (
    Arrowhead,
    Banded,
    BlockDiagonal,
    BlockTridiagonal,
    SmallInverse,
    SuperLU,
    Woodbury,
)


def _outside(size, keep):
    """Which entries are zero, by what is said of row and column."""
    i, j = np.indices((size, size))
    return ~keep(i, j)


def _bands(lower, upper):
    return lambda i, j, size: (i - j <= lower) & (j - i <= upper)


def _in_blocks(width, reach):
    return lambda i, j, size: abs(i // width - j // width) <= reach


def _arrow(width):
    return lambda i, j, size: (i == j) | (np.maximum(i, j) >= size - width)


def _banded_arrow(i, j, size):
    return (abs(i - j) <= 1) | (np.maximum(i, j) >= size - 2)


def _scattered(i, j, size):
    return (i == j) | ((3 * i + j) % 7 == 1)


# A solver that looks for the structure, one to which it is stated (None if that cannot
# be), and which entries there are.
CASES = {
    "banded": (Banded(), Banded(2, 1), _bands(2, 1)),
    "upper": (Banded(), Banded(0, 2), _bands(0, 2)),
    "many bands": (Banded(), Banded(9, 10), _bands(9, 10)),
    "block-tridiagonal": (
        BlockTridiagonal(),
        BlockTridiagonal(width=3),
        _in_blocks(3, 1),
    ),
    "block-diagonal": (BlockDiagonal(), BlockDiagonal(width=3), _in_blocks(3, 0)),
    "diagonal": (BlockDiagonal(), BlockDiagonal(width=1), _in_blocks(1, 0)),
    "arrowhead": (Arrowhead(width=2), Arrowhead(width=2), _arrow(2)),
    "banded arrowhead": (
        Arrowhead(width=2, core=Banded()),
        Arrowhead(width=2, core=Banded(1, 1)),
        _banded_arrow,
    ),
    "low rank": (Woodbury(), None, _bands(0, 0)),
    "low rank and bands": (Woodbury(Banded()), None, _bands(1, 1)),
    "sparse": (SuperLU(), None, _scattered),
    "small": (SmallInverse(), SmallInverse(), lambda i, j, size: i == i),
}
# 25 and 50 are divisible by none of the widths above.
SIZES = [1, 2, 25, 50]


def _entries(name, size, dtype=jnp.float64):
    """A matrix that is regular, of normal entries on which no diagonal dominates but
    where pivots are not sought."""
    keep = CASES[name][2]
    dense = np.asarray(jr.normal(jr.key(3), (size, size)))
    if name not in ("banded", "upper", "sparse", "small"):
        dense = dense + 4 * np.eye(size)
    found = np.where(keep(*np.indices((size, size)), size), dense, 0)
    if name == "upper":
        found += 2 * np.eye(size)
    return jnp.asarray(found, dtype)


def _product(name, entries, x):
    """The product of which elimination is to find the structure again: diagonals of the
    matrix, shifted; and rank one."""
    size = len(x)
    pattern = np.asarray(CASES[name][2](*np.indices((size, size)), size))
    found = jnp.zeros_like(x)
    border = _border(name, size)
    inside = size - border
    for k in range(1 - inside, inside):
        rows = np.arange(max(0, -k), min(inside, inside - k))
        (kept,) = np.nonzero(pattern[rows, rows + k])
        if len(kept) > 0:
            terms = entries[rows, rows + k] * x[rows[0] + k : rows[-1] + 1 + k]
            terms = terms * pattern[rows, rows + k].astype(x.dtype)
            found = found + jnp.pad(terms, (rows[0], size - 1 - rows[-1]))
    if border:
        right = entries[:inside, inside:] @ x[inside:]
        found = found + jnp.pad(right, (0, border))
        found = found + jnp.pad(entries[inside:] @ x, (inside, 0))
    if name.startswith("low rank"):
        found = found + jnp.sin(jnp.arange(size, dtype=x.dtype)) * jnp.mean(x)
    return found


def _border(name, size):
    return min(size, 2) if "arrowhead" in name else 0


def _as_function(name, entries):
    struct = jax.ShapeDtypeStruct(entries.shape[:1], entries.dtype)
    return lx.FunctionLinearOperator(lambda x: _product(name, entries, x), struct)


def _dense(name, entries):
    found = np.asarray(entries, np.float64)
    if name.startswith("low rank"):
        size = len(found)
        found = found + np.outer(np.sin(np.arange(size)), np.full(size, 1 / size))
    return found


def _vector(size, dtype=jnp.float64):
    return jnp.asarray(np.cos(1.7 * np.arange(size)), dtype)


def _assert_solves(dense, found, vector, tol=1e-13):
    found = np.asarray(found, np.float64)
    size = np.abs(dense).sum(1).max() * np.abs(found).max(initial=0)
    atol = tol * (size + np.abs(vector).max(initial=0))
    np.testing.assert_allclose(dense @ found, vector, rtol=0, atol=atol)


GIVEN = [
    pytest.param(name, given, id=f"{name}-{'matrix' if given else 'function'}")
    for name, case in CASES.items()
    for given in (False, True)
    if not given or case[1] is not None
]


def _case(name, given, entries):
    if given:
        return CASES[name][1], lx.MatrixLinearOperator(entries)
    return CASES[name][0], _as_function(name, entries)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name, given", GIVEN)
def test_solutions(name, given, size):
    """Against dense products: solved, transposed, through `lx.linear_solve`."""
    entries, vector = _entries(name, size), _vector(size)

    @jax.jit
    def run(entries, vector):
        solver, operator = _case(name, given, entries)
        state = solver.init(operator, {})
        turned, _ = solver.transpose(state, {})
        same, _ = solver.conj(state, {})
        found = [
            solver.compute(state, vector, {})[0],
            solver.compute(same, vector, {})[0],
            lx.linear_solve(operator, vector, solver).value,
            solver.compute(turned, vector, {})[0],
        ]
        if not given:  # What is stated is not for the transposed operator.
            found.append(lx.linear_solve(operator.T, vector, solver).value)
        return found

    dense = _dense(name, entries)
    found = run(entries, vector)
    for own in found[:3]:
        _assert_solves(dense, own, vector)
    for own in found[3:]:
        _assert_solves(dense.T, own, vector)
