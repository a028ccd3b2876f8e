"""Vector fields and solves of diffrax, lineax and optimistix."""

from collections.abc import Callable

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import lineax
import numpy as np
import optimistix
from benchmarks.cases import kinetics, stiff

from ._case import Case, case, spd, uniform, well_conditioned


def _oscillator(t, y, args):
    """Without stiffness, for few steps."""
    return stiff.van_der_pol(y, stiffness=5.0)


def lotka_volterra(t, y, args):
    prey, predator = y
    return 1.1 * prey - 0.4 * prey * predator, 0.1 * prey * predator - 0.4 * predator


def lorenz(t, y, args):
    x, v, z = y
    return jnp.stack([10.0 * (v - x), x * (28.0 - z) - v, x * v - 8.0 / 3.0 * z])


def brusselator(t, y, args):
    """One dimension, two species, and nothing beyond the ends."""
    u, v = y[0], y[1]
    diffuse = lambda w: jnp.convolve(w, jnp.array([1.0, -2.0, 1.0]), mode="same")  # noqa: E731
    reaction = u**2 * v
    return jnp.stack(
        [1.0 + reaction - 4.0 * u + diffuse(u), 3.0 * u - reaction + diffuse(v)]
    )


def pendulum(t, y, args):
    """Two links: the mass matrix is solved with at every evaluation."""
    q, p = y[:2], y[2:]
    c = jnp.cos(q[0] - q[1])
    mass = jnp.array([[2.0, 0.0], [0.0, 1.0]])
    mass = mass.at[0, 1].set(c).at[1, 0].set(c)
    torque = jnp.stack([-2.0 * jnp.sin(q[0]), -jnp.sin(q[1])])
    return jnp.concatenate([p, jnp.linalg.solve(mass, torque)])


def _field(fun):
    return lambda y: fun(0.3, y, None)


def _neural_field():
    mlp = eqx.nn.MLP(2, 2, 3, 1, activation=jax.nn.softplus, key=jr.key(0))
    return lambda y: mlp(y), uniform(2)


def _diffeqsolve(solver, y0, fun, adjoint):
    def solve(y):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(fun),
            solver,
            0.0,
            0.3,
            0.1,
            y,
            adjoint=adjoint,
            max_steps=4,
        ).ys

    return case(solve, y0)


def _adaptive(y):
    return diffrax.diffeqsolve(
        diffrax.ODETerm(_oscillator),
        diffrax.Tsit5(),
        0.0,
        0.5,
        0.1,
        y,
        adjoint=diffrax.ForwardMode(),
        stepsize_controller=diffrax.PIDController(rtol=1e-3, atol=1e-4),
        saveat=diffrax.SaveAt(ts=jnp.array([0.2, 0.5])),
        max_steps=32,
    ).ys


def _implicit(y):
    root_finder = diffrax.VeryChord(rtol=1e-9, atol=1e-12)
    return diffrax.diffeqsolve(
        diffrax.ODETerm(_oscillator),
        diffrax.Kvaerno3(root_finder=root_finder),
        0.0,
        0.2,
        0.1,
        y,
        adjoint=diffrax.ForwardMode(),
        stepsize_controller=diffrax.ConstantStepSize(),
        max_steps=4,
    ).ys


def _linear_solve(v, operator: Callable = lineax.MatrixLinearOperator, solver=None):
    matrix, vector = v
    solver = lineax.AutoLinearSolver(well_posed=True) if solver is None else solver
    return lineax.linear_solve(operator(matrix), vector, solver).value


def _tridiagonal_solve(v):
    diagonal, lower, upper, vector = v
    operator = lineax.TridiagonalLinearOperator(diagonal, lower, upper)
    return lineax.linear_solve(operator, vector).value


def _positive_definite_solve(v):
    tagged = lambda a: lineax.MatrixLinearOperator(  # noqa: E731
        a @ a.T, lineax.positive_semidefinite_tag
    )
    return _linear_solve(v, tagged, lineax.Cholesky())


def _root(x):
    def residual(y, args):
        return y + 0.3 * jnp.tanh(y[::-1]) - args

    solver = optimistix.Newton(rtol=1e-12, atol=1e-12)
    return optimistix.root_find(residual, solver, jnp.zeros_like(x), x).value


def _fixed_point(x):
    solver = optimistix.FixedPointIteration(rtol=1e-14, atol=1e-14)
    contraction = lambda y, args: 0.3 * jnp.cos(y) * args  # noqa: E731
    return optimistix.fixed_point(contraction, solver, jnp.zeros_like(x), x).value


_ITERATED = "iterated to convergence"

CASES: dict[str, Case] = {
    "field_brusselator": case(_field(brusselator), uniform(2, 4)),
    "field_hires": case(kinetics.hires, uniform(8)),
    "field_lorenz": case(_field(lorenz), uniform(3)),
    "field_lotka_volterra": case(
        _field(lotka_volterra), (np.array(1.5), np.array(0.7))
    ),
    "field_neural": Case(_neural_field),
    "field_pendulum": case(_field(pendulum), uniform(4)),
    "field_robertson": case(kinetics.robertson, np.array([0.9, 2e-5, 0.1])),
    "field_van_der_pol": case(_field(_oscillator), uniform(2)),
    "diffeqsolve_adaptive": case(_adaptive, uniform(2)),
    "diffeqsolve_euler": _diffeqsolve(
        diffrax.Euler(), uniform(3), lorenz, diffrax.DirectAdjoint()
    ),
    "diffeqsolve_implicit": case(_implicit, uniform(2), rtol=1e-7, reason=_ITERATED),
    "diffeqsolve_tsit5": _diffeqsolve(
        diffrax.Tsit5(), uniform(2), _oscillator, diffrax.ForwardMode()
    ),
    "lineax_cholesky": case(_positive_definite_solve, (spd(2), uniform(2))),
    "lineax_diagonal": case(
        lambda v: _linear_solve(v, lineax.DiagonalLinearOperator),
        (uniform(3) + 2.0, uniform(3, seed=1)),
    ),
    "lineax_lu": case(_linear_solve, (well_conditioned(2), uniform(2))),
    "lineax_qr": case(
        lambda v: _linear_solve(v, solver=lineax.QR()), (uniform(3, 2), uniform(3))
    ),
    "lineax_tridiagonal": case(
        _tridiagonal_solve, (uniform(3) + 4.0, uniform(2), uniform(2), uniform(3))
    ),
    "optimistix_fixed_point": case(_fixed_point, uniform(2)),
    "optimistix_root": case(_root, uniform(2)),
}
