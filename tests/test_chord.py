"""Implicit solvers of diffrax with our root finder, linear solver and derivatives."""

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
from diffrax import with_stepsize_controller_tols
from eqx_cc import CCChord, EliminationSolver, preaccumulate


CHORD = with_stepsize_controller_tols(CCChord)()


def _robertson(t, y, args):
    a, b, c = y
    scale = 1.0 if args is None else args
    first = -0.04 * scale * a + 1e4 * b * c
    last = 3e7 * b**2
    return jnp.stack([first, -first - last, last])


def _hires(t, y, args):
    a, b, c, d, e, f, g, h = y
    return jnp.stack(
        [
            -1.71 * a + 0.43 * b + 8.32 * c + 0.0007,
            1.71 * a - 8.75 * b,
            -10.03 * c + 0.43 * d + 0.035 * e,
            8.32 * b + 1.71 * c - 1.12 * d,
            -1.745 * e + 0.43 * f + 0.43 * g,
            -280 * f * h + 0.69 * d + 1.71 * e - 0.43 * f + 0.69 * g,
            280 * f * h - 1.81 * g,
            -280 * f * h + 1.81 * g,
        ]
    )


def _oregonator(t, y, args):
    a, b, c = y
    return jnp.stack(
        [
            77.27 * (b + a * (1 - 8.375e-6 * a - b)),
            (c - (1 + a) * b) / 77.27,
            0.161 * (a - c),
        ]
    )


def _van_der_pol(t, y, args):
    """In the form of the test set, with its parameter 1e-6."""
    a, b = y
    return jnp.stack([b, ((1 - a**2) * b - a) / 1e-6])


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
    if "KenCarp" in solver.__name__:
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


# The solutions that the test set has published: F. Mazzia and C. Magherini, Test Set
# for Initial Value Problem Solvers, release 2.4, University of Bari, 2008.
PUBLISHED = {
    "ROBER": (
        _robertson,
        [1.0, 0.0, 0.0],
        1e11,
        [0.2083340149701255e-7, 0.8333360770334713e-13, 0.9999999791665050],
    ),
    "HIRES": (
        _hires,
        [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0057],
        321.8122,
        [
            0.7371312573325668e-3,
            0.1442485726316185e-3,
            0.5888729740967575e-4,
            0.1175651343283149e-2,
            0.2386356198831331e-2,
            0.6238968252742796e-2,
            0.2849998395185769e-2,
            0.2850001604814231e-2,
        ],
    ),
    "OREGO": (
        _oregonator,
        [1.0, 2.0, 3.0],
        360.0,
        [0.1000814870318523e1, 0.1228178521549917e4, 0.1320554942846706e3],
    ),
    "VDPOL": (
        _van_der_pol,
        [2.0, 0.0],
        2.0,
        [0.1706167732170483e1, -0.8928097010247975],
    ),
}


def _slow(names, fast):
    return [n if n in fast else pytest.param(n, marks=pytest.mark.slow) for n in names]


@pytest.mark.parametrize("name", _slow(PUBLISHED, ["ROBER", "VDPOL"]))
def test_published_solutions(name):
    field, y0, t1, expected = PUBLISHED[name]
    run = jax.jit(lambda y0: _solve(field, y0, t1, tol=1e-9, atol=1e-16, dt0=1e-9))
    found = run(jnp.array(y0))
    np.testing.assert_allclose(found.ys[0], expected, rtol=1e-6)


def test_scipy_agrees():
    """Radau's method, of another family."""
    y0 = _brusselator_state(32)
    field = jax.jit(lambda y: _brusselator(0.0, y, None))
    expected = scipy.integrate.solve_ivp(
        lambda t, y: field(y), (0.0, 1.0), y0, "Radau", rtol=1e-8, atol=1e-8
    )
    found = jax.jit(lambda y0: _solve(_brusselator, y0, 1.0, tol=1e-8))(y0)
    np.testing.assert_allclose(found.ys[0], expected.y[:, -1], rtol=1e-5)


class _Repaired(diffrax.VeryChord):
    """That of diffrax, with an end that tells slow convergence from divergence."""

    def terminate(self, fn, y, args, options, state, tags):
        rate = state.diffsize / state.diffsize_prev
        error = state.diffsize * rate / (1 - rate)
        small = state.diffsize < 10 ** (2 - jnp.finfo(state.diffsize.dtype).precision)
        diverged = ~jnp.isfinite(rate) | (rate > 2)
        converged = (error > 0) & (error < self.kappa)
        result = optx.RESULTS.where(
            (state.step >= 2) & diverged & ~small & ~converged,
            optx.RESULTS.nonlinear_divergence,
            optx.RESULTS.successful,
        )
        failed = state.result != optx.RESULTS.successful
        result = optx.RESULTS.where(failed, state.result, result)
        return failed | ((state.step >= 2) & (small | diverged | converged)), result


REPAIRED = with_stepsize_controller_tols(_Repaired)()
IMPLICIT = ["Kvaerno3", "Kvaerno4", "Kvaerno5", "KenCarp3", "KenCarp4", "KenCarp5"]
IMPLICIT += ["ImplicitEuler"]


