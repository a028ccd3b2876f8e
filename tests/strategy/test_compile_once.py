"""Calls outside of `jax.jit`: what is compiled, when, and that nothing else changes."""

import equinox as eqx
import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc._strategy import compile_once as _compile_once


X = jnp.asarray([0.3, 0.7, 0.2])


@pytest.fixture(autouse=True)
def compiled(monkeypatch):
    """The problems whose Jacobians were compiled."""
    _compile_once.forget_compiled()
    problems, compile_it = [], _compile_once._compiled

    def recorded(problem, *args):
        problems.append(problem)
        return compile_it(problem, *args)

    monkeypatch.setattr(_compile_once, "_compiled", recorded)
    return problems


def check(fun, x=X):
    ours, theirs = eqx_cc.filter_jacobian(fun)(x), jax.jacfwd(fun)(x)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


def test_a_function_that_is_made_anew(compiled):
    for _ in range(3):
        check(lambda x: jnp.sin(x) * x)
    assert len(compiled) == 1
    check(lambda x: jnp.sin(x) * x, jnp.ones(4))
    assert len(compiled) == 2


def test_captured_arrays_are_arguments(compiled):
    """Those of one shape too, on their own and in the body of a loop."""
    for scale in (1.0, 2.0, 3.0):
        a, b, c = scale * X, scale - X, jnp.asarray(scale)

        def fun(x):
            y = b * jnp.sin(a * x) - c * a
            return jax.lax.fori_loop(0, 3, lambda _, y: jnp.cos(c * y) * a, y)

        check(fun)
    assert len(compiled) == 1


@pytest.mark.parametrize(
    "make", [int, float, np.float64, lambda n: np.full(3, 1.0 * n)]
)
def test_other_constants_are_a_part_of_the_program(make, compiled):
    for number in (2, 3, 2):
        check(lambda x: (make(number) * x) ** 2)
    assert len(compiled) == 2


def test_constants_in_the_body_of_a_loop():
    for number in (2.0, 3.0, jnp.asarray(4.0), jnp.asarray(5.0), np.full(3, 2.0)):
        body = lambda _, x: jnp.sin(number * x)  # noqa: E731
        check(lambda x: jax.lax.fori_loop(0, 3, body, x))


_LOOPS = {
    "scan": lambda body, x: jax.lax.scan(lambda c, _: (body(c), None), x, length=2)[0],
    "fori": lambda body, x: jax.lax.fori_loop(0, 2, lambda _, c: body(c), x),
    "cond": lambda body, x: jax.lax.cond(x[0] < 9, body, jnp.sin, x),
}


@pytest.mark.parametrize("loop", _LOOPS.values(), ids=_LOOPS)
def test_bodies_that_differ_in_one_operand(loop):
    """All that a body computes has a number of its own in the key, also the results of
    an equation that has several."""

    def body(chosen, x):
        parts = jax.lax.split(x, (2, 2, 2))
        known = [*parts, jnp.sin(parts[0]), jnp.cos(parts[1])]
        return jnp.concatenate([known[3] * known[chosen] + known[4], *parts[:2]])

    x = jnp.arange(1.0, 7.0) / 3
    for chosen in range(5):
        fun = lambda x, chosen=chosen: loop(lambda c: body(chosen, c), x)  # noqa: E731
        for _ in range(2):
            ours = eqx_cc.filter_jacobian(fun)(x)
            np.testing.assert_allclose(ours, jax.jacfwd(fun)(x), rtol=1e-5, atol=1e-6)


def test_indices_and_masks_are_a_part_of_the_program(compiled):
    for indices in ([0, 1], [2, 1]):
        at, mask = jnp.asarray(indices), jnp.asarray([False, True])
        check(lambda x: jnp.where(mask, x[at] ** 2, 0.0))
    assert len(compiled) == 2


def test_signs_of_zero_and_types_of_numbers():
    for zero in (0.0, -0.0):
        assert jnp.isinf(eqx_cc.filter_jacobian(lambda x: x / (zero * 1.0))(X)[0, 0])
        value, _ = eqx_cc.filter_value_and_jacobian(lambda x: x / zero)(X)
        assert jnp.sign(value[0]) == (1.0 if str(zero) == "0.0" else -1.0)


def test_rules_of_derivatives(compiled):
    """A rule is a part of the program, though JAX makes a function of it at each
    trace."""

    def with_rule(scale):
        fun = jax.custom_jvp(jnp.sin)
        fun.defjvp(lambda x, t: (jnp.sin(*x), scale * t[0]))
        return fun

    for scale in (2.0, 3.0, 3.0, 2.0):
        jacobian = eqx_cc.filter_jacobian(lambda x: with_rule(scale)(x))(X)
        np.testing.assert_allclose(jacobian, scale * np.eye(3))
    assert len(compiled) == 2


