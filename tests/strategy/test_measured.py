"""The fastest way to a Jacobian, measured."""

import json

import equinox as eqx
import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc._jaxpr.outside_trace import call_outside_trace
from eqx_cc._strategy import (
    autotune as _autotune,
    benchmark as _measure,
    methods as _methods,
    winners as _winners,
)
from helpers import assert_jacobian_close
from jax import lax


WAYS = [
    "forward",
    "reverse",
    "arrays, multiplications",
    "arrays, traffic",
    "scalars, multiplications",
    "scalars, flops",
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache of one's own."""
    monkeypatch.setenv("EQX_CC_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def clock(folder, monkeypatch):
    """Says which ways are fast, and what was timed."""

    class Clock:
        fastest = "forward"
        timed: list[list[str]] = []

        def __call__(self, runs):
            self.timed.append(list(runs))
            for run in runs.values():
                run(2)
            return {name: 0.0 if name == self.fastest else 1.0 for name in runs}

    clock = Clock()
    clock.timed = []
    monkeypatch.setattr(_measure, "timed", clock)
    return clock


@pytest.fixture
def taken(monkeypatch):
    """The methods that were taken because they were known to be the fastest."""
    methods, prepare = [], _autotune._prepared

    def taken(method, problem):
        methods.append(method)
        return prepare(method, problem)

    monkeypatch.setattr(_autotune, "_prepared", taken)
    return methods


def stored(folder):
    files = (folder / "measured-v1").glob("*.json")
    return [json.loads(file.read_text())["winner"] for file in files]


def mixing(x):
    return jnp.stack([jnp.sin(x[0]) * x[1], x[1] * x[2], jnp.exp(x[0] * x[2])])


POINT = jnp.array([0.3, -0.7, 1.1])


def test_scalars_are_one_native_call(clock):
    """As by default: a native call within another is several times slower."""
    clock.fastest = "scalars, multiplications"
    functions = []
    for order in ("auto", "measured"):  # The default looks up what is measured.
        jacobian = jax.jit(eqx_cc.filter_jacobian(mixing, order=order))
        [call] = jax.make_jaxpr(jacobian)(POINT).jaxpr.eqns
        [native] = call.params["jaxpr"].eqns
        functions.append(type(native.params["call"].function))
    assert functions[0] is functions[1]


@pytest.mark.parametrize("name", WAYS)
def test_what_is_fastest_is_taken(name, clock, folder):
    clock.fastest = name
    jacobian = jax.jit(eqx_cc.filter_jacobian(mixing, order="measured"))
    np.testing.assert_allclose(jacobian(POINT), jax.jacfwd(mixing)(POINT), rtol=1e-12)
    [timed] = clock.timed
    assert {"forward", "reverse"} < set(timed) <= set(WAYS)
    # Two cost models may find the same order.
    assert stored(folder) == [name if name in timed else "forward"]


def test_it_is_timed_once(clock, folder):
    for _ in range(2):
        jacobian = eqx_cc.filter_jacobian(mixing, order="measured")
        jax.jit(jacobian)(POINT)
    jax.clear_caches()
    eqx_cc.cc_jacobian(mixing, order="measured")(POINT)
    assert len(clock.timed) == 1
    eqx_cc.cc_jacobian(lambda x: mixing(x) * x, order="measured")(POINT)
    eqx_cc.cc_jacobian(mixing, order="measured")(POINT.astype("float32"))
    assert len(clock.timed) == 3 == len(stored(folder))


def test_it_is_read_from_disk(clock, folder, monkeypatch):
    jax.jit(eqx_cc.filter_jacobian(mixing, order="measured"))(POINT)
    monkeypatch.setattr(_winners, "_MEMORY", type(_winners._MEMORY)())
    jax.jit(eqx_cc.filter_jacobian(mixing, order="measured"))(POINT)
    assert len(clock.timed) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"version": 1, "winner": 3}',
        '{"version": 1, "winner": "nobody"}',
        '{"version": 2, "winner": "forward"}',
        "[" * 100_000,
    ],
)
def test_what_cannot_be_read_or_applied_is_ignored(text, clock, folder, monkeypatch):
    jax.jit(eqx_cc.filter_jacobian(mixing, order="measured"))(POINT)
    [file] = (folder / "measured-v1").glob("*.json")
    file.write_text(text)
    monkeypatch.setattr(_winners, "_MEMORY", type(_winners._MEMORY)())
    jacobian = jax.jit(eqx_cc.filter_jacobian(mixing, order="measured"))(POINT)
    np.testing.assert_allclose(jacobian, jax.jacfwd(mixing)(POINT), rtol=1e-12)
    assert len(clock.timed) == 2 and stored(folder) == ["forward"]


@jax.custom_vjp
def reversed_only(x):
    return jnp.sin(x)


