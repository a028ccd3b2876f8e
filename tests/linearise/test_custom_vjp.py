"""Functions with a custom reverse rule: its structure is that of the Jacobian,
and whatever it does with cotangents is what `jax.jacrev` makes of it."""

import functools as ft

import equinox as eqx
import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax


N = 24
X = jnp.linspace(0.3, 1.5, N)
WEIGHTS = np.random.default_rng(0).normal(size=(N, N))


def _with_rule(fun, forward, backward, **kwargs):
    function = jax.custom_vjp(fun, **kwargs)
    function.defvjp(forward, backward)
    return function


def _elementwise(backward):
    """The sine, with any derivative."""
    return _with_rule(jnp.sin, lambda x: (jnp.sin(x), x), backward)


straight_through = _with_rule(
    lambda x: jnp.round(x), lambda x: (jnp.round(x), None), lambda _, g: (g,)
)
scaled = _elementwise(lambda x, g: (3 * g * jnp.cos(x),))
clipped = _elementwise(lambda x, g: (jnp.clip(g, -0.5, 0.5) * jnp.cos(x),))
decayed = _elementwise(lambda x, g: (g * jnp.cos(x) + 0.1 * x,))
floored = _elementwise(lambda x, g: (jnp.where(x > 0.7, g, 0.25),))
guarded = _elementwise(lambda x, g: (jnp.where(x > 0.7, g, 0.0) / x,))
normalised = _elementwise(lambda x, g: (g / (1 + jnp.sum(g**2)),))
looped = _elementwise(
    lambda x, g: (lax.fori_loop(0, 3, lambda i, c: c * jnp.cos(x), g),)
)
counted = _elementwise(
    lambda x, g: (g + jnp.linspace(0, 1, x.size, dtype=x.dtype).reshape(x.shape),)
)
dropped = _elementwise(lambda x, g: (None,))
shifted = _with_rule(
    lambda x: jnp.roll(x, 1) * x,
    lambda x: (jnp.roll(x, 1) * x, x),
    lambda x, g: (g * jnp.roll(x, 1) + jnp.roll(g * x, -1),),
)
product = _with_rule(
    lambda weights, x: weights @ x,
    lambda weights, x: (weights @ x, (weights, x)),
    lambda saved, g: (jnp.outer(g, saved[1]), saved[0].T @ g),
)
gathered = _with_rule(
    lambda x, places: x[places] ** 2,
    lambda x, places: (x[places] ** 2, (x, places)),
    lambda saved, g: (
        jnp.zeros_like(saved[0]).at[saved[1]].add(2 * g * saved[0][saved[1]]),
        None,
    ),
)
split = _with_rule(
    lambda x: (x[:3], {"rest": jnp.sin(x[3:]), "size": x.size}),
    lambda x: ((x[:3], {"rest": jnp.sin(x[3:]), "size": x.size}), x),
    lambda x, g: (jnp.concatenate([g[0], g[1]["rest"] * jnp.cos(x[3:])]),),
)
power = _with_rule(
    lambda x, n: x**n,
    lambda x, n: (x**n, x),
    lambda n, x, g: (n * g * x ** (n - 1),),
    nondiff_argnums=(1,),
)


@eqx.filter_custom_vjp
def filtered(x, other):
    return x * other["scale"]


@filtered.def_fwd
def _filtered_forward(perturbed, x, other):
    return x * other["scale"], None


@filtered.def_bwd
def _filtered_backward(residuals, g, perturbed, x, other):
    return 2 * g * other["scale"]


PLACES = np.array([0, 3, 3, 5])
CASES = {
    "straight through": (straight_through, "identity"),
    "scaled": (lambda x: scaled(x) * x, "diagonal"),
    "guarded": (guarded, "diagonal"),
    "shifted": (lambda x: jnp.cos(shifted(jnp.sin(x))), "banded (offsets -1, 0, 23)"),
    "gathered": (lambda x: gathered(x, PLACES), None),
    "traced places": (lambda x: gathered(x, jnp.argsort(x)[:3]), None),
    "split": (lambda x: [split(x)[0] * 2, split(x)[1]["rest"]], None),
    "power": (lambda x: power(x, 3), "diagonal"),
    "rows": (lambda x: jax.vmap(scaled)(x.reshape(6, 4)).sum(1), None),
    "twice": (lambda x: scaled(scaled(x)), "diagonal"),
    "in a scan": (
        lambda x: lax.scan(lambda c, _: (scaled(c), None), x, None, length=3)[0],
        "diagonal",
    ),
    "in a branch": (lambda x: lax.cond(x[0] > 0, scaled, jnp.sin, x), "diagonal"),
    "in a call": (lambda x: jax.jit(jax.checkpoint(scaled))(x), "diagonal"),
    "filtered": (
        lambda x: filtered(x, {"scale": jnp.cos(X).astype(x.dtype)}),
        "diagonal",
    ),
    "product": (lambda x: product(WEIGHTS.astype(x.dtype), x), "dense"),
    "both operands": (lambda x: product(jnp.outer(x, x), x), "dense"),
    "no number": (lambda x: scaled(jnp.sqrt(x - 0.6)), "diagonal"),
    # The rule does something else than to multiply: its rows are computed.
    "clipped": (clipped, "dense"),
    "decayed": (decayed, "dense"),
    "floored": (floored, "dense"),
    "normalised": (normalised, "dense"),
    "looped": (looped, "dense"),
    "counted": (counted, "dense"),
    "nothing": (lambda x: dropped(x) + x, "identity"),
}


