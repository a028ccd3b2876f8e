"""Functions whose Jacobians are accumulated, and Jacobians as operators of lineax."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import lineax as lx
import numpy as np
import optimistix as optx
import pytest
from eqx_cc import EliminationSolver, jacobian_operator, preaccumulate


def _fun(y, a):
    return {"a": jnp.sin(y["u"]) * jnp.sum(y["v"]) * a, "b": y["v"] ** 2}


Y = {"u": jnp.arange(1.0, 4.0), "v": jnp.full((2, 2), 2.0)}
A = jnp.array(2.0)
BOTH = jax.jacfwd, jax.jacrev


def _assert_close(actual, expected, rtol=1e-12):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-14),
        actual,
        expected,
    )


def _primitives(jaxpr) -> set[str]:
    actual = set()
    for eqn in jaxpr.eqns:
        actual.add(eqn.primitive.name)
        inner = [v for v in eqn.params.values() if hasattr(v, "jaxpr")]
        if eqn.primitive.name not in ("preaccumulated", "jacobian_product"):
            actual = actual.union(*[_primitives(v.jaxpr) for v in inner])
    return actual


@pytest.mark.parametrize("argnums", [1, (0, 1)])
@pytest.mark.parametrize("transform", BOTH)
def test_jacobians(transform, argnums):
    ours, theirs = (transform(f, argnums) for f in (preaccumulate(_fun), _fun))
    batch = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), Y)

    @jax.jit
    def run(y, a, batch):
        each = [jax.vmap(f, (0, None))(batch, a) for f in (ours, theirs)]
        return (ours(y, a), each[0]), (theirs(y, a), each[1])

    _assert_close(*run(Y, A, batch))
    _assert_close(ours(Y, A), theirs(Y, A))


@pytest.mark.parametrize("outer, inner", [BOTH, BOTH[::-1]])
def test_second_derivatives(outer, inner):
    run = jax.jit(
        lambda y: [outer(inner(f))(y, A) for f in (preaccumulate(_fun), _fun)]
    )
    _assert_close(*run(Y))


def test_batches_inside():
    batch = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), Y)
    for transform in BOTH:
        actual = [
            jax.jit(transform(jax.vmap(f, (0, None))))(batch, A)
            for f in (preaccumulate(_fun), _fun)
        ]
        _assert_close(*actual)


def test_one_product_is_one_pass():
    fun = preaccumulate(jnp.sin)
    x = jnp.arange(5.0)
    tangent = jax.make_jaxpr(lambda x, t: jax.jvp(fun, (x,), (t,)))(x, x).jaxpr
    assert "jacobian_product" in _primitives(tangent)
    cotangent = jax.make_jaxpr(jax.grad(lambda x: jnp.sum(fun(x) * x)))(x).jaxpr
    assert "jacobian_product" in _primitives(cotangent)
    few = jax.make_jaxpr(jax.vmap(lambda t: jax.jvp(fun, (x,), (t,))[1]))(
        jnp.eye(5)[:2]
    )
    assert "jacobian_product" not in _primitives(few.jaxpr)
    np.testing.assert_allclose(jax.jvp(fun, (x,), (x,))[1], jnp.cos(x) * x)


def test_what_is_kept_is_the_point():
    size = 12
    weights = jr.normal(jr.key(0), (size, size))

    def fun(x):
        for _ in range(3):
            x = jnp.tanh(weights @ x)
        return x

    x = jnp.ones(size)
    _, linear = jax.linearize(preaccumulate(fun), x)
    carried = sum(leaf.size for leaf in jax.tree.leaves(linear) if eqx.is_array(leaf))
    assert carried <= size * size + size  # The weights, which are there anyway, and x.


def test_modules_and_closures():
    net = eqx.nn.MLP(3, 2, 4, 1, jnp.tanh, key=jr.key(0))
    x = jnp.arange(3.0)

    def loss(net, wrap):
        scale = jnp.sum(net.layers[0].bias)
        inner = (
            (lambda x: net(x) * scale)
            if wrap is None
            else wrap(lambda x: net(x) * scale)
        )
        return jnp.sum(jax.jacfwd(inner)(x) ** 2) + jnp.sum(inner(x))

    @eqx.filter_jit
    def run(net):
        ours = eqx.filter_grad(loss)(net, preaccumulate)
        modules = eqx.filter_grad(lambda net: jnp.sum(preaccumulate(net)(x) ** 2))(net)
        expected = eqx.filter_grad(lambda net: jnp.sum(net(x) ** 2))(net)
        return (ours, modules), (eqx.filter_grad(loss)(net, None), expected)

    actual, expected = run(net)
    arrays = lambda tree: jax.tree.leaves(eqx.filter(tree, eqx.is_array))  # noqa: E731
    _assert_close(arrays(actual), arrays(expected))


def test_integers_and_other_outputs():
    def fun(x, n):
        return x**2, n + 1, "name", {"count": jnp.argmax(x)}

    ours = preaccumulate(fun)(jnp.arange(3.0), jnp.array(2))
    assert ours[2] == "name" and ours[1] == 3 and ours[3]["count"] == 2
    jacobian = jax.jacfwd(lambda x: preaccumulate(fun)(x, jnp.array(2))[0])
    np.testing.assert_allclose(jacobian(jnp.arange(3.0)), jnp.diag(2 * jnp.arange(3.0)))


def test_custom_derivatives():
    @jax.custom_vjp
    def double(x):
        return 2 * x

    double.defvjp(lambda x: (2 * x, None), lambda _, ct: (2 * ct,))
    fun = preaccumulate(lambda x: double(x) ** 2)
    x = jnp.arange(3.0)
    np.testing.assert_allclose(jax.jacrev(fun)(x), jnp.diag(8 * x))
    np.testing.assert_allclose(jax.jacrev(preaccumulate(jax.nn.relu))(0 * x), 0.0)


@pytest.mark.parametrize("shape", [(), (1,), (0,), (2, 1)])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_shapes_and_types(shape, dtype):
    x = jnp.full(shape, 2.0, dtype)
    fun = lambda x: jnp.sin(x) * x  # noqa: E731
    for transform in BOTH:
        actual = transform(preaccumulate(fun))(x)
        assert actual.dtype == dtype
        np.testing.assert_allclose(actual, transform(fun)(x), rtol=1e-6)


def test_complex_functions():
    x = jax.lax.complex(jnp.arange(3.0), jnp.ones(3))
    fun = lambda x: x**2  # noqa: E731
    actual = jax.jacfwd(preaccumulate(fun), holomorphic=True)(x)
    np.testing.assert_allclose(actual, jax.jacfwd(fun, holomorphic=True)(x))


def test_least_squares():
    def error(q, target):
        return jnp.stack([jnp.cos(q[0]) + q[1], jnp.sin(q[0]) * q[1], q[0]]) - target

    def run(fun, target):
        solver = optx.LevenbergMarquardt(1e-9, 1e-9)
        return optx.least_squares(fun, solver, jnp.ones(2), target).value

    target = jnp.array([1.0, 0.5, 0.9])
    actual, expected = (
        jax.jit(jax.jacfwd(lambda t: run(f, t)))(target)
        for f in (preaccumulate(error), error)
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_refuses_what_cannot_be_called():
    with pytest.raises(TypeError, match="`fun` must be callable"):
        preaccumulate(jnp.ones(3))
    with pytest.raises(TypeError, match="`fun` must be callable"):
        jacobian_operator(jnp.ones(3), jnp.ones(3))


#
# Operators
#


def test_operators_of_pytrees():
    ours, theirs = jacobian_operator(_fun, Y, A), lx.JacobianLinearOperator(_fun, Y, A)
    expected = theirs.as_matrix()
    for actual in (
        ours,
        lx.materialise(ours),
        lx.linearise(ours),
        ours.T.T,
        lx.conj(ours),
    ):
        np.testing.assert_allclose(actual.as_matrix(), expected)
    np.testing.assert_allclose(ours.T.as_matrix(), expected.T)
    np.testing.assert_allclose(lx.materialise(ours.T).as_matrix(), expected.T)
    _assert_close(ours.mv(Y), theirs.mv(Y))


N = 30
X = jnp.linspace(0.5, 1.5, N)
TAGGED = {
    "diagonal": (
        lambda y, _: jnp.sin(y),
        {"diagonal", "tridiagonal", "lower", "upper"},
    ),
    "bands": (
        lambda y, _: 3 * y + jnp.pad(y[1:], (0, 1)) - jnp.pad(y[:-1] ** 2, (1, 0)),
        {"tridiagonal"},
    ),
    "lower": (lambda y, _: jnp.cumsum(y**2), {"lower"}),
    "upper": (lambda y, _: y + jnp.pad(y[3:], (0, 3)), {"upper"}),
    "dense": (lambda y, _: y + jnp.outer(X, jnp.sin(X)) @ y**2, set()),
}
CHECKS = {
    "diagonal": lx.is_diagonal,
    "tridiagonal": lx.is_tridiagonal,
    "lower": lx.is_lower_triangular,
    "upper": lx.is_upper_triangular,
}


@pytest.mark.parametrize("name", TAGGED)
def test_tags_and_entries(name):
    fun, expected = TAGGED[name]
    operator = jacobian_operator(fun, X)
    has = {key for key, check in CHECKS.items() if check(operator)}
    assert has <= expected  # Never more; `cumsum` has a dense pattern.
    assert has == expected or name == "lower"
    assert not lx.is_symmetric(operator) or name == "diagonal"

    @jax.jit
    def run(y):
        operator = jacobian_operator(fun, y)
        parts = operator.as_matrix(), lx.materialise(operator).as_matrix()
        solved = lx.linear_solve(operator, jnp.ones(N)).value
        return parts, lx.diagonal(operator), lx.tridiagonal(operator), solved

    matrix = np.asarray(jax.jacfwd(lambda y: fun(y, None))(X))
    dense, diagonal, bands, solved = run(X)
    for actual in dense:
        np.testing.assert_allclose(actual, matrix, atol=1e-12)
    np.testing.assert_allclose(diagonal, np.diag(matrix))
    for actual, offset in zip(bands, (0, -1, 1)):
        np.testing.assert_allclose(actual, np.diag(matrix, offset), atol=1e-12)
    np.testing.assert_allclose(matrix @ solved, 1.0, atol=1e-9)


def test_operators_compose_and_are_differentiable():
    fun = TAGGED["bands"][0]

    def solved(y, make):
        operator = make(fun, y)
        whole = lx.IdentityLinearOperator(operator.in_structure()) + operator * y[0]
        return jnp.sum(lx.linear_solve(whole, y, EliminationSolver()).value ** 2)

    makes = jacobian_operator, lx.JacobianLinearOperator
    actual, expected = jax.jit(
        lambda y: [jax.value_and_grad(solved)(y, make) for make in makes]
    )(X)
    _assert_close(actual, expected, rtol=1e-9)


def test_operators_keep_the_tags_that_are_given():
    operator = jacobian_operator(lambda y, _: y**3, X, tags={lx.symmetric_tag})
    assert lx.is_symmetric(operator) and lx.is_diagonal(operator)
    assert operator.T is operator


def test_a_single_tag():
    """As `lx.JacobianLinearOperator` takes one."""
    operator = jacobian_operator(lambda y, _: 2 * y, X, tags=lx.symmetric_tag)
    assert lx.is_symmetric(operator) and lx.is_diagonal(operator)


@jax.custom_vjp
def _product(y):
    return jnp.sin(y) * y[0]


def _product_fwd(y):
    return _product(y), y


def _product_bwd(y, cotangent):
    return (jax.vjp(lambda y: jnp.sin(y) * y[0], y)[1](cotangent)[0],)


_product.defvjp(_product_fwd, _product_bwd)


@pytest.mark.parametrize("size", [3, N])
def test_operators_of_functions_without_forward_mode(size):
    fun = lambda y, scale: scale * y + _product(y)  # noqa: E731
    y, vector = X[:size], jnp.cos(X[:size])
    solvers = EliminationSolver(), lx.LU(), lx.GMRES(1e-12, 1e-12)

    def solutions(operator):
        return [lx.linear_solve(operator, vector, solver).value for solver in solvers]

    @jax.jit
    def run(y, scale):
        operator = jacobian_operator(fun, y, scale)
        whole = lx.IdentityLinearOperator(operator.in_structure()) - operator
        matrices = [
            linear.as_matrix()
            for linear in (operator, lx.materialise(operator), lx.linearise(operator))
        ]
        turned = operator.T
        return (
            matrices,
            [operator.mv(vector), lx.linearise(operator).mv(vector)],
            (turned.as_matrix(), turned.mv(vector)),
            [solutions(linear) for linear in (operator, turned, whole)],
            lx.diagonal(operator),
        )

    matrix = jax.jacrev(lambda y: fun(y, 3.0))(y)
    matrices, products, (turned, product), solved, diagonal = run(y, 3.0)
    for actual in (*matrices, turned.T):
        np.testing.assert_allclose(actual, matrix, atol=1e-12)
    for actual in products:
        np.testing.assert_allclose(actual, matrix @ vector)
    np.testing.assert_allclose(product, matrix.T @ vector)
    np.testing.assert_allclose(diagonal, jnp.diag(matrix))
    for dense, each in zip((matrix, matrix.T, jnp.eye(size) - matrix), solved):
        for actual in each:
            np.testing.assert_allclose(dense @ actual, vector, atol=1e-9)

    def total(y, make):
        return jnp.sum(lx.linear_solve(make(y), y, EliminationSolver()).value ** 2)

    def theirs(y):
        return lx.JacobianLinearOperator(fun, y, 3.0, jac="bwd")

    actual, expected = jax.jit(
        lambda y: [
            jax.grad(total)(y, make)
            for make in (lambda y: jacobian_operator(fun, y, 3.0), theirs)
        ]
    )(y)
    np.testing.assert_allclose(actual, expected, rtol=1e-9)
