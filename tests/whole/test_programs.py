"""Random programs in random orders. The id of a test is the seed of its program."""

import numpy as np
import pytest
from helpers import assert_jacobian_close, Shuffled
from programs import array_inputs, array_program, scalar_program


# Sums of products along many paths: cancellation is not excluded.
RTOL = 1e-11


def _check_scalar(seed, orders):
    x = np.random.default_rng(seed).uniform(-1.0, 1.0, 4)
    assert_jacobian_close(scalar_program(seed), x, orders, rtol=RTOL)


def _check_array(seed, orders):
    assert_jacobian_close(array_program(seed), array_inputs(seed), orders, rtol=RTOL)


def _orders(seed):
    return "markowitz", Shuffled(f"{seed}")


def _more_orders(seed):
    return "forward", "reverse", *(Shuffled(f"{seed} {i}") for i in range(2))


@pytest.mark.parametrize("seed", range(10))
def test_scalar(seed):
    _check_scalar(seed, _orders(seed))


@pytest.mark.parametrize("seed", range(20))
def test_array(seed):
    _check_array(seed, _orders(seed))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(50))
def test_scalar_more(seed):
    _check_scalar(seed, _more_orders(seed))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(150))
def test_array_more(seed):
    _check_array(seed, _more_orders(seed))
