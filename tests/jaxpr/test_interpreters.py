"""What reads jaxprs finds what it needs for primitives that are ours."""

import eqx_cc
import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify, jet


X = jnp.array([0.3, 0.7, 1.1])


def fun(x):
    return jnp.sin(x) * x[0]


def wide(x):
    """One whose Jacobian is put together by a scatter, in JAX's own operations."""
    return jnp.sin(x) * jnp.roll(x, 1)


def solved(x):
    return eqx_cc.preaccumulate(lambda x: fun(x) ** 2)(x)


# Ours, JAX's, a point, and the primitives in it: each is in a program that is compiled.
CASES = {
    "jacobian": (eqx_cc.filter_jacobian(fun), jax.jacfwd(fun), X, "native_call"),
    "scattered": (
        eqx_cc.filter_jacobian(wide, granularity="scalar"),
        jax.jacfwd(wide),
        jnp.linspace(0.1, 1.0, 40),
        "native_call",
    ),
    "batch": (
        jax.vmap(eqx_cc.filter_jacobian(fun)),
        jax.vmap(jax.jacfwd(fun)),
        jnp.linspace(0.1, 1.0, 12).reshape(4, 3),
        "native_call",
    ),
    "function": (solved, lambda x: fun(x) ** 2, X, "preaccumulated"),
    "product": (
        lambda x: jax.jvp(solved, (x,), (x,))[1],
        lambda x: jax.jvp(lambda x: fun(x) ** 2, (x,), (x,))[1],
        X,
        "jacobian_product",
    ),
}
EVERY = pytest.mark.parametrize("name", CASES)


def compared(name, transform):
    ours, theirs, x, primitive = CASES[name]
    assert f"{primitive}[" in str(jax.make_jaxpr(ours)(x))
    ours, theirs = (transform(jax.jit(f), x) for f in (ours, theirs))
    leaves = jax.tree.leaves(ours), jax.tree.leaves(theirs)
    for a, b in zip(*leaves, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


@EVERY
def test_jet(name):
    compared(name, lambda f, x: jet.jet(f, (x,), ([jnp.ones_like(x), x, 2 * x],)))


@EVERY
@pytest.mark.parametrize("bad", [False, True])
def test_checkify_looks_inside(name, bad):
    def checked(f, x):
        x = x * jnp.nan if bad else x
        error, result = checkify.checkify(f, errors=checkify.all_checks)(x)
        assert (error.get() is not None) == bad
        return None if bad else result  # Which entries are NaN may differ.

    compared(name, checked)


@EVERY
def test_errors_of_users_survive(name):
    """`checkify` hands errors on through what is ours."""

    def checked(f, x):
        def run(x):
            checkify.check(x.sum() < 0, "too large")
            return f(x)

        error, result = checkify.checkify(run, errors=checkify.all_checks)(x)
        assert "too large" in (error.get() or "")
        return result

    compared(name, checked)


def bound(f, x):
    """An interpreter that looks into calls, and binds primitives one by one."""

    def run(jaxpr, constants, arguments):
        inputs = [*jaxpr.constvars, *jaxpr.invars]
        env = dict(zip(inputs, [*constants, *arguments]))
        read = lambda v: v.val if isinstance(v, jex.Literal) else env[v]  # noqa: E731
        for eqn in jaxpr.eqns:
            operands = list(map(read, eqn.invars))
            if eqn.primitive.name in ("jit", "pjit"):
                results = run(eqn.params["jaxpr"].jaxpr, (), operands)
            else:
                params = eqn.primitive.get_bind_params(eqn.params)
                results = eqn.primitive.bind(*operands, **params)
                results = results if eqn.primitive.multiple_results else [results]
            env.update(zip(eqn.outvars, results))
        return list(map(read, jaxpr.outvars))

    closed = jax.make_jaxpr(f)(x)
    return run(closed.jaxpr, closed.consts, [x])


@EVERY
@pytest.mark.parametrize("compiled", [False, True])
def test_interpreters_that_bind(name, compiled):
    def interpreted(f, x):
        run = lambda x: bound(f, x)  # noqa: E731
        return (jax.jit(run) if compiled else run)(x)

    compared(name, interpreted)


@EVERY
def test_linearize_and_vjp(name):
    def both(f, x):
        y, push = jax.linearize(f, x)
        _, pull = jax.vjp(f, x)
        return y, push(jnp.ones_like(x)), pull(jnp.ones_like(y))

    compared(name, both)


@EVERY
def test_exported_for_elsewhere(name):
    """There are no native calls in it, which are those of a CPU."""
    ours, _, x, _ = CASES[name]
    elsewhere = jax.export.export(jax.jit(ours), platforms=["tpu", "cuda"])(x)
    assert "small_call" not in elsewhere.mlir_module()


@EVERY
def test_serialised(name):
    pytest.importorskip("flatbuffers")

    def there_and_back(f, x):
        exported = jax.export.export(f, platforms=["cpu", "cuda"])(x)
        return jax.export.deserialize(exported.serialize()).call(x)

    compared(name, there_and_back)


GUARDED = {
    "select": lambda x: jnp.where(x > 0, jnp.sqrt(jnp.abs(x)), 0.0),
    "gather": lambda x: x[jnp.array([2, 1, 1])] ** 2,
    "constant": lambda x: jnp.ones(2),
    "inverse": lambda x: jnp.linalg.inv(jnp.outer(x, x) + jnp.eye(3)),
}


@pytest.mark.parametrize("granularity", ["auto", "array"])
@pytest.mark.parametrize("name", GUARDED)
def test_constants_are_no_implicit_transfers(name, granularity):
    """In the first call, where they are computed."""
    ours = eqx_cc.filter_jacobian(GUARDED[name], granularity=granularity)
    with jax.transfer_guard("disallow"):
        found = jax.jit(ours)(X)
    np.testing.assert_allclose(found, jax.jacfwd(GUARDED[name])(X), atol=1e-12)