def _is_block(x):
    return isinstance(x, eqx_cc.Partial)


def _off_diagonal_numbers(array):
    """JAX multiplies the zeros beside what is no number."""
    return np.where(np.isnan(array) & ~np.eye(N, dtype=bool), 0, array)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_jacobians(name, dtype):
    fun, structure = CASES[name]
    fun, x = ft.partial(fun), X.astype(dtype)
    expected = jax.tree.leaves(jax.jacrev(fun)(x))
    if name == "no number":
        expected = [_off_diagonal_numbers(expected[0])]
    order = eqx_cc.cc_jacobian(fun, order="markowitz")(x)
    default = eqx_cc.filter_jacobian(fun)(x)
    structured = eqx_cc.cc_jacobian(fun, structured=True)(x)
    blocks = jax.tree.leaves(structured, is_leaf=_is_block)
    for actual in (order, default, [block.todense() for block in blocks]):
        for one, other in zip(jax.tree.leaves(actual), expected, strict=True):
            if name == "no number":
                one = _off_diagonal_numbers(np.asarray(one))
            assert one.dtype == other.dtype
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    if structure is not None:
        assert blocks[0].pattern.name == structure


@pytest.mark.parametrize("shape", [(), (1,), (0,), (2, 3)])
@pytest.mark.parametrize("function", [scaled, clipped, straight_through, decayed])
def test_shapes(function, shape):
    x = jnp.linspace(0.2, 0.9, int(np.prod(shape))).reshape(shape)
    actual = eqx_cc.cc_jacobian(function, order="reverse")(x)
    np.testing.assert_allclose(actual, jax.jacrev(function)(x), atol=1e-12)


def test_zeros_of_symbolic_rules():
    """A rule may ask which of its operands are differentiated."""

    def forward(x, y):
        saved = x.perturbed, y.perturbed, x.value, y.value
        return x.value * y.value, saved

    def backward(saved, g):
        _, by_y, x, y = saved
        return g * y, g * x if by_y else None

    function = jax.custom_vjp(lambda x, y: x * y)
    function.defvjp(forward, backward, symbolic_zeros=True)

    def fun(x):
        return function(x, jnp.cos(x)) + function(x, 2.0 * jnp.ones(N))

    actual = eqx_cc.cc_jacobian(fun, structured=True)(X)
    np.testing.assert_allclose(actual.todense(), jax.jacrev(fun)(X), atol=1e-12)
    assert actual.pattern.name == "diagonal"


def test_second_derivatives():
    """The rule itself is differentiated, in reverse as it is written."""

    def energy(x):
        return jnp.sum(scaled(x) ** 2)

    actual = eqx_cc.filter_jacobian(jax.grad(energy))(X)
    expected = jax.jacrev(jax.grad(energy))(X)
    np.testing.assert_allclose(actual, expected, atol=1e-12)


def test_batches():
    batch = jnp.stack([X, X + 0.2])
    for name in ("scaled", "clipped", "shifted", "gathered"):
        fun = ft.partial(CASES[name][0]) if name in CASES else clipped
        actual = jax.vmap(eqx_cc.cc_jacobian(fun, order="markowitz"))(batch)
        expected = jax.vmap(jax.jacrev(fun))(batch)
        np.testing.assert_allclose(actual, expected, atol=1e-12)


COMPLEX = {
    "of real numbers": lambda x: function_of_complex(lax.complex(x, 0 * x)).imag,
    "between": lambda x: jnp.abs(function_of_complex(lax.complex(x, 1 - x) ** 2)),
    "to real numbers": lambda x: size_of_complex(lax.complex(x, 1 - x)),
    "from real numbers": lambda x: jnp.abs(turned(x) + lax.complex(x, x)),
}
function_of_complex = _with_rule(
    lambda z: z**2 * jnp.conj(z),
    lambda z: (z**2 * jnp.conj(z), z),
    lambda z, g: (2 * z * jnp.conj(z) * g + jnp.conj(z**2 * g),),
)
size_of_complex = _with_rule(
    lambda z: (z * jnp.conj(z)).real,
    lambda z: ((z * jnp.conj(z)).real, z),
    lambda z, g: (2 * lax.complex(g, jnp.zeros_like(g)) * jnp.conj(z),),
)
turned = _with_rule(
    lambda x: lax.complex(jnp.cos(x), jnp.sin(x)),
    lambda x: (lax.complex(jnp.cos(x), jnp.sin(x)), x),
    lambda x, g: ((1j * lax.complex(jnp.cos(x), jnp.sin(x)) * g).real,),
)


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_numbers(name):
    fun = COMPLEX[name]
    expected = jax.jacrev(fun)(X)
    for order in ("auto", "markowitz"):
        actual = eqx_cc.cc_jacobian(fun, order=order)(X)
        np.testing.assert_allclose(actual, expected, atol=1e-12)
