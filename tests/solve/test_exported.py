"""Solvers under `jax.export` and `jax.transfer_guard`."""

import eqx_cc
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx
import pytest


def function(y, args):
    return jnp.sin(y) + 2 * y + 0.1 * jnp.roll(y, 1)


def linear(y, throw):
    operator = lx.JacobianLinearOperator(function, y)
    solver = eqx_cc.EliminationSolver()
    return lx.linear_solve(operator, y, solver, throw=throw).value


def root(y, throw):
    return optx.root_find(function, eqx_cc.CCChord(1e-8, 1e-8), y, throw=throw).value


def compiled(solve, throw):
    return jax.jit(lambda y: solve(y, throw))


SOLVES = pytest.mark.parametrize("solve", [linear, root])
Y = jnp.linspace(0.1, 1.0, 3)


@SOLVES
def test_exported_if_nothing_is_thrown(solve):
    exported = jax.export.export(compiled(solve, throw=False))(Y)
    np.testing.assert_allclose(exported.call(Y), solve(Y, throw=False), atol=1e-12)


@SOLVES
def test_errors_are_callbacks_that_jax_does_not_export(solve):
    with pytest.raises(NotImplementedError, match="callback"):
        jax.export.export(compiled(solve, throw=True))(Y)


@SOLVES
def test_guarded_after_the_first_call(solve):
    run = compiled(solve, throw=True)
    run(Y)
    with jax.transfer_guard("disallow"):
        run(Y)
