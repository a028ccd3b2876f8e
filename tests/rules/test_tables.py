"""Index tables: the structure of what is read and written at known positions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc import cc_jacobian
from jax import lax
from jax.experimental.sparse import BCOO, BCSR, sparsify


RNG = np.random.default_rng(0)
N = 12
MESH = RNG.integers(0, N, (7, 3))
PERMUTATION = RNG.permutation(N)
SPARSE = np.where(RNG.random((8, N)) < 0.2, RNG.random((8, N)), 0.0)
COORDINATES = BCOO.fromdense(jnp.asarray(SPARSE))
TWICE = BCOO(
    (jnp.array([1.0, 2.0, 5.0]), jnp.array([[1, 2], [1, 2], [9, 9]])), shape=(3, 5)
)
TWICE_BY_ROWS = BCSR(
    (jnp.ones(2), jnp.array([2, 2]), jnp.array([0, 0, 2, 2])), shape=(3, 5)
)
PADDED = BCOO.fromdense(jnp.asarray(SPARSE), nse=40)
ROWS = BCSR.fromdense(jnp.asarray(SPARSE))
VECTOR = jnp.asarray(RNG.random(N) + 0.1)
MATRIX = jnp.asarray(RNG.random((N, 3)) + 0.1)
KEYS = RNG.permutation(N)
SINGLE = np.zeros((3, N))
SINGLE[1, 2] = 4.0


def elements(u):
    """A mesh: gather, element work, scatter-add."""
    corners = u[MESH]
    distances = corners - corners.mean(1, keepdims=True)
    forces = jnp.tanh(distances) * jnp.sum(distances**2, 1, keepdims=True)
    return jnp.zeros_like(u).at[MESH].add(forces)


def edges(x):
    """A network of branches: what flows along them adds up at the nodes."""
    flow = jnp.sin(x[MESH[:, 0]] - x[MESH[:, 1]])
    into = jax.ops.segment_sum(flow, MESH[:, 1], num_segments=N)
    return into - jax.ops.segment_sum(flow, MESH[:, 0], num_segments=N)


def _whole(dtype):
    """The positions `(7 k - 1) % N`, computed in floating point."""
    k = jnp.arange(1, N + 1, dtype=dtype)
    return ((7 * k - 1) % N).astype(jnp.int32)


# Functions, all of the entries of whose Jacobians that are stored are non-zero.
EXACT = {
    "gather": lambda x: jnp.sin(x[MESH]),
    "scatter-add": lambda x: jnp.zeros(N).at[MESH].add(jnp.sin(x[MESH])),
    "mesh": elements,
    "network": edges,
    "permutation": lambda x: jnp.sin(x[PERMUTATION])[np.argsort(PERMUTATION)],
    "permutation and itself": lambda x: x[PERMUTATION] * x,
    "set to numbers": lambda x: x.at[MESH[:, 0]].set(2.0)[:5] * x[:5] + x[5:10],
    "set to entries": lambda x: x[:4].at[np.array([0, 2])].set(x[4:6]),
    "set, known to be once": lambda x: x.at[np.array([7, 0, 3])].set(
        jnp.exp(x[np.array([1, 2, 4])]), unique_indices=True
    ),
    "multiply": lambda x: x.at[np.array([0, 3, 7])].multiply(
        x[np.array([1, 2, 3])], unique_indices=True
    ),
    "out of bounds, dropped": lambda x: (
        jnp.zeros(4).at[np.array([9, 1, -7, 3, 5, 1])].add(x[:6] ** 2, mode="drop")
    ),
    "out of bounds, filled": lambda x: jnp.take(
        x, np.array([3, 40, 7, 8, 2, -60, 1]), mode="fill", fill_value=0.0
    ),
    "out of bounds, clipped": lambda x: jnp.take(
        x**2, np.array([3, 40, 7, 8, 2, -60, 1, 4, 9, 0]), mode="clip"
    ),
    "rows": lambda x: x.reshape(4, 3)[np.array([3, 1, 0, 1, 3, 2, 0])] ** 2,
    "both axes": lambda x: x.reshape(4, 3)[np.array([3, 1, 0]), np.array([2, 0, 1])],
    "reshape without refinement": lambda x: (
        (x.reshape(3, 4).T.reshape(-1) * x).reshape(4, 3).T.reshape(2, 6) ** 2
    ),
    "known choice": lambda x: jnp.where(
        np.isin(np.arange(N), [0, 2, 3, 7]), x**2, x[PERMUTATION]
    ),
    "sparse constant": lambda x: SPARSE @ jnp.sin(x),
    "sparse constant, transposed": lambda x: jnp.sin(x) @ jnp.asarray(SPARSE).T,
    "constant without entries": lambda x: np.zeros((3, N)) @ x,
    "constant of one entry": lambda x: SINGLE @ x**2,
    "BCOO": lambda x: jnp.sin(COORDINATES @ jnp.sin(x)),
    "BCOO, padded": lambda x: PADDED @ jnp.sin(x),
    "BCOO, one position twice": lambda x: TWICE @ x[:5] ** 2,
    "BCOO, one position twice, of matrices": lambda x: TWICE @ x[:10].reshape(5, 2),
    "BCSR, one position twice": lambda x: TWICE_BY_ROWS @ x[:5],
    "BCOO from the left": lambda x: x[:8] ** 2 @ COORDINATES,
    "BCSR": lambda x: jnp.sin(ROWS @ jnp.sin(x)),
    "sparsified": lambda x: sparsify(lambda a, x: 2 * (a @ x))(COORDINATES, x),
    "sorted by a constant": lambda x: x[jnp.argsort(jnp.asarray(KEYS))] ** 2,
    "indices from whole numbers": lambda x: jnp.sin(x[_whole(x.dtype)]) * x,
    "indices from single precision": lambda x: x[_whole(np.float32)] ** 2,
    "choice by whole numbers": lambda x: jnp.where(
        jnp.arange(0.0, 3 * N, 3) % 9 < 3, x**2, x[PERMUTATION]
    ),
}
MATRICES = {
    "sparse constant": lambda x: SPARSE @ x**2,
    "einsum": lambda x: jnp.einsum("ij,jk->ki", SPARSE, x**2),
    "batch": lambda x: jnp.einsum("kij,jk->ki", np.stack(3 * [SPARSE]), x**2),
    "BCOO": lambda x: COORDINATES @ x**2,
    "vectors at the corners": lambda x: (
        jnp.zeros((N, 3)).at[MESH].add(jnp.sin(x[MESH]) * x[MESH].sum(1, keepdims=True))
    ),
}


def _conv(x, kernel, **options):
    options = {"window_strides": (1,), "padding": "VALID"} | options
    return lax.conv_general_dilated(x, jnp.asarray(kernel), **options)


def _kernel(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).random(shape) + 0.1


# Convolutions and pooling of arrays of one dimension, and of two.
WINDOWS = {
    "valid": lambda x: _conv(x.reshape(1, 1, N), _kernel(2, 1, 3)),
    "same": lambda x: _conv(x.reshape(1, 2, 6), _kernel(3, 2, 3), padding="SAME"),
    "strides": lambda x: _conv(
        x.reshape(1, 1, N), _kernel(1, 1, 4), window_strides=(3,), padding=[(2, 1)]
    ),
    "dilated": lambda x: _conv(x.reshape(1, 1, N), _kernel(1, 1, 3), rhs_dilation=(2,)),
    "transposed": lambda x: _conv(
        x.reshape(2, 1, 6), _kernel(1, 1, 3), lhs_dilation=(2,), padding=[(2, 2)]
    ),
    "cut off": lambda x: _conv(x.reshape(1, 1, N), _kernel(1, 1, 3), padding=[(-1, 0)]),
    "groups": lambda x: _conv(
        x.reshape(1, 4, 3), _kernel(4, 2, 2), feature_group_count=2
    ),
    "other layout": lambda x: lax.conv_general_dilated(
        x.reshape(1, 3, 2, 2),
        jnp.asarray(_kernel(2, 1, 2, 3)),
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    ),
    "numpy": lambda x: jnp.convolve(x, _kernel(4), mode="same"),
    "sums": lambda x: lax.reduce_window(
        x.reshape(3, 4) ** 2, 0.0, lax.add, (2, 2), (1, 2), "SAME"
    ),
    "mean": lambda x: lax.reduce_window(x, 0.0, lax.add, (3,), (2,), "VALID") / 3,
}


def check(fun, x, *, exact=True):
    """Compares with JAX: values, and that the non-zeros alone are listed."""
    block = cc_jacobian(fun, structured=True)(x)
    expected = np.asarray(jax.jacfwd(fun)(x))
    assert block.dtype == expected.dtype
    tolerance = 1e-5 if expected.dtype == np.float32 else 1e-12
    np.testing.assert_allclose(block.materialise(), expected, tolerance, tolerance)
    if exact:
        assert block.to_bcoo().nse == np.count_nonzero(expected)
    return block


@pytest.mark.parametrize("name", EXACT)
def test_structure(name):
    check(EXACT[name], VECTOR)


@pytest.mark.parametrize("name", EXACT)
def test_dense_and_compiled(name):
    """The default, which compares the time of every primitive."""
    transforms = cc_jacobian(EXACT[name], granularity="array"), jax.jacfwd(EXACT[name])
    ours, theirs = jax.jit(lambda x: [transform(x) for transform in transforms])(VECTOR)
    np.testing.assert_allclose(ours, theirs, 1e-12, 1e-12)


@pytest.mark.parametrize("name", MATRICES)
def test_structure_of_matrices(name):
    check(MATRICES[name], MATRIX)


@pytest.mark.parametrize("name", WINDOWS)
def test_windows(name):
    check(WINDOWS[name], VECTOR)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_the_kernel_of_a_convolution(padding):
    check(
        lambda k: _conv(VECTOR.reshape(1, 2, 6), k, padding=padding), _kernel(3, 2, 3)
    )


NOT_WHOLE = {
    "fractions": lambda k: 0.7 * k,
    "too large": lambda k: (3.0e7 * k + 1) % N,
    "NaN": lambda k: jnp.where(k == 3, jnp.nan, k) % N,
    "infinite": lambda k: jnp.where(k == 3, jnp.inf, k),
    "quotients": lambda k: k / 3 * 3,
    "half precision": lambda k: (3 * k.astype(jnp.float16)) % N,
    "negative": lambda k: -k - 20,
    "traced": lambda k: k,
}


@pytest.mark.parametrize("name", NOT_WHOLE)
def test_indices_from_numbers_that_may_be_rounded(name):
    """They are those that XLA computes: nothing is known of most of them."""

    def fun(x):
        start = 0 * x[0] if name == "traced" else 0.0
        numbers = NOT_WHOLE[name](jnp.arange(N, dtype=x.dtype) + start)
        return jnp.sin(x[lax.stop_gradient(numbers).astype(jnp.int32)])

    check(fun, VECTOR, exact=False)


def test_a_mesh_stores_its_entries():
    block = check(elements, VECTOR)
    assert block.structure == "sparse"
    assert block.num_values == block.to_bcoo().nse


def test_the_data_of_a_sparse_matrix():
    """A product is linear in the matrix as well."""
    right = jnp.asarray(RNG.random((N, 2)))

    def fun(data):
        return BCOO((data, COORDINATES.indices), shape=COORDINATES.shape) @ right

    check(fun, COORDINATES.data)


@pytest.mark.parametrize("mode", ["max", "min"])
def test_extrema(mode):
    """Which update is kept depends on the values."""

    def fun(x):
        return getattr(x.at[np.array([0, 3, 7, 7])], mode)(x[np.array([1, 2, 3, 4])])

    block = check(fun, VECTOR, exact=False)
    assert block.to_bcoo().nse <= 16


def test_single_precision():
    check(elements, VECTOR.astype(np.float32))


def test_under_transformations():
    jacobian = cc_jacobian(elements, structured=True)
    dense = lambda u: jacobian(u).materialise()  # noqa: E731
    batch = jnp.stack([VECTOR, 2 * VECTOR])
    expected = jax.vmap(jax.jacfwd(elements))(batch)
    np.testing.assert_allclose(jax.jit(jax.vmap(dense))(batch), expected, 1e-12, 1e-12)
    nested = cc_jacobian(cc_jacobian(elements))(VECTOR)
    np.testing.assert_allclose(nested, jax.hessian(elements)(VECTOR), 1e-9, 1e-9)


def test_infinities_stay_where_they_are():
    """A partial that is infinite touches the entries that it belongs to alone."""
    block = cc_jacobian(lambda x: jnp.sqrt(x)[MESH], structured=True)
    partials = np.asarray(block(VECTOR.at[3].set(0.0)).materialise())
    assert (
        np.isinf(partials) == (MESH[..., None] == 3) * np.eye(N, dtype=bool)[3]
    ).all()
    assert not np.isnan(partials).any()


def test_traced_indices_are_dense_along_their_axis():
    def fun(x):
        return x[jnp.arange(N) + (x[0] < 0).astype(int)] ** 2

    block = check(fun, VECTOR, exact=False)
    assert block.to_bcoo().nse == N * N


#
# Programs that are drawn at random
#


def _drawn(seed: int):
    """A function of a vector, made of steps that keep the size."""
    rng = np.random.default_rng(seed)
    steps = [_step(rng, kind) for kind in rng.choice(sorted(_STEPS), 4)]

    def fun(x):
        for step in steps:
            x = step(x)
        return x

    return fun


def _step(rng, kind: str):
    size = 6
    rows = rng.integers(0, size, size)
    pairs = rng.integers(0, size, (5, 2))
    matrix = np.where(rng.random((size, size)) < 0.3, rng.normal(size=(size, size)), 0)
    return _STEPS[kind](rows, pairs, matrix)


_STEPS = {
    "gather": lambda rows, pairs, matrix: lambda x: jnp.sin(x[rows]),
    "gather and itself": lambda rows, pairs, matrix: lambda x: x * x[rows],
    "scatter": lambda rows, pairs, matrix: (
        lambda x: (
            jnp.zeros_like(x).at[pairs].add(jnp.tanh(x[pairs]).sum(1, keepdims=True))
        )
    ),
    "set": lambda rows, pairs, matrix: lambda x: x.at[rows[:2]].set(x[rows[2:4]] ** 2),
    "slice": lambda rows, pairs, matrix: (
        lambda x: jnp.concatenate([x[3:], jnp.cos(x[:3])])
    ),
    "stencil": lambda rows, pairs, matrix: lambda x: x * jnp.roll(x, 1) - x,
    "matrix": lambda rows, pairs, matrix: lambda x: matrix @ x,
    "sum": lambda rows, pairs, matrix: (
        lambda x: x + jax.ops.segment_sum(x[rows] ** 2, rows, num_segments=6)
    ),
    "choice": lambda rows, pairs, matrix: (
        lambda x: jnp.where(rows > 2, x, x[::-1] ** 2)
    ),
    "loop": lambda rows, pairs, matrix: (
        lambda x: lax.fori_loop(0, 2, lambda _, y: 0.5 * y + y[rows], x)
    ),
}


def _structural(fun, x) -> np.ndarray:
    """The entries that are not zero at some of a few points."""
    points = [x, x + 0.3, 1.7 * x]
    return np.any([np.asarray(jax.jacfwd(fun)(p)) != 0 for p in points], axis=0)


@pytest.mark.parametrize(
    "seed",
    [*range(8), *(pytest.param(s, marks=pytest.mark.slow) for s in range(8, 80))],
)
def test_random_programs(seed):
    fun, x = _drawn(seed), jnp.linspace(0.3, 1.4, 6)
    block = check(fun, x, exact=False)
    listed = np.zeros((6, 6), bool)
    listed[tuple(np.asarray(block.to_bcoo().indices).T)] = True
    assert listed[_structural(fun, x)].all()