def test_rules_of_reverse_mode(compiled):
    def with_rule(scale):
        fun = jax.custom_vjp(jnp.sin)
        fun.defvjp(lambda x: (jnp.sin(x), None), lambda _, ct: (scale * ct,))
        return fun

    for scale in (2.0, 3.0, 3.0, 2.0):
        jacobian = eqx_cc.filter_jacobian(lambda x: with_rule(scale)(x))(X)
        np.testing.assert_allclose(jacobian, scale * np.eye(3))
    assert len(compiled) <= 2


def test_activations_are_compiled(compiled):
    mlp = eqx.nn.MLP(3, 2, 4, 2, key=jax.random.key(0))
    for scale in (1.0, 2.0):
        scaled = jax.tree.map(
            lambda x: scale * x if eqx.is_inexact_array(x) else x,
            mlp,
        )
        check(scaled)
    assert len(compiled) == 1


def test_constants_that_change_at_every_call(compiled):
    """Two programs are compiled in vain, and no more."""

    def call(number):
        check(lambda x: jnp.sin(number * x))

    for number in range(6):
        call(float(number))
    assert len(compiled) == 2
    call(5.0)
    call(5.0)
    assert len(compiled) == 3


def test_long_programs(compiled, monkeypatch):
    monkeypatch.setattr(_compile_once, "_FEW_EQUATIONS", 3)
    monkeypatch.setattr(_compile_once, "_CALLS", 3)

    def fun(x):
        return jnp.sin(jnp.cos(jnp.exp(x) * x))

    for count in (0, 0, 1, 1):
        check(fun)
        assert len(compiled) == count


def test_effects_and_callbacks(compiled):
    calls = []

    def effect(x):
        jax.debug.callback(lambda _: calls.append("effect"), x)
        return jnp.sin(x)

    def callback(x):
        host = jax.pure_callback(np.sin, x, jax.lax.stop_gradient(x))
        return x * jax.lax.stop_gradient(host)

    for _ in range(2):
        eqx_cc.filter_jacobian(effect)(X)
        jax.effects_barrier()
        check(callback)
    assert calls == ["effect"] * 2 and compiled == []


def test_errors_of_the_function():
    def fun(x):
        x = eqx.error_if(x, x[0] > 0, "too large")
        return jnp.sin(x)

    for _ in range(2):
        with pytest.raises(Exception, match="too large"):
            jax.block_until_ready(eqx_cc.filter_jacobian(fun)(X))


def test_values_and_auxiliary_data(compiled):
    def fun(x):
        return {"y": jnp.sin(x)}, {"aux": x[0], "name": "a"}

    for x in (X, 2 * X):
        (value, aux), jacobian = eqx_cc.filter_value_and_jacobian(fun, has_aux=True)(x)
        np.testing.assert_allclose(value["y"], jnp.sin(x), rtol=1e-14)
        np.testing.assert_allclose(jacobian["y"], jnp.diag(jnp.cos(x)), rtol=1e-14)
        assert aux["name"] == "a" and aux["aux"] == x[0]
    assert len(compiled) == 1


@pytest.mark.parametrize("scale", [jnp.asarray(2.0), 2.0])
def test_weak_types(scale, compiled):
    """Also of what is a native call."""
    fun = lambda x: (scale * jnp.sin(x), jnp.asarray(scale))  # noqa: E731
    for jacobian in (eqx_cc.filter_jacobian(fun, has_aux=True),) * 2:
        _, aux = jacobian(X)
        assert jax.typeof(aux).weak_type
        _, aux = jax.jit(jacobian)(X)
        assert jax.typeof(aux).weak_type
    assert len(compiled) == 1


def test_what_is_not_compiled(compiled):
    fun = lambda x: jnp.sin(x) * x  # noqa: E731
    eqx_cc.filter_jacobian(fun, order="reverse")(X)
    eqx_cc.cc_jacobian(fun, structured=True)(X)
    with jax.disable_jit():
        eqx_cc.filter_jacobian(fun)(X)
    with jax.debug_nans(True):
        eqx_cc.filter_jacobian(fun)(X)
    jax.vmap(eqx_cc.filter_jacobian(fun))(X[None])
    jax.jit(eqx_cc.filter_jacobian(fun))(X)
    jax.jvp(eqx_cc.filter_jacobian(fun), (X,), (X,))
    assert compiled == []


def test_what_is_stored_is_used(compiled):
    """A new order, or a new rule, is a reason to compile."""
    fun = lambda x: jnp.sin(x) * x  # noqa: E731
    check(fun)
    eqx_cc.optimise(fun, X, seconds=0.01)
    check(fun)
    assert len(compiled) == 2


def test_only_the_last_ones_are_kept(monkeypatch):
    monkeypatch.setattr(_compile_once, "_MAX_ENTRIES", 2)
    for size in range(1, 6):
        check(jnp.sin, jnp.ones(size))
    assert len(_compile_once._ENTRIES._values) == 2
