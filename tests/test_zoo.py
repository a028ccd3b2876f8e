"""Every function of the zoo, in several orders of elimination, against JAX."""

import pytest
from helpers import assert_jacobian_close
from zoo import ZOO


def _check(name, orders):
    each = ZOO[name]
    fun, x = each.build()
    assert_jacobian_close(fun, x, orders, rtol=each.rtol, reference=each.reference)


def test_size():
    assert len(ZOO) >= 150


@pytest.mark.parametrize("name", ZOO)
def test_markowitz_and_random(name):
    _check(name, ("markowitz", f"random 0 {name}"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_other_orders(name):
    _check(name, ("forward", "reverse", f"random 1 {name}"))