@pytest.mark.parametrize("name", _slow(IMPLICIT, ["Kvaerno5", "KenCarp3"]))
@pytest.mark.parametrize("size", [3, pytest.param(32, marks=pytest.mark.slow)])
def test_the_same_steps(name, size):
    """As many as with the root finder of diffrax, once that is repaired; far fewer
    where it takes the rounding of explicit stages for divergence."""
    solver = getattr(diffrax, name)
    field, y0, t1 = _robertson, jnp.array([1.0, 0.0, 0.0]), 0.3
    if size > 3:
        field, y0, t1 = _brusselator, _brusselator_state(size), 0.1
    tol = 1e-4 if name == "ImplicitEuler" else 1e-6

    @jax.jit
    def run(y0):
        options = dict(solver=solver, tol=tol, dt0=1e-4, throw=False)
        theirs = _solve(field, y0, t1, root_finder=REPAIRED, **options)
        exact = _solve(field, y0, t1, tol=1e-10)
        return _solve(field, y0, t1, **options), theirs, exact.ys[0]

    ours, theirs, exact = run(y0)
    assert ours.result == diffrax.RESULTS.successful
    np.testing.assert_allclose(ours.ys[0], exact, atol=100 * tol)
    counts = ours.stats["num_steps"], theirs.stats["num_steps"]
    if "Kvaerno" in solver.__name__:
        assert counts[0] == counts[1]
        np.testing.assert_allclose(ours.ys, theirs.ys, rtol=1e-9, atol=1e-12)
    else:
        assert counts[0] <= counts[1]


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


def test_diffrax_with_our_linear_solver():
    y0 = _brusselator_state(32)
    linear = with_stepsize_controller_tols(_Repaired)(linear_solver=EliminationSolver())

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
    held = sum(x.size for x in jax.tree.leaves(state.factors))
    assert held <= 9 * 64  # Five bands of U, two of L, and swaps.


def test_stages_of_diffrax_are_known():
    """If this fails, then diffrax has changed, and identities are factored."""
    from diffrax._solver import runge_kutta
    from eqx_cc._solve._chord import _diagonal

    seen = []

    class _Spy(optx.AbstractRootFinder):
        rtol: float
        atol: float
        norm: object = optx.max_norm

        def init(self, fn, y, args, options, f_struct, aux_struct, tags):
            if "init_state" not in options:
                seen.append(_diagonal(fn, args))
            rest = f_struct, aux_struct, tags
            return CCChord(1e-6, 1e-6).init(fn, y, args, options, *rest)

        def step(self, *args):
            return CCChord(1e-6, 1e-6).step(*args)

        def terminate(self, *args):
            return CCChord(1e-6, 1e-6).terminate(*args)

        def postprocess(self, *args):
            return CCChord(1e-6, 1e-6).postprocess(*args)

    assert runge_kutta.__name__ == "diffrax._solver.runge_kutta"
    finder = with_stepsize_controller_tols(_Spy)()
    for solver in (diffrax.Kvaerno3, diffrax.KenCarp3):
        jax.eval_shape(
            lambda y: _solve(_robertson, y, 1.0, solver=solver, root_finder=finder).ys,
            jnp.array([1.0, 0.0, 0.0]),
        )
    assert len(seen) >= 4 and all(found is not None for found in seen)


def test_a_diagonal_that_is_not_of_a_stage():
    """Arguments that look like those of a stage are the user's own."""
    fun = lambda y, args: y**3 - args[2]  # noqa: E731
    args = (jnp.array(1), jnp.array(0.0), jnp.array([8.0]), None, None, None, None)
    found = optx.root_find(fun, CCChord(1e-9, 1e-9), jnp.array([2.1]), args)
    np.testing.assert_allclose(found.value, 2.0, rtol=1e-8)


#
# Failure
#


def test_a_singular_jacobian_is_reported():
    found = optx.root_find(
        lambda y, _: y**2 + 1, CCChord(1e-6, 1e-6), jnp.zeros(2), throw=False
    )
    assert found.result != optx.RESULTS.successful
    with pytest.raises(Exception, match="linear solver"):
        jax.block_until_ready(
            optx.root_find(
                lambda y, _: y**2 + 1, CCChord(1e-6, 1e-6), jnp.zeros(2)
            ).value
        )


def test_refuses_what_is_not_square():
    with pytest.raises(ValueError, match="`fn` must return as many numbers as `y`"):
        optx.root_find(lambda y, _: y[:2], CCChord(1e-6, 1e-6), jnp.ones(3))


