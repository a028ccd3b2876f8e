"""Custom rules, and JAX's own transformations inside the function."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from ._case import Case, case, uniform


_X = uniform(3)
_A = uniform(3, 3) + 4.0 * np.eye(3)


@jax.custom_jvp
def _doubled(x):
    """Its derivative is twice what it should be, so that ignoring the rule shows."""
    return jnp.sin(x)


@_doubled.defjvp
def _(primals, tangents):
    return jnp.sin(primals[0]), 2.0 * jnp.cos(primals[0]) * tangents[0]


@jax.custom_vjp
def _tripled(x, y):
    return jnp.sin(x) * y


def _tripled_fwd(x, y):
    return _tripled(x, y), (x, y)


def _tripled_bwd(residuals, ct):
    x, y = residuals
    return 3.0 * jnp.cos(x) * y * ct, jnp.sin(x) * ct


_tripled.defvjp(_tripled_fwd, _tripled_bwd)


@eqx.filter_custom_jvp
def _filtered(x, *, scale):
    return scale * x**2


@_filtered.def_jvp
def _(primals, tangents, *, scale):
    return scale * primals[0] ** 2, 5.0 * scale * tangents[0]


@jax.custom_jvp
def _callback(x):
    return jax.pure_callback(np.sin, jax.typeof(x), x, vmap_method="expand_dims")


@_callback.defjvp
def _(primals, tangents):
    return _callback(primals[0]), jnp.cos(primals[0]) * tangents[0]


def _custom_jvp_nested(x):
    return jax.jit(_doubled)(_doubled(x) ** 2)


def _custom_vjp(x):
    return _tripled(jnp.exp(x), x**2)


def _custom_vjp_in_scan(x):
    return lax.scan(lambda c, y: (_tripled(c, y), None), x[0], x)[0]


def _custom_linear_solve(v):
    a, b = v
    solve = lambda mv, y: jnp.linalg.solve(jax.jacobian(mv)(y), y)  # noqa: E731
    transpose = lambda vm, y: jnp.linalg.solve(jax.jacobian(vm)(y), y)  # noqa: E731
    return lax.custom_linear_solve(lambda x: a @ x, b, solve, transpose)


def _conjugate_gradients(v):
    a, b = v
    spd = a @ a.T
    return jax.scipy.sparse.linalg.cg(lambda x: spd @ x, b, tol=1e-14, maxiter=9)[0]


def _custom_root(x):
    def residual(y):
        return y**3 + y - jnp.sin(x)

    def solve(f, y):
        step = lambda _, v: v - f(v) / (3.0 * v**2 + 1.0)  # noqa: E731
        return lax.fori_loop(0, 20, step, y)

    def tangent_solve(g, y):
        return y / g(jnp.ones_like(y))

    return lax.custom_root(residual, jnp.zeros_like(x), solve, tangent_solve)


def _checkpoint(x):
    return jax.checkpoint(lambda v: jnp.sin(jnp.sin(v) * v))(x) * x


def _checkpoint_policy(x):
    policy = jax.checkpoint_policies.dots_saveable
    return jax.checkpoint(lambda v: jnp.tanh(_A @ jnp.sin(v)), policy=policy)(x)


def _nested_jit(x):
    inner = jax.jit(lambda v: jnp.sin(v) * v)
    return jax.jit(lambda v: inner(v) + inner(inner(v)))(x)


def _vmap(x):
    return jax.vmap(lambda v, w: v * w + jnp.sum(x))(x, jnp.sin(x))


def _grad(x):
    return jax.grad(lambda v: jnp.sum(jnp.sin(v) * v[::-1]))(x)


def _hessian_vector(x):
    return jax.jvp(jax.grad(lambda v: jnp.prod(jnp.sin(v))), (x,), (jnp.cos(x),))[1]


def _jvp(x):
    return jax.jvp(lambda v: jnp.sin(v) * v, (x,), (x**2,))


def _vjp(x):
    out, pullback = jax.vjp(lambda v: jnp.exp(v) * v[0], x)
    return pullback(out)[0]


def _linearize(x):
    out, push = jax.linearize(lambda v: jnp.tanh(_A @ v), x)
    return push(out)


def _jacobian_inside(x):
    return jax.jacfwd(lambda v: jnp.sin(_A @ v))(x)


def _linear_transpose(x):
    transpose = jax.linear_transpose(lambda v: _A @ v, x)
    return transpose(jnp.sin(x))[0]


def _stop_gradient(x):
    return lax.stop_gradient(jnp.sin(x)) * x


def _straight_through(x):
    return x + lax.stop_gradient(jnp.round(x) - x)


def _error_if(x):
    return eqx.error_if(jnp.sin(x), jnp.any(x > 10.0), "too large") ** 2


def _debug_callback(x):
    ignore = lambda v: None  # noqa: E731
    jax.debug.callback(ignore, x)
    return jnp.sin(x)


def _debug_print(x):
    jax.debug.print("")
    return jnp.cos(x)


def _barrier(x):
    a, b = lax.optimization_barrier((jnp.sin(x), x**2))
    return a * b


def _closure_convert(x):
    converted, constants = jax.closure_convert(lambda v: v * x, x)
    return converted(jnp.sin(x), *constants)


def _random_normal(x):
    key = jax.random.key(0)
    return jax.random.normal(key, (3,), x.dtype) * x


def _random_key_argument(v):
    noise = jax.random.uniform(v["key"], (3,), v["x"].dtype)
    return jnp.sin(v["x"] + noise)


def _reparametrised(x):
    key = jax.random.key(1)
    return jax.random.gumbel(key, (3,)) * jnp.exp(x), jax.random.bernoulli(key, 0.5)


def _named(x):
    with jax.named_scope("scope"):
        return checkpoint_name(jnp.sin(x), "name") ** 2


def _while_custom_jvp(x):
    return lax.while_loop(
        lambda c: jnp.sum(c) < 9.0, lambda c: 2.0 * c + _doubled(c) + 2.0, x
    )


_FUNCTIONS = {
    "barrier": (_barrier, _X),
    "checkpoint": (_checkpoint, _X),
    "checkpoint_policy": (_checkpoint_policy, _X),
    "closure_convert": (_closure_convert, _X),
    "conjugate_gradients": (_conjugate_gradients, (_A, _X)),
    "custom_jvp": (_doubled, _X),
    "custom_jvp_nested": (_custom_jvp_nested, _X),
    "custom_jvp_in_while": (_while_custom_jvp, _X),
    "custom_jvp_vmapped": (jax.vmap(_doubled), _X),
    "custom_linear_solve": (_custom_linear_solve, (_A, _X)),
    "custom_root": (_custom_root, _X),
    "debug_callback": (_debug_callback, _X),
    "debug_print": (_debug_print, _X),
    "error_if": (_error_if, _X),
    "filter_custom_jvp": (lambda x: _filtered(x, scale=2.0), _X),
    "grad": (_grad, _X),
    "hessian_vector": (_hessian_vector, _X),
    "jacobian_inside": (_jacobian_inside, _X),
    "jvp": (_jvp, _X),
    "linear_transpose": (_linear_transpose, _X),
    "linearize": (_linearize, _X),
    "named": (_named, _X),
    "nested_jit": (_nested_jit, _X),
    "pure_callback": (lambda x: _callback(x) * x, _X),
    "random_normal": (_random_normal, _X),
    "reparametrised": (_reparametrised, _X),
    "stop_gradient": (_stop_gradient, _X),
    "straight_through": (_straight_through, _X),
    "vjp": (_vjp, _X),
    "vmap": (_vmap, _X),
}

CASES: dict[str, Case] = {
    name: case(fun, x) for name, (fun, x) in _FUNCTIONS.items()
} | {
    "custom_vjp": case(_custom_vjp, _X, reference=jax.jacrev),
    "custom_vjp_in_scan": case(_custom_vjp_in_scan, _X, reference=jax.jacrev),
    "custom_vjp_vmapped": case(jax.vmap(_custom_vjp), _X, reference=jax.jacrev),
    "random_key_argument": Case(
        lambda: (_random_key_argument, {"key": jax.random.key(2), "x": _X})
    ),
}
