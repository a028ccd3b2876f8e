"""Products, factorisations and solves."""

import jax.numpy as jnp
import jax.scipy.linalg as scipy_linalg
import numpy as np
from jax import lax
from jax.numpy import linalg

from ._case import Case, case, spd, uniform, well_conditioned


_A, _B = uniform(2, 3), uniform(3, 2, seed=1)
_VECTOR = uniform(3, seed=2)
_SQUARE, _SPD = well_conditioned(3), spd(3)
_BATCH = np.stack([well_conditioned(2, seed=i) for i in range(2)])


def _symmetric(a):
    return (a + a.T) / 2.0


def _solve(v):
    return linalg.solve(*v)


def _cho_solve(v):
    return scipy_linalg.cho_solve(scipy_linalg.cho_factor(v[0]), v[1])


def _lu_solve(v):
    return scipy_linalg.lu_solve(scipy_linalg.lu_factor(v[0]), v[1])


def _triangular(v, **options):
    return scipy_linalg.solve_triangular(v[0], v[1], **options)


def _tridiagonal(v):
    lower, diagonal, upper, b = v
    return lax.linalg.tridiagonal_solve(lower, diagonal, upper, b)


def _gram_projector(a):
    """A projector does not depend on the signs that a QR factorisation chooses."""
    q, _ = linalg.qr(a)
    return q @ q.T


def _eigenvalues_of_rotation(a):
    return linalg.eigvals(a).real


def _quadratic_form(v):
    a, x = v
    return x @ a @ x


def _gaussian_log_likelihood(v):
    covariance, x = v
    factor = linalg.cholesky(covariance)
    white = scipy_linalg.solve_triangular(factor, x, lower=True)
    return -0.5 * jnp.sum(white**2) - jnp.sum(jnp.log(jnp.diag(factor)))


def _kalman_update(v):
    p, h, x = v
    innovation = h @ p @ h.T + jnp.eye(2)
    gain = linalg.solve(innovation, h @ p).T
    return x + gain @ (1.0 - h @ x), p - gain @ h @ p


_OF_SQUARE = {
    "det": linalg.det,
    "det2": lambda a: linalg.det(a[:2, :2]),
    "expm": scipy_linalg.expm,
    "inv": linalg.inv,
    "lu": lambda a: scipy_linalg.lu(a)[1:],
    "matrix_power": lambda a: linalg.matrix_power(a, 3),
    "matrix_power_negative": lambda a: linalg.matrix_power(a, -2),
    "matrix_norm": lambda a: linalg.matrix_norm(a),
    "pinv": linalg.pinv,
    "qr": linalg.qr,
    "slogdet": lambda a: linalg.slogdet(a)[1],
    "svd": lambda a: linalg.svd(a),
    "svdvals": lambda a: linalg.svd(a, compute_uv=False),
    "norm_nuclear": lambda a: linalg.norm(a, ord="nuc"),
    "trace_of_inverse": lambda a: jnp.trace(linalg.inv(a)),
}

_OF_SYMMETRIC = {
    "cholesky": linalg.cholesky,
    "eigh": lambda a: linalg.eigh(_symmetric(a)),
    "eigvalsh": lambda a: linalg.eigvalsh(a),
    "logdet_cholesky": lambda a: jnp.sum(jnp.log(jnp.diag(linalg.cholesky(a)))),
}

_PRODUCTS = {
    "cross": (lambda v: jnp.cross(*v), (_VECTOR, uniform(3, seed=3))),
    "dot": (lambda v: jnp.dot(*v), (_VECTOR, uniform(3, seed=3))),
    "inner": (lambda v: jnp.inner(*v), (_A, uniform(2, 3, seed=3))),
    "matmul": (lambda v: v[0] @ v[1], (_A, _B)),
    "matmul_batched": (lambda v: v[0] @ v[1], (_BATCH, _BATCH + 1.0)),
    "matvec": (lambda v: v[0] @ v[1], (_A, _VECTOR)),
    "matmul_constant": (lambda a: a @ _B, _A),
    "multi_dot": (lambda v: linalg.multi_dot([v[0], v[1], v[0]]), (_A, _B)),
    "outer_product": (lambda v: jnp.outer(*v), (_VECTOR, uniform(2))),
    "quadratic_form": (_quadratic_form, (_SQUARE, _VECTOR)),
    "vecmat": (lambda v: v[1] @ v[0], (_B, _VECTOR)),
    "vdot": (lambda v: jnp.vdot(*v), (_A, uniform(2, 3, seed=4))),
}

_SOLVES = {
    "cho_solve": (_cho_solve, (_SPD, _VECTOR)),
    "gaussian_log_likelihood": (_gaussian_log_likelihood, (_SPD, _VECTOR)),
    "kalman_update": (_kalman_update, (_SPD, _A, _VECTOR)),
    "lstsq": (lambda v: linalg.lstsq(*v)[0], (_B, _VECTOR)),
    "lu_solve": (_lu_solve, (_SQUARE, _VECTOR)),
    "solve": (_solve, (_SQUARE, _VECTOR)),
    "solve_batched": (_solve, (_BATCH, _BATCH + 1.0)),
    "solve_matrix": (_solve, (_SQUARE, _B)),
    "solve_of_constant": (lambda b: linalg.solve(_SQUARE, b), _VECTOR),
    "triangular": (lambda v: _triangular(v, lower=True), (_SQUARE, _VECTOR)),
    "triangular_transposed": (
        lambda v: _triangular(v, trans=1, unit_diagonal=True),
        (_SQUARE, _B),
    ),
    "tridiagonal": (_tridiagonal, (_VECTOR, _VECTOR + 4.0, _VECTOR**2, _B)),
}

CASES: dict[str, Case] = (
    {name: case(fun, _SQUARE) for name, fun in _OF_SQUARE.items()}
    | {name: case(fun, _SPD) for name, fun in _OF_SYMMETRIC.items()}
    | {name: case(fun, x) for name, (fun, x) in (_PRODUCTS | _SOLVES).items()}
    | {
        "eigvals": case(_eigenvalues_of_rotation, _SQUARE),
        "gram_projector": case(_gram_projector, _B),
        "inv_batched": case(linalg.inv, _BATCH),
        "qr_tall": case(linalg.qr, _B),
        "svd_tall": case(lambda a: linalg.svd(a, full_matrices=False), _B),
    }
)
