"""Every function of the zoo, in several orders of elimination, against JAX."""

import contextlib

import equinox as eqx
import eqx_cc
import jax
import numpy as np
import pytest
from helpers import as_arrays, assert_jacobian_close, flatten, intermediates, Shuffled
from zoo import published, ZOO


def _check(name, orders, granularity="array"):
    each = ZOO[name]
    fun, x = each.build()
    assert_jacobian_close(
        fun,
        x,
        orders,
        rtol=each.rtol,
        reference=each.reference,
        granularity=granularity,
    )


def test_size():
    assert len(ZOO) >= 150


# Their blocks fill in so much in a random order that XLA takes its time.
HEAVY = ("published-Encoder", "published-RoeFlux_3d")


# Several seconds of tracing or compiling each.
LONG = frozenset(
    """
    control_flow-associative_scan indexing-histogram indexing-interpolate
    indexing-put_along_axis layers-gru_cell_by_inputs layers-lstm_cell_by_inputs
    layers-mlp_by_inputs layers-multihead_attention_by_inputs linalg-expm
    linalg-kalman_update linalg-svd published-BlackScholes_Jacobian published-Encoder
    published-HumanHeartDipole published-PropaneCombustion published-RobotArm_6DOF
    published-RoeFlux_1d published-RoeFlux_3d published-random_arrays
    reductions-corrcoef rules-hessian_vector solvers-diffeqsolve_adaptive
    solvers-diffeqsolve_implicit solvers-diffeqsolve_tsit5 special-attention_causal
    special-betaln special-random_gamma special-zeta
    """.split()
)


# A third of the rest.
SHORT = frozenset(sorted(ZOO.keys() - LONG)[::3])


def _marked(names, is_slow):
    """Names as parameters, some of them marked."""
    slow = pytest.mark.slow
    return [pytest.param(n, marks=slow) if is_slow(n) else n for n in names]


def test_names():
    assert ZOO.keys() >= LONG | NOT_SCALAR


@pytest.mark.parametrize("name", _marked(ZOO, lambda name: name not in SHORT))
def test_markowitz(name):
    _check(name, ("markowitz",))


@pytest.mark.parametrize("name", sorted(ZOO.keys() - LONG)[::9])
def test_random(name):
    _check(name, (Shuffled(f"{name} 0"),))


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_other_orders(name):
    random = () if name in HEAVY else (Shuffled(f"{name} 0"),)
    _check(name, ("forward", "reverse", *random, Shuffled(f"{name} 1")))


# What is not expanded into scalars: loops and branches, effects, random keys, and what
# would be too large.
NOT_SCALAR = frozenset(
    """
    elementwise-polyval special-ndtri special-spence shapes-diag_of indexing-histogram
    indexing-interpolate indexing-searchsorted reductions-corrcoef linalg-expm
    linalg-logdet_cholesky linalg-gaussian_log_likelihood control_flow-cond
    control_flow-cond_closure control_flow-cond_constant_branch
    control_flow-cond_in_cond control_flow-cond_in_scan control_flow-cond_two_operands
    control_flow-fori control_flow-fori_indexed control_flow-fori_traced_bound
    control_flow-leapfrog control_flow-map control_flow-map_batched
    control_flow-newton_unrolled control_flow-rnn_checkpointed control_flow-scan_carry
    control_flow-scan_full control_flow-scan_in_cond control_flow-scan_in_while
    control_flow-scan_integer_carry control_flow-scan_nested control_flow-scan_of_none
    control_flow-scan_pair_carry control_flow-scan_reverse control_flow-scan_unrolled
    control_flow-scan_ys_only control_flow-switch control_flow-while
    control_flow-while_constants rules-custom_jvp_in_while rules-debug_callback
    rules-debug_print rules-custom_vjp_in_scan rules-random_key_argument
    solvers-diffeqsolve_adaptive solvers-diffeqsolve_euler solvers-diffeqsolve_implicit
    solvers-diffeqsolve_tsit5 traps-cond_at_zero published-Encoder
    """.split()
)


def _check_scalars(name):
    refused = pytest.raises(ValueError, match="cannot be expanded into scalars")
    with refused if name in NOT_SCALAR else contextlib.nullcontext():
        _check(name, ["markowitz"], "scalar")


@pytest.mark.parametrize("name", _marked(sorted(ZOO)[::16], LONG.__contains__))
def test_scalars(name):
    _check_scalars(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("native", ["on", "off"])
def test_all_scalars(name, native, monkeypatch):
    monkeypatch.setenv("EQX_CC_NATIVE", native)
    jax.clear_caches()
    _check_scalars(name)


SMALL = (
    "windows-argument",
    "windows-mandelbrot",
    "traps-complete",
    "traps-overwritten",
)


@pytest.mark.parametrize("name", SMALL)
def test_many_random_orders(name):
    """Of complex vertices that real ones follow, of nothing but fill-in, of writes."""
    _check(name, [Shuffled(f"{name} {i}") for i in range(8)])


@pytest.mark.parametrize("name", ["RobotArm_6DOF", "HelmholtzEnergy", "KerrSenMetric"])
def test_sequence_of_vertices(name):
    fun, x = published.CASES[name].build()
    vertices = intermediates(*flatten(fun, x))
    order = np.random.default_rng(0).permutation(vertices).tolist()
    assert_jacobian_close(fun, x, [order])


LAYERS = [name for name in ZOO if name.startswith("layers")]


@pytest.mark.parametrize("name", _marked(LAYERS, LONG.__contains__))
def test_structure_is_that_of_equinox(name):
    """The PyTrees, shapes and dtypes, without a compilation."""
    fun, x = ZOO[name].build()
    x = as_arrays(x)
    ours = eqx.filter_eval_shape(eqx_cc.filter_jacobian(fun), x)
    assert eqx.tree_equal(ours, eqx.filter_eval_shape(eqx.filter_jacfwd(fun), x))
