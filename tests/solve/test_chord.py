"""Implicit solvers of diffrax with our root finder, linear solver and derivatives."""

import pathlib
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import lineax as lx
import numpy as np
import optimistix as optx
import pytest
import scipy.integrate
from benchmarks import answers
from benchmarks.harness.root_finders import Repaired
from benchmarks.harness.rows import read
from diffrax import with_stepsize_controller_tols
from eqx_cc import (
    Banded,
    BlockTridiagonal,
    CCChord,
    EliminationSolver,
    preaccumulate,
    SmallInverse,
    SuperLU,
)
from eqx_cc._solve import chord as _chord
from eqx_cc._solve.stage import is_identity


ROOT = pathlib.Path(__file__).parents[2]
CHORD = with_stepsize_controller_tols(CCChord)()
IMEX = "KenCarp3", "KenCarp4", "KenCarp5", "Sil3"


def _robertson(t, y, args):
    a, b, c = y
    scale = 1.0 if args is None else args
    first = -0.04 * scale * a + 1e4 * b * c
    last = 3e7 * b**2
    return jnp.stack([first, -first - last, last])


def _brusselator(t, y, args):
    u, v = jnp.split(y, 2)
    grid = u.shape[0] + 1
    us, vs = jnp.pad(u, 1, constant_values=1.0), jnp.pad(v, 1, constant_values=3.0)
    laplacian = lambda w: 0.02 * grid**2 * (w[2:] - 2 * w[1:-1] + w[:-2])  # noqa: E731
    reaction = u**2 * v
    return jnp.concatenate(
        [1 + reaction - 4 * u + laplacian(us), 3 * u - reaction + laplacian(vs)]
    )


