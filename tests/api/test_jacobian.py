import functools as ft
import inspect
from collections.abc import Callable

import equinox as eqx
import eqx_cc
import jax
import jax.numpy as jnp
import jax.random as jr
import jax.tree_util as jtu
import numpy as np
import pytest
from beartype.roar import BeartypeCallHintParamViolation
from eqx_cc._api.hessian import filter_hessian
from eqx_cc._api.jacobian import (
    cc_jacobian,
    filter_jacobian,
    filter_value_and_jacobian,
)
from eqx_cc._orders.orderings import Forward, Given, MinimalMarkowitz, Reverse


ORDERS = ["forward", "reverse", "markowitz"]
X = np.array([0.5, 1.0, 2.0])


def assert_same(ours, theirs, rtol=1e-12):
    """Equal structures, types and numbers."""
    assert jtu.tree_structure(ours) == jtu.tree_structure(theirs)
    for a, b in zip(jtu.tree_leaves(ours), jtu.tree_leaves(theirs)):
        assert isinstance(a, jax.Array)
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        assert jax.typeof(a).weak_type == jax.typeof(b).weak_type
        a, b = np.asarray(a), np.asarray(b)
        if a.dtype == jnp.bfloat16:
            a, b, rtol = a.astype(np.float32), b.astype(np.float32), 2e-2
        elif a.dtype in (np.float32, np.complex64):
            rtol = 1e-5
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


def assert_same_at(ours, theirs, *args):
    """The same of two functions, in one compilation."""
    assert_same(*eqx.filter_jit(lambda *args: (ours(*args), theirs(*args)))(*args))


#
# Structure: every case is (function, its positional arguments)
#


def _linear():
    return eqx.nn.Linear(3, 2, key=jr.key(0))


class _Model(eqx.Module):
    linear: eqx.nn.Linear
    scale: float
    count: jax.Array
    activation: Callable

    def __init__(self):
        self.linear = _linear()
        self.scale = 2.0
        self.count = jnp.array([1, 2])
        self.activation = jnp.tanh

    def __call__(self, x):
        return self.activation(self.linear(x)) * self.scale * self.count.astype(float)


def _tree(x):
    a, b = x["a"], x["b"][0]
    return {"out": (jnp.sin(a) * b, [jnp.sum(a)]), "none": None, "in": b}


