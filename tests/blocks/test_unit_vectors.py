"""Dense blocks of linear maps, column by column and row by row."""

import jax
import jax.numpy as jnp
import numpy as np
from eqx_cc._blocks.unit_vectors import by_columns, by_rows, unit_vectors


def _linear(x, y):
    return [x @ y[:, None] + x[:, :1], y[0] * jnp.sum(x)]


def test_unit_vectors_of_several_arrays():
    scalar, pair = unit_vectors([jnp.ones(()), jnp.ones(2)])
    np.testing.assert_array_equal(scalar, [1, 0, 0])
    np.testing.assert_array_equal(pair, [[0, 0], [1, 0], [0, 1]])


def test_columns_are_rows_are_the_jacobian():
    y = jnp.array([2.0, -1.0])
    inputs = [jnp.ones((3, 2))]
    fun = lambda x: _linear(x, y)  # noqa: E731
    outputs, pullback = jax.vjp(fun, *inputs)
    expected = jax.jacfwd(fun)(*inputs)
    columns, rows = by_columns(fun, inputs), by_rows(pullback, outputs, 1)
    for blocks in (columns[0], rows[0]):
        for (value,), jacobian in zip(blocks, expected, strict=True):
            np.testing.assert_allclose(value, jnp.squeeze(jacobian), rtol=1e-15)


def test_a_complex_block_acts_on_the_input_and_its_conjugate():
    fun = lambda z: [(2.0 + 1.0j) * z + 3.0j * jnp.conj(z)]  # noqa: E731
    [[(linear, conjugate)]] = by_columns(fun, [jnp.ones((), complex)])
    np.testing.assert_allclose([linear, conjugate], [2.0 + 1.0j, 3.0j], rtol=1e-15)