reversed_only.defvjp(lambda x: (jnp.sin(x), x), lambda x, ct: (ct * jnp.cos(x),))


def test_a_winner_that_is_no_way_here(clock, folder, monkeypatch):
    """Somebody else's file says that the fastest is what there is not."""

    def fun(x):
        return reversed_only(x) * x

    for stale in (False, True):
        if stale:
            [file] = (folder / "measured-v1").glob("*.json")
            file.write_text('{"version": 1, "winner": "forward"}')
            memory = type(_winners._MEMORY)()
            monkeypatch.setattr(_winners, "_MEMORY", memory)
        jacobian = jax.jit(eqx_cc.filter_jacobian(fun, order="measured"))(POINT)
        np.testing.assert_allclose(jacobian, jax.jacrev(fun)(POINT), rtol=1e-12)
    assert len(clock.timed) == 2
    assert all("forward" not in names for names in clock.timed)


def test_what_is_wrong_is_dropped(clock, monkeypatch):
    """A wrong Jacobian is never the fastest."""
    method = _methods.ArrayElimination.__call__

    def wrong(*args):
        result = method(*args)
        rows = [
            [eqx.tree_at(_first, block, replace_fn=_off) for block in row]
            for row in result.blocks
        ]
        return result._replace(blocks=rows)

    clock.fastest = "arrays, multiplications"
    monkeypatch.setattr(_methods.ArrayElimination, "__call__", wrong)
    jacobian = jax.jit(eqx_cc.filter_jacobian(mixing, order="measured"))(POINT)
    np.testing.assert_allclose(jacobian, jax.jacfwd(mixing)(POINT), rtol=1e-12)
    assert not any(name.startswith("arrays") for name in clock.timed[0])


def _first(block):
    return block.values[0]


def _off(value):
    return value + 1e-3


def uniform(*shape):
    return jnp.asarray(np.random.default_rng(0).uniform(0.5, 1.5, shape))


def _mixed(tree):
    x, y = tree["x"], tree["y"]
    return [x.astype(y.dtype) * y, x * 2, jnp.argmax(x), jnp.zeros(2)]