CASES = {
    "array": (jnp.sin, jnp.asarray(X)),
    "scalar": (lambda x: x * jnp.exp(x), jnp.array(0.3)),
    "scalar_to_array": (lambda x: x * jnp.asarray(X), jnp.array(0.3)),
    "array_to_scalar": (lambda x: jnp.prod(x), jnp.asarray(X)),
    "matrix": (lambda x: x @ jnp.sin(x).T, jnp.asarray(X).reshape(1, 3)),
    "tree": (_tree, {"a": jnp.asarray(X), "b": (jnp.array(2.0), None, 3)}),
    "numpy": (lambda x: x[0] * x[1], [X, np.float64(2)]),
    "python_float_is_static": (lambda x: x[0] * x[1], [jnp.asarray(X), 2.0]),
    "non_arrays": (lambda x: x[1](x[0]), (jnp.asarray(X), jnp.sin, "name", None, True)),
    "integers_are_static": (
        lambda x: x[0] * x[1].astype(float),
        (jnp.asarray(X), jnp.arange(3)),
    ),
    "key_is_static": (
        lambda x: x[0] * jr.normal(x[1], (3,)),
        (jnp.asarray(X), jr.key(0)),
    ),
    "model": (lambda model: model(jnp.asarray(X)), _Model()),
    "modules_out": (lambda m: eqx.filter(m, eqx.is_inexact_array), _linear()),
    "constant": (lambda x: jnp.ones(2), jnp.asarray(X)),
    "identity": (lambda x: x, jnp.asarray(X)),
    "repeated_output": (lambda x: [x, x, jnp.sin(x)], jnp.asarray(X)),
    "unused_input": (lambda x: x[0], (jnp.asarray(X), jnp.array(1.0))),
    "empty_input": (lambda x: x * 2, jnp.zeros((0, 2))),
    "empty_output": (lambda x: x[:0], jnp.asarray(X)),
    "empty_and_full": (lambda x: [x[0] * 2, x[1] * 2], [jnp.zeros(0), jnp.ones(2)]),
    "no_output": (lambda x: (None, []), jnp.asarray(X)),
    "integer_output": (lambda x: (x.astype(int), jnp.arange(2)), jnp.asarray(X)),
    "python_outputs": (lambda x: [x, 1.0, 2], jnp.asarray(X)),
    "numpy_outputs": (lambda x: [np.ones(2), np.float32(1)], jnp.asarray(X)),
    "complex_output": (lambda x: jax.lax.complex(x, x**2), jnp.asarray(X)),
    "weak_input": (lambda x: [x * x, x * jnp.ones(2)], jnp.asarray(2.0)),
    "weak_array": (lambda x: jnp.sin(x), jnp.broadcast_to(2.0, (2,))),
    "float32": (jnp.sin, jnp.asarray(X, jnp.float32)),
    "bfloat16": (jnp.sin, jnp.asarray(X, jnp.bfloat16)),
    "casts": (
        lambda x: [jnp.sin(x.astype(jnp.float32)), x.astype(jnp.bfloat16)],
        jnp.asarray(X),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_as_filter_jacfwd(name):
    fun, x = CASES[name]
    assert_same_at(filter_jacobian(fun), eqx.filter_jacfwd(fun), x)


@pytest.mark.parametrize("name", ["numpy", "tree", "python_outputs", "weak_input"])
def test_without_jit(name):
    fun, x = CASES[name]
    assert_same(filter_jacobian(fun)(x), eqx.filter_jacfwd(fun)(x))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", ["tree", "model", "matrix"])
def test_orders(name, order):
    fun, x = CASES[name]
    assert_same_at(filter_jacobian(fun, order=order), eqx.filter_jacfwd(fun), x)


@pytest.mark.parametrize("name", ["array", "tree", "scalar", "constant", "casts"])
def test_as_jacfwd(name):
    fun, x = CASES[name]
    x = eqx.filter(x, eqx.is_inexact_array)
    assert_same(cc_jacobian(fun)(x), jax.jacfwd(fun)(x))


def test_mixed_dtypes():
    # JAX needs the dtypes to be the same, or to promote them.
    def fun(x):
        a, b, c = x
        return [
            jnp.sin(a) * 2,
            b * a.astype(b.dtype),
            c.astype(a.dtype) * a,
            c * b.astype(c.dtype),
        ]

    x = [jnp.asarray(X, dtype) for dtype in (jnp.float32, jnp.float64, jnp.bfloat16)]
    with jax.numpy_dtype_promotion("standard"):
        theirs = eqx.filter_jit(eqx.filter_jacfwd(fun))(x)
    assert_same(eqx.filter_jit(filter_jacobian(fun))(x), theirs)


def test_nothing_is_promoted():
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        jacobian = filter_jacobian(lambda x: 2 * x[0] + x[1] / 3)
        a, b = jacobian((jnp.ones(2, jnp.float32), jnp.ones(2, jnp.float32)))
    assert a.dtype == b.dtype == jnp.float32


#
# Calling
#


def test_other_arguments():
    def fun(x, y, *args, self, fun, **kwargs):
        return x * y * args[0] * self * fun * kwargs["argnums"]

    x = jnp.asarray(X)
    args, kwargs = (x, 2.0), dict(self=3.0, fun=x, argnums=2.0)
    theirs = eqx.filter_jacfwd(fun)(x, *args, **kwargs)
    assert_same(filter_jacobian(fun)(x, *args, **kwargs), theirs)
    assert_same(cc_jacobian(fun)(x, *args, **kwargs), theirs)


def test_first_argument_is_positional():
    for kwargs in ({}, {"x": jnp.asarray(X)}):
        with pytest.raises(TypeError, match="must be passed by position"):
            filter_jacobian(lambda x: x)(**kwargs)
    with pytest.raises(ValueError, match="by position"):
        cc_jacobian(lambda x: x)(x=jnp.asarray(X))


def test_model_closed_over_and_passed():
    model, x = _Model(), jnp.asarray(X)
    theirs = jax.jacfwd(model)(x)
    assert_same(filter_jacobian(model)(x), theirs)
    assert_same(filter_jacobian(lambda x, model: model(x))(x, model), theirs)
    assert_same(filter_jacobian(model.__call__)(x), theirs)
    assert_same(cc_jacobian(model)(x), theirs)
    assert_same(
        cc_jacobian(lambda m, x: m(x), argnums=1)(model, x), jax.jacfwd(model)(x)
    )


def test_decorators():
    @filter_jacobian
    def one(x):
        "A docstring."
        return x**2

    @filter_jacobian(has_aux=True, order="reverse")
    def two(x):
        return x**2, "aux"

    @filter_value_and_jacobian(has_aux=True)
    def three(x):
        return x**2, "aux"

    @filter_hessian(has_aux=True)
    def four(x):
        return jnp.sum(x**2), "aux"

    x = jnp.asarray(X)
    assert_same(one(x), jnp.diag(2 * x))
    assert_same(two(x)[0], jnp.diag(2 * x))
    (value, aux), jacobian = three(x)
    assert_same((value, jacobian), (x**2, jnp.diag(2 * x)))
    assert_same(four(x)[0], 2 * jnp.eye(3))
    assert two(x)[1] == four(x)[1] == aux == "aux"


@pytest.mark.parametrize(
    "transform",
    [filter_jacobian, filter_value_and_jacobian, filter_hessian, cc_jacobian],
)
def test_looks_like_the_function(transform):
    def some_function(x, *, y=1):
        "Some docstring."
        return x

    transformed = transform(some_function)
    assert transformed.__name__ == "some_function"
    assert transformed.__doc__ == "Some docstring."
    assert list(inspect.signature(transformed).parameters) == ["x", "y"]


class _Methods(eqx.Module):
    weight: jax.Array

    @filter_jacobian
    def by_self(self, x):
        return self.weight * x

    @ft.partial(cc_jacobian, argnums=1)
    def by_x(self, x):
        return self.weight * x

    @ft.partial(filter_value_and_jacobian, has_aux=True)
    def with_aux(self, x):
        return self.weight * x, "aux"


def test_methods():
    x, module = jnp.asarray(X), _Methods(jnp.asarray(X) + 1)
    assert_same(module.by_self(x), _Methods(jnp.diag(x)))
    assert_same(_Methods.by_self(module, x), _Methods(jnp.diag(x)))
    assert_same(module.by_x(x), jnp.diag(module.weight))
    (value, aux), jacobian = module.with_aux(x)
    assert_same((value, jacobian), (module.weight * x, _Methods(jnp.diag(x))))
    assert aux == "aux"


#
# Auxiliary data and values
#


def _with_aux(x):
    y = jnp.sin(x)
    return y, {"y": y, "s": "name", "f": jnp.sin, "n": None, "k": jr.key(1), "i": 3}


@pytest.mark.parametrize("jit", [False, True])
def test_aux(jit):
    x = jnp.asarray(X)
    jacobian = filter_jacobian(_with_aux, has_aux=True)
    jacobian, aux = (eqx.filter_jit(jacobian) if jit else jacobian)(x)
    assert_same(jacobian, jnp.diag(jnp.cos(x)))
    assert_same(aux.pop("y"), jnp.sin(x))
    assert jr.key_data(aux.pop("k")).tolist() == jr.key_data(jr.key(1)).tolist()
    assert aux == {"s": "name", "f": jnp.sin, "n": None, "i": 3}


def test_aux_with_cc_jacobian():
    x = jnp.asarray(X)
    ours = cc_jacobian(lambda x: [jnp.sin(x), {"x": x}], has_aux=True)(x)
    theirs = jax.jacfwd(lambda x: [jnp.sin(x), {"x": x}], has_aux=True)(x)
    assert_same(ours, theirs)


def test_value():
    def fun(x):
        return {"a": jnp.sum(jnp.sin(x)), "none": None, "int": 3}

    x = jnp.asarray(X)
    value, jacobian = filter_value_and_jacobian(fun)(x)
    assert_same(value, jtu.tree_map(jnp.asarray, fun(x)))
    assert_same(jacobian, eqx.filter_jacfwd(fun)(x))


def test_value_as_filter_value_and_grad():
    def fun(x):
        return jnp.sum(jnp.sin(x)), x

    x = jnp.asarray(X)
    ours = filter_value_and_jacobian(fun, has_aux=True)(x)
    assert_same(ours, eqx.filter_value_and_grad(fun, has_aux=True)(x))


#
# argnums
#


def _three(a, b, c):
    return {"ab": a["p"] * b, "c": (jnp.sum(c[0]) * b, None)}


@pytest.mark.parametrize(
    "argnums", [0, 1, 2, -1, -3, (0,), (1, 0), [0, 2], (-1, 0), (0, 1, 2), np.int64(1)]
)
def test_argnums(argnums):
    args = ({"p": jnp.asarray(X), "q": None}, 2.0, [jnp.ones((2, 1)), 3.0])
    ours = cc_jacobian(_three, argnums=argnums)(*args)
    assert_same(ours, jax.jacfwd(_three, argnums=argnums)(*args))


def test_other_arguments_may_be_anything():
    def fun(x, name, y):
        assert name == "name"
        return x * y.astype(float)

    args = jnp.asarray(X), "name", jnp.arange(3)
    assert_same(cc_jacobian(fun)(*args), jax.jacfwd(fun)(*args))


@pytest.mark.parametrize(
    "argnums, num_args, error, match",
    [
        (1, 1, ValueError, "names argument 1, but .* in this call is 1"),
        (-2, 1, ValueError, "names argument -2, but .* in this call is 1"),
        ((0, 2), 2, ValueError, "names argument 2, but .* in this call is 2"),
        (0, 0, ValueError, "in this call is 0"),
        ((0, 0), 2, ValueError, "twice"),
        ((0, -2), 2, ValueError, "twice"),
        ((), 1, ValueError, "`argnums` must name at least one"),
        (None, 1, TypeError, "`argnums` must be an integer or a sequence"),
        ("0", 1, TypeError, "`argnums` must be .* got '0' of type `str`"),
        (1.0, 1, TypeError, "`argnums` must be .* got 1.0 of type `float`"),
    ],
)
def test_bad_argnums(argnums, num_args, error, match):
    with pytest.raises(error, match=match):
        cc_jacobian(lambda *args: args[0], argnums=argnums)(*[jnp.ones(2)] * num_args)


#
# Structured blocks
#


def test_structured():
    args = ({"p": jnp.asarray(X), "q": None}, jnp.array(2.0), [jnp.ones((2, 1))])
    jacobian = cc_jacobian(_three, argnums=(0, 2), structured=True)(*args)
    dense = jax.jacfwd(_three, argnums=(0, 2))(*args)

    def is_block(x):
        return hasattr(x, "materialise")

    assert all(map(is_block, jtu.tree_leaves(jacobian, is_leaf=is_block)))
    block = jacobian["ab"][0]["p"]
    assert block.out_shape == block.in_shape == (3,)
    materialised = jtu.tree_map(lambda b: b.materialise(), jacobian, is_leaf=is_block)
    assert_same(materialised, dense)


def test_structured_under_jit():
    @jax.jit
    def diagonal(x):
        return cc_jacobian(jnp.sin, structured=True)(x)

    block = diagonal(jnp.asarray(X))
    assert_same(block.materialise(), jnp.diag(jnp.cos(jnp.asarray(X))))


def test_a_batch_of_structured_blocks():
    fun = lambda x: jnp.sin(x) + x  # noqa: E731
    points = jnp.stack([X, 2 * X])
    blocks = jax.vmap(cc_jacobian(fun, structured=True))(points)
    for use in (lambda b: b.materialise(), lambda b: b.to_bcoo().todense()):
        assert_same(jax.vmap(use)(blocks), jax.vmap(jax.jacfwd(fun))(points))
        with pytest.raises(ValueError, match=r"shape \(2, 3\) .* under `jax.vmap`"):
            use(blocks)


def test_a_dense_jacobian_that_cannot_fit():
    x = jnp.zeros(100_000_000)
    assert cc_jacobian(jnp.sin, structured=True)(x[:10]).structure == "diagonal"
    with pytest.raises(ValueError, match=r"shape \(100000000,\) .* structured=True"):
        jax.eval_shape(cc_jacobian(jnp.sin), x)


def test_a_dense_block_that_cannot_fit():
    """The equation is named, and nothing is allocated."""
    x = jax.ShapeDtypeStruct((10_000_000,), float)
    with pytest.raises(ValueError, match=r"Jacobian of `sort`.* shape \(10000000,\)"):
        jax.eval_shape(cc_jacobian(lambda x: jnp.sort(x)[:10], order="markowitz"), x)


def test_a_sweep_where_a_dense_block_cannot_fit():
    x = jax.ShapeDtypeStruct((1_000_000,), float)
    block = jax.eval_shape(cc_jacobian(lambda x: jnp.sort(x)[:10]), x)
    assert block.shape == (10, 1_000_000)


def test_a_result_that_cannot_fit():
    x = jax.ShapeDtypeStruct((10_000_000,), float)
    with pytest.raises(ValueError, match="would take .* GiB, but the device has"):
        jax.eval_shape(cc_jacobian(jnp.sort), x)


#
# Bad input
#


def _never(*args):
    raise AssertionError("should not have been called")


@pytest.mark.parametrize("x", [jnp.arange(2), 1.0, 3, "s", None, (), [True], jr.key(0)])
@pytest.mark.parametrize(
    "transform", [filter_jacobian, filter_value_and_jacobian, filter_hessian]
)
def test_nothing_to_differentiate(transform, x):
    with pytest.raises(ValueError, match="`x`.* has no floating-point array"):
        transform(_never)(x)


@pytest.mark.parametrize(
    "x, error, match",
    [
        (None, ValueError, r"`args\[0\]` has no floating-point array"),
        ([], ValueError, r"`args\[0\]` has no floating-point array"),
        (jnp.arange(2), TypeError, r"real-valued inputs .* int64 for `args\[0\]`"),
        ([1.0, 3], TypeError, r"real-valued inputs .* int64 for `args\[0\]\[1\]`"),
        (jnp.array(True), TypeError, "real-valued inputs .* but got bool"),
        (1j, TypeError, "real-valued inputs .* but got complex128"),
        (jr.key(0), TypeError, "real-valued inputs .* but got key"),
        ("s", TypeError, r"`args\[0\]` must be a .* got 's' of type `str`"),
        ({"a": jnp.sin}, TypeError, r"`args\[0\]\['a'\]` must be a floating-point"),
        (np.array([None]), TypeError, r"`args\[0\]` must be a floating-point"),
    ],
)
def test_bad_argument(x, error, match):
    with pytest.raises(error, match=match):
        cc_jacobian(_never)(x)


def test_bad_argument_among_many():
    with pytest.raises(TypeError, match=r"int64 for `args\[2\]\['a'\]`"):
        cc_jacobian(_never, argnums=(0, -1))(1.0, None, {"a": jnp.arange(2)})
    with pytest.raises(ValueError, match="`args` has no floating-point array"):
        cc_jacobian(_never, argnums=(0, 1))(None, ())


def test_complex_input():
    # In JAX's own words.
    match = r"requires real-valued inputs .* but got complex128"
    z = jnp.asarray(X).astype(complex)
    for x in (z, [jnp.asarray(X), z]):
        with pytest.raises(TypeError, match=match):
            eqx.filter_jacfwd(_never)(x)
        with pytest.raises(TypeError, match=match):
            filter_jacobian(_never)(x)
    with pytest.raises(TypeError, match=r"complex64 for `x\[0\]\.weight`"):
        model = eqx.nn.Linear(2, 2, dtype=jnp.complex64, key=jr.key(0))
        filter_jacobian(_never)([model])


@pytest.mark.parametrize(
    "fun, match",
    [
        (lambda x: "s", r"`fun\(...\)` is 's' of type `str`"),
        (lambda x: {"a": [x, "s"]}, r"`fun\(...\)\['a'\]\[1\]` is 's'"),
        (lambda x: (x, jnp.sin), r"`fun\(...\)\[1\]` is .* Return .* `has_aux=True`"),
        (lambda x: _Model(), r"`fun\(...\)\.activation` is "),
        (lambda x: np.array([None]), r"`fun\(...\)` is "),
        (lambda x: [x, x > 0], r"`fun\(...\)\[1\]` has dtype bool"),
        (lambda x: [x, True], r"`fun\(...\)\[1\]` has dtype bool"),
        (lambda x: [x, jr.key(0)], r"`fun\(...\)\[1\]` has dtype key<fry>"),
    ],
)
def test_bad_output(fun, match):
    with pytest.raises(TypeError, match=match):
        filter_jacobian(fun)(jnp.asarray(X))
    with pytest.raises(TypeError, match=match):
        jax.jit(cc_jacobian(fun))(jnp.asarray(X))
    # It was no better before.
    with pytest.raises(Exception):
        eqx.filter_jacfwd(fun)(jnp.asarray(X))


@pytest.mark.parametrize(
    "fun",
    [
        lambda x: x,
        lambda x: x[:2],
        lambda x: (x, x, x),
        lambda x: {"a": x, "b": x},
        lambda x: None,
    ],
)
@pytest.mark.parametrize(
    "transform",
    [filter_jacobian, filter_value_and_jacobian, filter_hessian, cc_jacobian],
)
def test_aux_without_a_pair(transform, fun):
    with pytest.raises(TypeError, match=r"must return a pair `\(output, aux\)`"):
        transform(fun, has_aux=True)(jnp.asarray(X))


@pytest.mark.parametrize(
    "transform",
    [filter_jacobian, filter_value_and_jacobian, filter_hessian, cc_jacobian],
)
def test_bad_function(transform):
    def generator(x):
        yield x

    for fun, match in [
        (3, "`fun` must be callable, but got 3 of type `int`"),
        (None, "`fun` must be callable, but got None"),
        (staticmethod(jnp.sin), "`fun` must be callable"),
        (generator, "is a generator function"),
    ]:
        with pytest.raises(TypeError, match=match):
            transform(fun)


@pytest.mark.parametrize("order", ["fastest", "", 1, None, ["a"], [1.0], len])
@pytest.mark.parametrize(
    "transform",
    [filter_jacobian, filter_value_and_jacobian, filter_hessian, cc_jacobian],
)
def test_bad_order(transform, order):
    # In these tests beartype looks at types first.
    match = "`order` must be one of 'auto', 'forward', |order=.* violates type hint"
    with pytest.raises((ValueError, BeartypeCallHintParamViolation), match=match):
        transform(_never, order=order)


def test_hessian_wants_a_rule_for_its_order():
    for order in ([0, 1], Given((0,))):
        with pytest.raises(ValueError, match="different graphs"):
            filter_hessian(_never, order=order)


@pytest.mark.parametrize("order", [Forward(), Reverse(), MinimalMarkowitz()])
def test_orderings(order):
    def fun(x):
        return jnp.sin(x) * jnp.prod(x)

    def ours(x):
        transforms = filter_jacobian, cc_jacobian, filter_hessian
        return [transform(fun, order=order)(x) for transform in transforms]

    def theirs(x):
        return [jax.jacfwd(fun)(x), jax.jacfwd(fun)(x), jax.hessian(fun)(x)]

    assert_same_at(ours, theirs, jnp.asarray(X))


def test_errors_of_the_function_pass_through():
    def fun(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        filter_jacobian(fun)(jnp.asarray(X))


def test_function_is_called_once():
    calls = []

    def fun(x):
        calls.append(x)
        return jnp.sin(x) * jnp.cos(x)

    jax.jit(filter_value_and_jacobian(fun))(jnp.asarray(X))
    assert len(calls) == 1


#
# Composition with JAX's transformations
#


def _curve(x):
    return jnp.stack([jnp.sin(x[0]) * x[1], x[1] * x[2], jnp.exp(x[2]) * x[0]])


def _penalty(jacobian):
    return lambda x: jnp.sum(jnp.cos(jacobian(x)))


def _scanned(jacobian, x):
    return jax.lax.scan(lambda x, _: (jacobian(x) @ x / 10, x), x, None, length=3)


TRANSFORMATIONS = {
    "jit": lambda j, x: jax.jit(j)(x),
    "filter_jit": lambda j, x: eqx.filter_jit(j)(x),
    "passed_to_filter_jit": lambda j, x: eqx.filter_jit(lambda j, x: j(x))(j, x),
    "vmap": lambda j, x: jax.vmap(j)(jnp.stack([x, 2 * x])),
    "vmap_of_jit": lambda j, x: jax.vmap(jax.jit(j))(jnp.stack([x, 2 * x])),
    "grad": lambda j, x: jax.grad(_penalty(j))(x),
    "jvp": lambda j, x: jax.jvp(j, (x,), (jnp.cos(x),)),
    "vjp": lambda j, x: jax.vjp(j, x)[1](jnp.eye(3)),
    "jacfwd": lambda j, x: jax.jacfwd(j)(x),
    "jacrev": lambda j, x: jax.jacrev(j)(x),
    "jit_of_hessian": lambda j, x: jax.jit(jax.hessian(_penalty(j)))(x),
    "scan": _scanned,
    "grad_of_scan": lambda j, x: jax.grad(lambda x: jnp.sum(_scanned(j, x)[0]))(x),
    "while_loop": lambda j, x: jax.lax.fori_loop(0, 2, lambda _, x: j(x) @ x / 10, x),
    "cond": lambda j, x: jax.lax.cond(x[0] > 0, j, lambda x: jnp.zeros((3, 3)), x),
    "checkpoint": lambda j, x: jax.grad(_penalty(jax.checkpoint(j)))(x),
}


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_composition(name):
    transformation = TRANSFORMATIONS[name]
    ours = ft.partial(transformation, filter_jacobian(_curve))
    theirs = ft.partial(transformation, eqx.filter_jacfwd(_curve))
    assert_same_at(ours, theirs, jnp.asarray(X))


@pytest.mark.parametrize("transform", [filter_jacobian, cc_jacobian])
def test_jit_of_a_model(transform):
    # `jax.jit` hashes its function, which Equinox modules with arrays do not allow.
    model, x = _Model(), jnp.asarray(X)
    jacobian = transform(model)
    assert_same(jax.jit(jacobian)(x), jax.jacfwd(model)(x))
    assert hash(jacobian) == hash(jacobian)
    assert hash(transform(jnp.sin)) == hash(transform(jnp.sin))
    assert eqx.tree_equal(transform(model), jacobian)


def test_a_transform_is_equal_to_itself():
    """`jax.jit` asks for that. To compare the arrays of a model compiles programs."""

    class Parameter:
        def __eq__(self, other):
            raise AssertionError

        __hash__ = None  # pyright: ignore

    jacobian = filter_jacobian(eqx.Partial(_curve, Parameter()))
    assert jacobian == jacobian
    assert filter_jacobian(jnp.sin) == filter_jacobian(jnp.sin)
    assert filter_jacobian(jnp.sin) != filter_jacobian(jnp.cos)


def test_of_transformed_functions():
    funs = [
        jax.jit(_curve),
        jax.checkpoint(_curve),
        jax.jacfwd(_curve),
        jax.grad(lambda x: jnp.sum(_curve(x))),
        lambda x: jax.vmap(_curve)(jnp.stack([x, x])),
        lambda x: jax.vjp(_curve, x)[1](x),
    ]

    def all_of(transform, x):
        return [transform(fun)(x) for fun in funs]

    ours, theirs = (ft.partial(all_of, t) for t in (filter_jacobian, jax.jacfwd))
    assert_same_at(ours, theirs, jnp.asarray(X))


def test_closure_over_tracers():
    def outer(jacobian, x):
        return jnp.sum(jacobian(lambda y: jnp.sin(x * y))(jnp.asarray(X)))

    x = jnp.asarray(X) + 1
    for transformation in (jax.grad, jax.jit, lambda f: jax.vmap(f, (0,))):
        arg = jnp.stack([x, x]) if transformation not in (jax.grad, jax.jit) else x
        ours = transformation(ft.partial(outer, filter_jacobian))(arg)
        assert_same(ours, transformation(ft.partial(outer, jax.jacfwd))(arg))


def test_nested_and_shared():
    # The Jacobian by `x` of a function that takes a Jacobian by `y`, both closed over.
    def fun(jacobian, x):
        inner = jacobian(lambda y: jnp.sin(x * y) * y)(jnp.cos(x))
        return inner @ x

    ours = filter_jacobian(ft.partial(fun, filter_jacobian))
    assert_same_at(ours, jax.jacfwd(ft.partial(fun, jax.jacfwd)), jnp.asarray(X))


def test_third_derivative():
    def fun(x):
        return jnp.sin(x[0]) * x[1] ** 3

    def thrice(outer, middle, inner):
        return outer(middle(inner(fun)))

    x, ours, theirs = jnp.asarray(X[:2]), filter_jacobian, jax.jacfwd
    assert_same_at(thrice(ours, ours, ours), thrice(theirs, theirs, theirs), x)
    assert_same_at(thrice(ours, theirs, ours), thrice(theirs, ours, theirs), x)


#
# Hessians
#


def _energy(x):
    return {"e": jnp.sum(jnp.sin(x["a"])) * x["b"] ** 2, "v": x["a"] * x["b"]}


def test_hessian():
    x = {"a": jnp.asarray(X), "b": jnp.array(2.0, float), "c": "static"}
    theirs = eqx.filter_hessian(_energy)
    assert_same_at(filter_hessian(_energy), theirs, x)
    assert_same_at(filter_jacobian(filter_jacobian(_energy)), theirs, x)
    assert_same_at(filter_hessian(_energy, order="reverse"), theirs, x)


def test_hessian_of_a_model():
    def fun(model, x):
        return jnp.sum(jnp.sin(model(x)))

    ours, theirs = filter_hessian(fun), eqx.filter_hessian(fun)
    assert_same_at(ours, theirs, _linear(), jnp.asarray(X))


def test_hessian_with_aux():
    def fun(x):
        return jnp.prod(x), jnp.sin(x)

    x = jnp.asarray(X)
    ours, theirs = (t(fun, has_aux=True) for t in (filter_hessian, eqx.filter_hessian))
    assert_same_at(ours, theirs, x)


def _exported(fun, *shape):
    struct = jax.ShapeDtypeStruct(shape, jnp.float64)
    return jax.export.export(jax.jit(fun))(struct)


@pytest.mark.parametrize("order", ["auto", "measured"])
def test_export_of_a_symbolic_batch(order):
    (n,) = jax.export.symbolic_shape("n")
    fun = lambda x: jnp.sin(x) * x[0]  # noqa: E731
    xs = jnp.linspace(0.1, 1.0, 12).reshape(4, 3)
    exported = _exported(jax.vmap(cc_jacobian(fun, order=order)), n, 3)
    batched, reference = exported.call(xs), jax.vmap(jax.jacfwd(fun))(xs)
    np.testing.assert_allclose(batched, reference, rtol=1e-12)


def test_export_of_a_symbolic_size():
    (n,) = jax.export.symbolic_shape("n")
    with pytest.raises(ValueError, match="only the size of a batch can be symbolic"):
        _exported(cc_jacobian(jnp.sin), n)
    with pytest.raises(ValueError, match=r"an array has the shape \(n, 3\)"):
        _exported(lambda x: cc_jacobian(lambda y: x @ y)(jnp.ones(3)), n, 3)


#
# Functions that need values
#


def _branch(x):
    return x * x if x[0] > 0 else -x


def _picks(x):
    return [jnp.sin, jnp.cos][int(x[0] > 0)](x)


def _asks(x):
    return x * x[0].item() if bool(x[0] > 0) else x


def _branch_with_aux(x):
    return [_branch(x), jnp.argmax(x)], {"positive": bool(x[0] > 0), "x": x}


@pytest.mark.parametrize("fun", [_branch, _picks, _asks])
@pytest.mark.parametrize("x", [jnp.array([1.0, 2.0]), jnp.array([-1.0, 2.0])])
def test_values_are_known_outside_of_jit(fun, x):
    for ours in (eqx_cc.filter_jacobian(fun)(x), cc_jacobian(fun)(x)):
        np.testing.assert_allclose(ours, jax.jacfwd(fun)(x), rtol=1e-12)
    hessian = eqx_cc.filter_hessian(fun)(x)
    np.testing.assert_allclose(hessian, jax.jacfwd(jax.jacfwd(fun))(x), rtol=1e-12)


def test_values_and_auxiliary_data_of_a_branch():
    x = jnp.array([1.0, 2.0])
    both = eqx_cc.filter_value_and_jacobian(_branch_with_aux, has_aux=True)
    (value, aux), jacobian = both(x)
    np.testing.assert_array_equal(value[0], x * x)
    np.testing.assert_allclose(jacobian[0], jnp.diag(2 * x))
    np.testing.assert_array_equal(jacobian[1], jnp.zeros(2))
    assert aux["positive"] is True
    np.testing.assert_array_equal(aux["x"], x)


@pytest.mark.parametrize(
    "run",
    [
        lambda x: jax.jit(eqx_cc.filter_jacobian(_branch))(x),
        lambda x: jax.jit(cc_jacobian(_branch))(x),
        lambda x: eqx_cc.filter_jacobian(_branch, order="reverse")(x),
        lambda x: eqx_cc.filter_jacobian(_branch, granularity="array")(x),
        lambda x: eqx_cc.filter_jacobian(ft.partial(_branch), order="forward")(x),
        lambda x: cc_jacobian(_branch, structured=True)(x),
        lambda x: eqx_cc.explain(_branch, x),
        lambda x: eqx_cc.trace(_branch, x),
        lambda x: eqx_cc.optimise(_branch, x, progress=False),
        lambda x: eqx_cc.check_jacobian(_branch, x),
    ],
)
def test_values_are_not_known_when_tracing(run):
    with pytest.raises(TypeError, match="`_branch` needs the values") as error:
        run(jnp.array([1.0, 2.0]))
    causes: list[BaseException | None] = [error.value]
    while (cause := causes[-1]) is not None:
        causes.append(cause.__cause__)
    assert "_eliminate" not in "".join(map(str, causes[:-1]))


@pytest.mark.parametrize("ask", [np.asarray, lambda x: float(x[0])])
def test_what_jax_does_not_know_either(ask):
    def asking(x):
        return x * ask(x)

    with pytest.raises(TypeError):
        jax.jacfwd(asking)(jnp.array([1.0, 2.0]))
    with pytest.raises(TypeError, match="`asking` needs the values"):
        eqx_cc.filter_jacobian(asking)(jnp.array([1.0, 2.0]))


def test_errors_of_users_are_their_own():
    def positive(x):
        if x[0] < 0:
            raise ValueError("x must be positive")
        return x

    np.testing.assert_array_equal(cc_jacobian(positive)(jnp.ones(2)), jnp.eye(2))
    with pytest.raises(ValueError, match="x must be positive"):
        cc_jacobian(positive)(-jnp.ones(2))


@pytest.mark.parametrize("argnums", [1, -1, (0, 2), [2, 0]])
def test_arguments_by_position(argnums):
    """As those of `jax.jacfwd`."""
    args = (jnp.asarray(2.0), jnp.array([0.5, 1.5]), {"a": jnp.ones(2)})

    def fun(x, y, z):
        return x * y * z["a"], x

    ours = cc_jacobian(fun, argnums, True)(*args)
    assert_same(ours, jax.jacfwd(fun, argnums, True)(*args))
    ours = cc_jacobian(fun, argnums, True, False)(*args)
    assert_same(ours, jax.jacfwd(fun, argnums, True, False)(*args))


def test_holomorphic_functions_are_refused():
    with pytest.raises(ValueError, match="`holomorphic=True` is not supported"):
        cc_jacobian(jnp.sin, 0, False, True)