def test_divergence_is_reported():
    found = optx.root_find(
        lambda y, _: y**3 - 1, CCChord(1e-12, 1.0), jnp.array([0.1]), throw=False
    )
    assert found.result == optx.RESULTS.nonlinear_divergence


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
        found = optx.root_find(
            fun,
            CCChord(1e-12, 1e-12),
            start,
            a,
            adjoint=optx.RecursiveCheckpointAdjoint(),
        )
        return jnp.sum(found.value)

    root = optx.root_find(
        lambda y, a: y**3 + 0.1 * y - a, CCChord(1e-12, 1e-12), jnp.array(1.95), 8.0
    ).value
    found = jax.jit(jax.grad(run))(8.0)
    np.testing.assert_allclose(found, size / (3 * root**2 + 0.1), rtol=1e-6)


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
    found = _solve(
        field, y0, 0.2, root_finder=root_finder, args=args, **solver, **kwargs
    )
    return jnp.sum(found.ys["u"] ** 2) + jnp.sum(found.ys["v"])


ARGS = jnp.array(2.0)


@pytest.mark.parametrize(
    "adjoint",
    _slow(["recursive", "direct", "implicit", "forward"], ["recursive", "forward"]),
)
@pytest.mark.parametrize("wrap", [False, True])
def test_gradients_are_those_of_differences(adjoint, wrap):
    fields = {False: _field, True: preaccumulate(_field)}
    adjoints = {
        "recursive": diffrax.RecursiveCheckpointAdjoint(),
        "direct": diffrax.DirectAdjoint(),
        "implicit": diffrax.ImplicitAdjoint(),
        "forward": diffrax.ForwardMode(),
    }
    if adjoint == "implicit":  # Of a steady state.
        field = lambda t, y, args: -5.0 * (y**3 - args)  # noqa: E731
        field = preaccumulate(field) if wrap else field
        event = diffrax.Event(diffrax.steady_state_event(rtol=1e-6, atol=1e-8))

        def steady(args):
            found = _solve(
                field,
                jnp.array([1.0]),
                jnp.inf,
                solver=diffrax.Kvaerno3,
                dt0=0.1,
                args=args,
                adjoint=adjoints[adjoint],
                event=event,
            )
            return found.ys[0, 0]

        with jax.numpy_dtype_promotion("standard"):  # Which the event relies on.
            found = jax.jit(jax.grad(steady))(8.0)
        np.testing.assert_allclose(found, 1 / 12, rtol=1e-4)
        return
    loss = lambda a: _final(TREE, a, fields[wrap], adjoint=adjoints[adjoint])  # noqa: E731
    transform = jax.jacfwd if adjoint == "forward" else jax.grad
    h = 1e-3
    both = jax.jit(
        lambda a: (transform(loss)(a), (loss(a + h) - loss(a - h)) / (2 * h))
    )
    found, expected = both(ARGS)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("size", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_batches(size):
    """Under `jax.vmap`, over states and arguments."""
    args = jnp.linspace(1.0, 3.0, size)
    states = jax.vmap(lambda a: jax.tree.map(lambda x: x + 0.01 * a, TREE))(args)
    both = jax.jit(lambda y, a: (jax.vmap(_final)(y, a), jax.lax.map(_each, (y, a))))
    found, expected = both(states, args)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def _each(pair):
    return _final(*pair)


def test_single_precision():
    y0 = jnp.array([1.0, 0.0, 0.0], jnp.float32)
    field = lambda t, y, args: _robertson(t, y, None)  # noqa: E731
    found = jax.jit(lambda y0: _solve(field, y0, jnp.float32(1.0), tol=1e-4))(y0)
    assert found.ys.dtype == jnp.float32
    np.testing.assert_allclose(jnp.sum(found.ys[0]), 1.0, rtol=1e-5)


def test_dense_output_and_events():
    event = diffrax.Event(lambda t, y, args, **kw: y[0] - 0.98, optx.Newton(1e-9, 1e-9))
    saveat = diffrax.SaveAt(dense=True, t1=True)
    y0 = jnp.array([1.0, 0.0, 0.0])
    found = jax.jit(
        lambda y0: _solve(_robertson, y0, 40.0, event=event, saveat=saveat)
    )(y0)
    np.testing.assert_allclose(found.ys[0, 0], 0.98, rtol=1e-7)
    np.testing.assert_allclose(found.evaluate(found.ts[0])[0], 0.98, rtol=1e-7)


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
    for found in (ours, accumulated):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-12),
            jax.tree.leaves(eqx.filter(found, eqx.is_array)),
            jax.tree.leaves(eqx.filter(theirs, eqx.is_array)),
        )


@pytest.mark.filterwarnings("ignore:Complex:UserWarning")
@pytest.mark.filterwarnings("ignore:Casting complex:Warning")
def test_complex_states():
    field = lambda t, y, args: jax.lax.complex(-1.0, 30.0) * y  # noqa: E731
    y0 = jax.lax.complex(jnp.array([1.0, 0.5]), jnp.array([0.0, 1.0]))
    term = diffrax.ODETerm(field)
    found: Any = diffrax.diffeqsolve(
        term,
        diffrax.Kvaerno3(root_finder=CCChord(1e-8, 1e-8)),
        0.0,
        0.1,
        0.001,
        y0,
        stepsize_controller=diffrax.ConstantStepSize(),
    )
    expected = np.exp(0.1 * (-1 + 30j)) * np.asarray(y0)
    np.testing.assert_allclose(found.ys[0], expected, rtol=1e-5)