def _brusselator_state(size):
    x = jnp.linspace(0.0, 1.0, size // 2 + 2)[1:-1]
    return jnp.concatenate([1 + jnp.sin(2 * jnp.pi * x), jnp.full(size // 2, 3.0)])


def _solve(
    field,
    y0,
    t1,
    *,
    solver: Any = diffrax.Kvaerno5,
    root_finder=CHORD,
    tol=1e-8,
    atol=None,
    args=None,
    dt0=None,
    **kwargs,
) -> Any:
    term: Any = diffrax.ODETerm(field)
    if solver.__name__ in IMEX:
        nothing = lambda t, y, args: jax.tree.map(jnp.zeros_like, y)  # noqa: E731
        term = diffrax.MultiTerm(diffrax.ODETerm(nothing), term)
    controller = diffrax.PIDController(rtol=tol, atol=tol if atol is None else atol)
    return diffrax.diffeqsolve(
        term,
        solver(root_finder=root_finder),
        0.0,
        t1,
        dt0,
        y0,
        args,
        stepsize_controller=controller,
        max_steps=4096,
        **kwargs,
    )


def _slow(names, fast):
    return [n if n in fast else pytest.param(n, marks=pytest.mark.slow) for n in names]


# How far from the reference a method may end, for what is asked of it.
BOUNDS = dict.fromkeys(answers.METHODS, 1e-4) | {"ImplicitEuler": 0.1}
# `ImplicitEuler` runs out of iterations near the end of Robertson, with either finder.
ESDIRK = [method for method in answers.METHODS if method != "ImplicitEuler"]
ANSWERS = [
    *((name, "Kvaerno5") for name in answers.PUBLISHED),
    *(("Robertson", method) for method in ESDIRK if method != "Kvaerno5"),
]


def _assert_same(row):
    assert row["successful"] == [True, True]
    ours, theirs = row["steps"]
    if "KenCarp" in row["method"]:  # Which end where rounding does.
        assert ours <= 1.1 * theirs
    else:
        assert ours == theirs
    error, of_theirs = row["errors"]
    assert error <= max(BOUNDS[row["method"]], 1.5 * of_theirs)
    assert row["difference"] <= 2 * max(error, of_theirs)


@pytest.mark.parametrize(
    "case", _slow(ANSWERS, [("Robertson", "Kvaerno5")]), ids=lambda case: "-".join(case)
)
def test_published_solutions(case):
    """As many steps as with the root finder of diffrax once that is repaired, and the
    same end, which the test set for initial value problem solvers has published."""
    name, method = case
    _assert_same(answers.compared(name, method, answers.reference(name)))


def test_answers_that_were_measured():
    """What the documentation says."""
    rows = read(str(ROOT / "docs" / "benchmarks" / "answers.json"))
    assert {row["problem"] for row in rows} >= {*answers.PUBLISHED}
    for row in rows:
        _assert_same(row)


def test_scipy_agrees():
    """Radau's method, of another family."""
    y0 = _brusselator_state(32)
    field = jax.jit(lambda y: _brusselator(0.0, y, None))
    expected = scipy.integrate.solve_ivp(
        lambda t, y: field(y), (0.0, 1.0), y0, "Radau", rtol=1e-8, atol=1e-8
    )
    actual = jax.jit(lambda y0: _solve(_brusselator, y0, 1.0, tol=1e-8))(y0)
    np.testing.assert_allclose(actual.ys[0], expected.y[:, -1], rtol=1e-5)


REPAIRED = with_stepsize_controller_tols(Repaired)()


@pytest.mark.parametrize(
    "inner", [EliminationSolver(lx.QR()), lx.AutoLinearSolver(well_posed=None)]
)
def test_other_linear_solvers(inner):
    y0 = jnp.array([1.0, 0.0, 0.0])
    finder = with_stepsize_controller_tols(CCChord)(linear_solver=inner)

    @jax.jit
    def run(y0):
        other = _solve(_robertson, y0, 1.0, root_finder=finder)
        return other, _solve(_robertson, y0, 1.0)

    other, ours = run(y0)
    assert other.stats["num_steps"] == ours.stats["num_steps"]
    np.testing.assert_allclose(other.ys, ours.ys, rtol=1e-10)


def test_structures_by_name():
    """As many steps, and the same end, as with the structure that is found."""
    named = Banded(reorder=True), BlockTridiagonal(16), SuperLU(), SmallInverse()
    make = with_stepsize_controller_tols(CCChord)
    finders = [CHORD, *(make(linear_solver=linear) for linear in named)]
    y0 = _brusselator_state(32)

    @jax.jit
    def run(y0):
        return [
            _solve(_brusselator, y0, 0.5, tol=1e-6, root_finder=finder)
            for finder in finders
        ]

    theirs, *each = run(y0)
    for ours in each:
        assert ours.stats["num_steps"] == theirs.stats["num_steps"]
        np.testing.assert_allclose(ours.ys, theirs.ys, rtol=1e-8)


def test_structures_that_are_not_there():
    finder = CCChord(1e-6, 1e-6, linear_solver=Banded())
    with pytest.raises(ValueError, match="does not suit `operator`"):
        optx.root_find(lambda y, _: y + jnp.outer(y, y) @ y, finder, jnp.ones(40))


@pytest.mark.parametrize("size", [3, 30])
def test_without_jit(size):
    """Operation by operation, for those who debug."""
    field = lambda t, y, args: jnp.roll(y, 1) - 50 * (y - jnp.cos(t))  # noqa: E731
    run = lambda y0: _solve(field, y0, 0.01, tol=1e-4, dt0=0.01).ys  # noqa: E731
    y0 = jnp.linspace(1.0, 2.0, size)
    with jax.disable_jit():
        actual = run(y0)
    np.testing.assert_allclose(actual, jax.jit(run)(y0), rtol=1e-12)


def test_diffrax_with_our_linear_solver():
    y0 = _brusselator_state(32)
    linear = with_stepsize_controller_tols(Repaired)(linear_solver=EliminationSolver())

    @jax.jit
    def run(y0):
        one = _solve(_brusselator, y0, 0.1, root_finder=linear, tol=1e-6)
        return one, _solve(_brusselator, y0, 0.1, root_finder=REPAIRED, tol=1e-6)

    ours, theirs = run(y0)
    assert ours.stats["num_steps"] == theirs.stats["num_steps"]
    np.testing.assert_allclose(ours.ys, theirs.ys, rtol=1e-10)


#
# The identity is not factored, and what is carried
#


def test_nothing_but_factors_is_carried():
    y0 = _brusselator_state(64)
    relation = lambda y, args: (y - 0.1 * _brusselator(0.0, y, None), None)  # noqa: E731
    finder = CCChord(1e-6, 1e-6)
    state = eqx.filter_jit(finder.init)(relation, y0, None, {}, y0, None, frozenset())
    carried = sum(x.size for x in jax.tree.leaves(state.factors))
    assert carried <= 9 * 64  # Five bands of U, two of L, and swaps.


@pytest.mark.parametrize("name", ["Kvaerno3", "KenCarp3", "Sil3"])
def test_stages_that_are_the_identity_are_known(name, monkeypatch):
    """If this fails, then diffrax has changed, and identities are factored."""
    results = []

    def spy(*args):
        results.append(is_identity(*args))
        return results[-1]

    monkeypatch.setattr(_chord, "is_identity", spy)
    solver = getattr(diffrax, name)
    for field in (_robertson, _field):
        y0 = jnp.array([1.0, 0.0, 0.0]) if field is _robertson else TREE
        run = lambda y: _solve(field, y, 1.0, solver=solver, args=1.0).ys  # noqa: E731
        jax.eval_shape(run, y0)
    assert len(results) >= 4 and all(actual is not None for actual in results)


A = jnp.array([2.0, 3.0])
# What decides whether a relation is the identity, if anything does.
RELATIONS = {
    "product": (lambda y, a: y - a[0] * jnp.sin(y), {0}),
    "either": (lambda y, a: y - jnp.cos(a[0] * a[1] * y), set()),
    "inside": (lambda y, a: y - jnp.cos(A + a[0] * y), {0}),
    "twice": (lambda y, a: y - a[1] * jnp.cos(A + a[0] * y), {0, 1}),
    "both needed": (lambda y, a: y - a[1] * y - jnp.cos(a[0] * y), set()),
    "no identity": (lambda y, a: 2 * y - a[0] * y, set()),
    "negative": (lambda y, a: a[0] * jnp.sin(y) - y, set()),
    "sum": (lambda y, a: y + y * a[0], {0}),
    "twice itself": (lambda y, a: y + y - a[0] * y, set()),
    "turned": (lambda y, a: y[::-1] - a[0] * y, set()),
    "nothing else": (lambda y, a: y - a[0], set()),
    "a square": (lambda y, a: y - (a[0] + y) * y, set()),
}


@pytest.mark.parametrize("name", RELATIONS)
def test_what_makes_a_relation_the_identity(name):
    fun, expected = RELATIONS[name]
    with_zero = [[jnp.where(i == k, 0.0, 0.5) for k in (0, 1)] for i in (0, 1)]
    actual = {i for i in (0, 1) if is_identity(fun, A, with_zero[i])}
    assert actual == expected
    assert not is_identity(fun, A, [jnp.array(0.5)] * 2)
    for i in actual:
        jacobian = jax.jacfwd(fun)(A, with_zero[i])
        np.testing.assert_array_equal(jacobian, jnp.eye(2))


def test_arguments_that_are_zero():
    """As in a stage, though it is none."""
    fun = lambda y, args: y**3 - args[2] + args[1] * y  # noqa: E731
    args = (jnp.array(1), jnp.array(0.0), jnp.array([8.0]))
    actual = optx.root_find(fun, CCChord(1e-9, 1e-9), jnp.array([2.1]), args)
    np.testing.assert_allclose(actual.value, 2.0, rtol=1e-8)


#
# Failure
#


def test_a_singular_jacobian_is_reported():
    actual = optx.root_find(
        lambda y, _: y**2 + 1, CCChord(1e-6, 1e-6), jnp.zeros(2), throw=False
    )
    assert actual.result != optx.RESULTS.successful
    with pytest.raises(Exception, match="linear solver"):
        jax.block_until_ready(
            optx.root_find(
                lambda y, _: y**2 + 1, CCChord(1e-6, 1e-6), jnp.zeros(2)
            ).value
        )


def test_steps_in_which_a_part_is_singular():
    """At the first length the diagonal has a zero that the mean makes up for, or next
    to one: then that step is rejected, and a shorter one has none. The length and the
    rate are powers of two: the zero is one whether or not XLA fuses their product with
    the difference."""
    spread = jnp.sin(jnp.arange(1.0, 25.0))
    options: Any = dict(solver=diffrax.ImplicitEuler, tol=1e-3, dt0=0.125)

    def field(t, y, rate):
        rates = jnp.full(24, -1.0).at[4].set(rate)
        return rates * y - 5 * spread * jnp.mean(spread * y)

    @jax.jit
    def run(y0):
        stage = lambda k, y0: k - field(0.0, y0 + 0.125 * k, 8.0)  # noqa: E731
        first = optx.root_find(stage, CCChord(1e-3, 1e-3), y0, y0, throw=False)
        near = 8.0 * (1 + 1e-15)
        return first.result, [
            _solve(field, y0, 0.25, args=near, root_finder=finder, **options)
            for finder in (CHORD, REPAIRED)
        ]

    first, (ours, theirs) = run(jnp.ones(24))
    assert first == optx.RESULTS.promote(lx.RESULTS.singular)
    assert ours.stats["num_rejected_steps"] > 0
    np.testing.assert_allclose(ours.ys, theirs.ys, rtol=1e-3)


def test_divergence_is_reported():
    actual = optx.root_find(
        lambda y, _: y**3 - 1, CCChord(1e-12, 1.0), jnp.array([0.1]), throw=False
    )
    assert actual.result == optx.RESULTS.nonlinear_divergence


#
# What `optimistix.Chord` has
#


def _cubes(y, a):
    return y**3 + 0.1 * jnp.mean(y) - a


@pytest.mark.parametrize("size", [2, 12])
def test_bounds(size):
    """Iterates stay between them, and a bound is no root."""
    outside = []

    def fun(y, a):
        jax.debug.callback(lambda y: outside.append(np.min(y) < 0.5), y)
        return _cubes(y, a)

    def run(finder, upper, start):
        bounds = dict(lower=jnp.array(0.5), upper=jnp.full(size, upper))
        actual = optx.root_find(
            fun, finder, start, 8.0, options=bounds, throw=False, max_steps=60
        )
        return actual.value, actual.result == optx.RESULTS.successful

    far = jnp.full(size, 1.0).at[0].set(3.0)
    finders = [
        CCChord(1e-9, 1e-9),
        CCChord(1e-9, 1e-9, cauchy_termination=True),
        optx.Chord(1e-9, 1e-9),
    ]
    actual = jax.jit(
        lambda: [
            (run(finder, 3.0, jnp.full(size, 1.9)), run(finder, 1.5, far))
            for finder in finders
        ]
    )()
    jax.effects_barrier()
    assert len(outside) > 0 and not np.any(outside)
    for (inside, is_root), (stuck, is_none) in actual:
        np.testing.assert_allclose(_cubes(inside, 8.0), 0.0, atol=1e-6)
        assert is_root and not is_none
        assert np.all((stuck >= 0.5) & (stuck <= 1.5))


def test_termination_by_the_value():
    """As many iterations as `optimistix.Chord` takes."""

    def run(finder):
        actual = optx.root_find(_cubes, finder, jnp.full(9, 1.9), 8.0)
        return actual.value, actual.stats["num_steps"]

    tolerances = 1e-9, 1e-9
    finder = CCChord(*tolerances, cauchy_termination=True)
    ours, theirs = jax.jit(lambda: (run(finder), run(optx.Chord(*tolerances))))()
    assert ours[1] == theirs[1]
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-12)


def test_refuses_to_go_without_tolerances():
    for make in (CCChord, lambda: CCChord(rtol=1e-6), lambda: CCChord(atol=1e-6)):
        with pytest.raises(ValueError, match="needs tolerances.*rtol=1e-6, atol=1e-6"):
            make()
    with pytest.raises(ValueError, match="needs tolerances.*taken from `diffeqsolve"):
        optx.root_find(lambda y, _: y - 1, CHORD, jnp.ones(2))


PATTERNS = {
    "diagonal": (lx.Diagonal(), lambda y, _: y**3 - 8),
    "tridiagonal": (
        lx.Tridiagonal(),
        lambda y, _: 4 * y + jnp.pad(y[1:] ** 2, (0, 1)) - jnp.pad(y[:-1], (1, 0)) - 8,
    ),
    "triangular": (lx.Triangular(), lambda y, _: y**3 - 8 + jnp.pad(y[2:], (0, 2))),
}


@pytest.mark.parametrize("name", PATTERNS)
def test_linear_solvers_for_a_pattern(name):
    """Those of lineax are told what is found, and refuse what is not there."""
    linear, fun = PATTERNS[name]
    finder = CCChord(1e-9, 1e-9, linear_solver=linear)
    actual = jax.jit(lambda y: optx.root_find(fun, finder, y).value)(jnp.full(7, 1.8))
    np.testing.assert_allclose(fun(actual, None), 0.0, atol=1e-7)
    with pytest.raises(ValueError, match="may only be used"):
        optx.root_find(lambda y, _: y + jnp.sum(y**2), finder, jnp.ones(7))


def test_tags_reach_solvers_for_a_structure():
    """Of a diagonal that is not seen to be one."""
    weights = jnp.diag(jnp.linspace(1.0, 2.0, 7))
    finder = CCChord(1e-9, 1e-9, linear_solver=Banded(0, 0))
    fun = lambda y, weights: weights @ y**3 - 8  # noqa: E731

    def run(weights, tags):
        return optx.root_find(fun, finder, jnp.full(7, 1.8), weights, tags=tags).value

    actual = jax.jit(lambda w: run(w, frozenset([lx.diagonal_tag])))(weights)
    np.testing.assert_allclose(fun(actual, weights), 0.0, atol=1e-7)
    with pytest.raises(ValueError, match="does not suit `operator`"):
        run(weights, frozenset())


NOT_SQUARE = {
    "two equations": (lambda y, _: (y - 1.2, 2 * (y - 1.2)), jnp.array(0.7), True),
    "no root": (lambda y, _: (y - 1.2, 2 * (y - 1.4)), jnp.array(0.7), False),
    "two unknowns": (lambda y, _: y[0] + 2 * y[1] - 1, jnp.array([0.7, 0.1]), True),
    "sphere": (lambda y, _: jnp.sum(y**2) - 9, jnp.ones(10), True),
}


@pytest.mark.parametrize("name", NOT_SQUARE)
def test_more_or_fewer_equations_than_unknowns(name):
    fun, start, is_root = NOT_SQUARE[name]

    def run(finder):
        actual = optx.root_find(fun, finder, start, throw=False, max_steps=80)
        return actual.value, actual.result == optx.RESULTS.successful

    ours, theirs = jax.jit(
        lambda: (run(CCChord(1e-7, 1e-7)), run(optx.Chord(1e-7, 1e-7)))
    )()
    assert ours[1] == theirs[1] == is_root
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6)


def test_events_with_two_conditions():
    """One of which is met: its root is between two steps."""
    conditions = [
        lambda t, y, args, **kw: y[0] - 0.5,
        lambda t, y, args, **kw: y[1] + 1.0,
    ]

    def run(finder):
        event = diffrax.Event(conditions, finder)
        field = lambda t, y, args: -y * jnp.array([1.0, 0.1])  # noqa: E731
        actual = _solve(field, jnp.ones(2), 3.0, solver=diffrax.Kvaerno3, event=event)
        return actual.ts[-1]

    finders = CCChord(1e-8, 1e-8), optx.Chord(1e-8, 1e-8)
    ours, theirs = jax.jit(lambda: [run(finder) for finder in finders])()
    np.testing.assert_allclose(ours, np.log(2.0), rtol=1e-5)
    np.testing.assert_allclose(ours, theirs, rtol=1e-7)


@pytest.mark.parametrize("size", [3, 30])
def test_inner_solvers_for_what_is_singular(size):
    """Equations of which one says what another does."""

    def fun(y, _):
        values = jnp.sin(y) - 0.5
        return values.at[1].set(2 * values[0])

    linear = EliminationSolver(lx.AutoLinearSolver(well_posed=False))
    finder = CCChord(1e-9, 1e-9, linear_solver=linear)
    start = jnp.full(size, 0.4)
    actual = jax.jit(lambda y: optx.root_find(fun, finder, y, throw=False))(start)
    assert actual.result == optx.RESULTS.successful
    np.testing.assert_allclose(actual.value[1], start[1])
    np.testing.assert_allclose(fun(actual.value, None), 0.0, atol=1e-7)


def test_gradients_of_steps_that_failed():
    """A stage that overflows is rejected, and must not reach the gradient."""

    def loss(y0):
        return jnp.sum(_solve(_robertson, y0, 1e5, tol=1e-8).ys ** 2)

    gradient = jax.jit(jax.grad(loss))(jnp.array([1.0, 0.0, 0.0]))
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("size", [2, 12, 70])
def test_gradients_through_iterations(size):
    """By differentiating every iteration: the factors are held fixed."""

    def run(a):
        fun = lambda y, a: y**3 + 0.1 * jnp.mean(y) - a  # noqa: E731
        start = jnp.full(size, 1.95)
        actual = optx.root_find(
            fun,
            CCChord(1e-12, 1e-12),
            start,
            a,
            adjoint=optx.RecursiveCheckpointAdjoint(),
        )
        return jnp.sum(actual.value)

    root = optx.root_find(
        lambda y, a: y**3 + 0.1 * y - a, CCChord(1e-12, 1e-12), jnp.array(1.95), 8.0
    ).value
    actual = jax.jit(jax.grad(run))(8.0)
    np.testing.assert_allclose(actual, size / (3 * root**2 + 0.1), rtol=1e-6)


#
# What diffrax can do with a solve
#


def _field(t, y, args):
    """A PyTree, with a scalar among its leaves."""
    u, v = y["u"], y["v"]
    return {"u": -50.0 * args * (u - jnp.cos(v)), "v": -v + jnp.sum(u**2)}


TREE = {"u": jnp.array([0.5, 1.0]), "v": jnp.array(0.3)}


def _final(y0, args, field=_field, root_finder=CHORD, **kwargs):
    solver = dict(solver=diffrax.Kvaerno3, tol=1e-7, dt0=1e-3)
    actual = _solve(
        field, y0, 0.2, root_finder=root_finder, args=args, **solver, **kwargs
    )
    return jnp.sum(actual.ys["u"] ** 2) + jnp.sum(actual.ys["v"])


ARGS = jnp.array(2.0)


ADJOINTS = {
    "recursive": diffrax.RecursiveCheckpointAdjoint(),
    "direct": diffrax.DirectAdjoint(),
    "forward": diffrax.ForwardMode(),
}
FIELDS = {"plain": _field, "preaccumulated": preaccumulate(_field)}
GRADIENTS = [(adjoint, field) for adjoint in ADJOINTS for field in FIELDS]
QUICK = [("recursive", "preaccumulated"), ("forward", "plain")]


@pytest.mark.parametrize("case", _slow(GRADIENTS, QUICK), ids="-".join)
def test_gradients_are_those_of_differences(case):
    adjoint, field = case
    loss = lambda a: _final(TREE, a, FIELDS[field], adjoint=ADJOINTS[adjoint])  # noqa: E731
    if adjoint == "forward":
        both = jax.jit(lambda a: jax.jvp(loss, (a,), (jnp.ones(()),)))
    else:
        both = jax.jit(jax.value_and_grad(loss))
    h = 1e-3
    (_, actual), (after, _), (before, _) = (both(ARGS + s) for s in (0.0, h, -h))
    np.testing.assert_allclose(actual, (after - before) / (2 * h), rtol=1e-4)


@pytest.mark.slow
def test_gradients_by_solving_backwards():
    """Of what is not stiff: backwards in time, decay is growth."""
    field = lambda t, y, a: -a * (y - jnp.cos(t)) * jnp.arange(1.0, 4.0)  # noqa: E731

    def loss(a, adjoint):
        actual = _solve(field, jnp.ones(3), 1.0, args=a, tol=1e-8, adjoint=adjoint)
        return jnp.sum(actual.ys**2)

    def gradient(adjoint):
        return jax.jit(jax.grad(lambda a: loss(a, adjoint)))(2.0)

    actual = gradient(diffrax.BacksolveAdjoint())
    expected = gradient(diffrax.RecursiveCheckpointAdjoint())
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("wrap", [False, True])
def test_gradients_of_a_steady_state(wrap):
    """By the implicit function theorem."""
    field = lambda t, y, args: -5.0 * (y**3 - args)  # noqa: E731
    field = preaccumulate(field) if wrap else field
    event = diffrax.Event(diffrax.steady_state_event(rtol=1e-6, atol=1e-8))

    def steady(args):
        actual = _solve(
            field,
            jnp.array([1.0]),
            jnp.inf,
            solver=diffrax.Kvaerno3,
            dt0=0.1,
            args=args,
            adjoint=diffrax.ImplicitAdjoint(),
            event=event,
        )
        return actual.ys[0, 0]

    with jax.numpy_dtype_promotion("standard"):  # Which the event relies on.
        actual = jax.jit(jax.grad(steady))(8.0)
    np.testing.assert_allclose(actual, 1 / 12, rtol=1e-4)


@pytest.mark.parametrize("size", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_batches(size):
    """Under `jax.vmap`, over states and arguments."""
    args = jnp.linspace(1.0, 3.0, size)
    states = jax.vmap(lambda a: jax.tree.map(lambda x: x + 0.01 * a, TREE))(args)
    both = jax.jit(lambda y, a: (jax.vmap(_final)(y, a), jax.lax.map(_each, (y, a))))
    actual, expected = both(states, args)
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


def _each(pair):
    return _final(*pair)


def test_single_precision():
    y0 = jnp.array([1.0, 0.0, 0.0], jnp.float32)
    field = lambda t, y, args: _robertson(t, y, None)  # noqa: E731
    actual = jax.jit(lambda y0: _solve(field, y0, jnp.float32(1.0), tol=1e-4))(y0)
    assert actual.ys.dtype == jnp.float32
    np.testing.assert_allclose(jnp.sum(actual.ys[0]), 1.0, rtol=1e-5)


def test_dense_output_and_events():
    event = diffrax.Event(lambda t, y, args, **kw: y[0] - 0.98, optx.Newton(1e-9, 1e-9))
    saveat = diffrax.SaveAt(dense=True, t1=True)
    y0 = jnp.array([1.0, 0.0, 0.0])
    actual = jax.jit(
        lambda y0: _solve(_robertson, y0, 40.0, event=event, saveat=saveat)
    )(y0)
    np.testing.assert_allclose(actual.ys[0, 0], 0.98, rtol=1e-7)
    np.testing.assert_allclose(actual.evaluate(actual.ts[0])[0], 0.98, rtol=1e-7)


def test_control_terms():
    """An equation that is driven by a path: dy = f(y) dx."""
    ts = jnp.linspace(0.0, 1.0, 5)
    control = diffrax.LinearInterpolation(ts, ts**2)
    term = diffrax.ControlTerm(lambda t, y, args: -3.0 * y, control)

    def run(root_finder):
        return diffrax.diffeqsolve(
            term,
            diffrax.Kvaerno3(root_finder=root_finder),
            0.0,
            1.0,
            0.01,
            jnp.array([1.0, 2.0]),
            stepsize_controller=diffrax.PIDController(rtol=1e-6, atol=1e-6),
            max_steps=4096,
        ).ys

    ours, theirs = jax.jit(lambda: (run(CHORD), run(REPAIRED)))()
    np.testing.assert_allclose(ours, theirs, rtol=1e-8)
    np.testing.assert_allclose(
        ours[0], jnp.exp(-3.0) * jnp.array([1.0, 2.0]), rtol=1e-4
    )


@pytest.mark.slow
def test_modules_as_fields():
    class Field(eqx.Module):
        net: eqx.nn.MLP

        def __call__(self, t, y, args):
            return 5 * self.net(y) - 20 * y

    field = Field(eqx.nn.MLP(4, 4, 8, 1, jnp.tanh, key=jr.key(0)))
    y0 = jnp.ones(4)

    def loss(field, root_finder=CHORD):
        return jnp.sum(_solve(field, y0, 0.3, root_finder=root_finder).ys ** 2)

    @eqx.filter_jit
    def run(field):
        ours = eqx.filter_value_and_grad(loss)(field)
        accumulated = eqx.filter_value_and_grad(lambda f: loss(preaccumulate(f)))(field)
        return ours, accumulated, eqx.filter_value_and_grad(loss)(field, REPAIRED)

    ours, accumulated, theirs = run(field)
    for actual in (ours, accumulated):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-12),
            jax.tree.leaves(eqx.filter(actual, eqx.is_array)),
            jax.tree.leaves(eqx.filter(theirs, eqx.is_array)),
        )


@pytest.mark.filterwarnings("ignore:Complex:UserWarning")
@pytest.mark.filterwarnings("ignore:Casting complex:Warning")
def test_complex_states():
    field = lambda t, y, args: jax.lax.complex(-1.0, 30.0) * y  # noqa: E731
    y0 = jax.lax.complex(jnp.array([1.0, 0.5]), jnp.array([0.0, 1.0]))
    term = diffrax.ODETerm(field)
    actual: Any = diffrax.diffeqsolve(
        term,
        diffrax.Kvaerno3(root_finder=CCChord(1e-8, 1e-8)),
        0.0,
        0.1,
        0.001,
        y0,
        stepsize_controller=diffrax.ConstantStepSize(),
    )
    expected = np.exp(0.1 * (-1 + 30j)) * np.asarray(y0)
    np.testing.assert_allclose(actual.ys[0], expected, rtol=1e-5)