CASES = {
    "scalar": (lambda x: jnp.sin(x) * x, jnp.asarray(0.5)),
    "one": (lambda x: jnp.exp(x[0]), jnp.ones(1)),
    "empty": (lambda x: jnp.sum(x) * jnp.ones(3), jnp.zeros((0,))),
    "repeated": (lambda x: x * x + x[0], uniform(3)),
    "float32": (lambda x: jnp.tanh(x) @ x, uniform(4).astype("float32")),
    "trees": (_mixed, {"x": uniform(3).astype("float32"), "y": uniform(3)}),
    "constant": (lambda x: jnp.ones(2), uniform(2)),
    "scan": (
        lambda x: lax.scan(lambda c, _: (jnp.sin(c) * x, None), x, None, length=3)[0],
        uniform(2),
    ),
    "while": (lambda x: lax.while_loop(lambda y: y[0] < 9, lambda y: 2 * y * y, x), 2 * uniform(2)),  # noqa: E501
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_exact(name, folder):
    fun, x = CASES[name]
    assert_jacobian_close(fun, x, ["measured"])


@pytest.mark.parametrize("granularity", ["array", "scalar"])
def test_granularity(granularity, clock):
    jax.jit(eqx_cc.cc_jacobian(mixing, order="measured", granularity=granularity))(
        POINT
    )
    other = {"array": "scalars", "scalar": "arrays"}[granularity]
    assert not any(name.startswith(other) for name in clock.timed[0])
    assert {"forward", "reverse"} < set(clock.timed[0])


def test_under_vmap_the_batch_is_measured(clock, monkeypatch):
    sizes, original = [], _measure._Run.__init__

    def init(self, jacobian, arrays, *args, **kwargs):
        sizes.append(arrays.size)
        original(self, jacobian, arrays, *args, **kwargs)

    monkeypatch.setattr(_measure._Run, "__init__", init)
    ours, theirs = eqx_cc.filter_jacobian(mixing, order="measured"), jax.jacfwd(mixing)
    xs = uniform(5, 3)
    np.testing.assert_allclose(jax.jit(jax.vmap(ours))(xs), jax.vmap(theirs)(xs))
    assert set(sizes) == {5}
    np.testing.assert_allclose(
        jax.vmap(jax.vmap(ours, in_axes=1, out_axes=1))(uniform(2, 3, 4)),
        jax.vmap(jax.vmap(theirs, in_axes=1, out_axes=1))(uniform(2, 3, 4)),
    )
    assert set(sizes) == {5, 8}
    assert len(clock.timed) == 2


def test_inside_loops_and_gradients(clock):
    """Tracers of the surrounding trace are inputs of the timed Jacobians."""

    def loss(w, jacobian):
        def step(x, v):
            def fun(x):
                return mixing(x) * w + v

            return x + 0.01 * jnp.sum(jacobian(fun)(x), 1), None

        return jnp.sum(lax.scan(step, POINT, uniform(3, 3))[0])

    def measured(fun):
        return eqx_cc.filter_jacobian(fun, order="measured")

    ours = jax.jit(jax.value_and_grad(lambda w: loss(w, measured)))(jnp.asarray(0.5))
    theirs = jax.value_and_grad(lambda w: loss(w, jax.jacfwd))(jnp.asarray(0.5))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert clock.timed


@pytest.mark.slow
def test_hessian(folder):
    def fun(x):
        return jnp.sum(mixing(x) ** 2)

    hessian = jax.jit(eqx_cc.filter_hessian(fun, order="measured"))(POINT)
    np.testing.assert_allclose(hessian, jax.hessian(fun)(POINT), rtol=1e-11)


def test_value_and_auxiliary_data(clock):
    def fun(x):
        return mixing(x), {"x": x, "name": "a"}

    both = eqx_cc.filter_value_and_jacobian(fun, has_aux=True, order="measured")
    (value, aux), jacobian = both(POINT)
    np.testing.assert_allclose(value, mixing(POINT))
    np.testing.assert_allclose(jacobian, jax.jacfwd(mixing)(POINT))
    assert aux["name"] == "a"
    np.testing.assert_array_equal(aux["x"], POINT)


def test_effects_are_not_measured(clock):
    values = []

    def fun(x):
        jax.debug.callback(lambda x: values.append(float(x)), x[0])
        return mixing(x)

    jacobian = eqx_cc.filter_jacobian(fun, order="measured")(POINT)
    jax.effects_barrier()
    np.testing.assert_allclose(jacobian, jax.jacfwd(mixing)(POINT))
    assert clock.timed == [] and len(values) == 1


def test_random_keys(clock):
    def fun(x, key):
        return mixing(x) * jax.random.normal(key, (3,))

    key = jax.random.key(0)
    jacobian = jax.jit(eqx_cc.filter_jacobian(fun, order="measured"))
    np.testing.assert_allclose(jacobian(POINT, key), jax.jacfwd(fun)(POINT, key))
    assert len(clock.timed) == 1


def test_structured_blocks():
    with pytest.raises(ValueError, match='`order="measured"` compares methods'):
        eqx_cc.cc_jacobian(mixing, order="measured", structured=True)


def test_optimise(clock, folder, taken):
    clock.fastest = "reverse"
    eqx_cc.optimise(mixing, POINT, seconds=0.01, progress=False, measure=True)
    assert stored(folder) == ["reverse"] and taken == []
    for order in ("auto", "measured"):
        jacobian = jax.jit(eqx_cc.filter_jacobian(mixing, order=order))
        np.testing.assert_allclose(jacobian(POINT), jax.jacfwd(mixing)(POINT))
    assert taken == [_methods.ReverseMode()] * 2 and len(clock.timed) == 1
    clock.fastest = "forward"  # It is measured anew.
    eqx_cc.optimise(mixing, POINT, seconds=0.01, progress=False, measure=True)
    assert stored(folder) == ["forward"] and len(clock.timed) == 2


def test_optimise_of_a_graph():
    graph = eqx_cc.trace(mixing, POINT).graph
    with pytest.raises(TypeError, match="`measure=True` needs a function"):
        eqx_cc.optimise(graph, progress=False, measure=True)


def test_the_median_of_samples(monkeypatch):
    """A machine on which a call takes as long as its name says."""
    now = [0.0]
    monkeypatch.setattr(_measure.time, "perf_counter", lambda: now[0])

    def run(seconds):
        def run(count):
            now[0] += seconds * count

        return run

    times = {"slow": 5e-3, "fast": 1e-4, "middle": 2e-4, "hopeless": 1.0}
    seconds = _measure.timed({name: run(seconds) for name, seconds in times.items()})
    assert seconds == pytest.approx(times)
    assert now[0] < 4.0  # What is hopeless is not timed again and again.


def test_what_is_measured_is_what_will_run():
    """With everything in it that depends on constants alone, and types as they are."""
    constant = jnp.ones(3, jnp.float32)

    def equations():
        jaxpr = jax.make_jaxpr(lambda x: x * jnp.sin(constant))(constant).jaxpr
        return [eqn.primitive.name for eqn in jaxpr.eqns], jnp.ones(1).dtype

    def traced(x):
        traced_equations.append(call_outside_trace(equations))
        return x

    traced_equations: list = []
    for wide in (True, False):
        with jax.enable_x64(wide), jax.ensure_compile_time_eval():
            jax.make_jaxpr(traced)(1.0)
    names = ["sin", "mul"]
    assert traced_equations == [(names, jnp.float64), (names, jnp.float32)]
