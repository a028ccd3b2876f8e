"""Reports: what is in them, that nothing runs, and that their numbers can be used."""

import inspect
import pathlib
import re
import sys

import equinox as eqx
import eqx_cc
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from eqx_cc import explain, MinimalMarkowitz, trace
from jax import lax
from jax.core import Tracer


X = jnp.array([0.5, 1.0, 2.0])
HEADS = ["order", "multiplications", "by constants", "additions", "fill-in"]
ORDERS = ["forward", "reverse", "markowitz", "chosen"]


def _fun(x):
    y = jnp.sin(x)
    z = y * x
    return jnp.sum(z) * y, jnp.exp(2.0 * z) + x


def _table(report: str) -> dict[str, list[int]]:
    """The rows of the table of orders."""
    lines = iter(report.splitlines())
    for line in lines:
        if line.startswith("order"):
            assert re.split(r"\s{2,}", line.strip()) == HEADS
            break
    rows = [next(lines).split() for _ in ORDERS]
    return {name: list(map(int, cells)) for name, *cells in rows}


def _section(report: str, head: str) -> list[str]:
    """The lines that follow a heading."""
    _, separator, rest = report.partition(f"\n{head}\n")
    assert separator
    return rest.split("\n\n")[0].splitlines()


#
# What is in a report
#


def test_summary():
    explained = explain(_fun, X)
    graph = explained.graph
    assert str(explained).splitlines()[0] == (
        f"1 inputs, {len(graph.intermediates)} intermediates, 2 outputs, "
        f"{len(graph.edges)} edges"
    )


@pytest.mark.parametrize("order", ["forward", "reverse", "markowitz"])
def test_table(order):
    explained = explain(_fun, X, order=order)
    table = _table(str(explained))
    assert list(table) == ORDERS == list(explained.plans)
    assert table["chosen"] == table[order]
    for name, row in table.items():
        plan = explained.plans[name]
        counts = [plan.num_multiplications, plan.num_scalings, plan.num_additions]
        assert row == [*counts, plan.fill_in]


def test_what_is_shown():
    """A line, where `str` has the whole report."""
    explained = explain(_fun, X)
    chosen = explained.plans["chosen"].num_multiplications
    assert repr(explained) == (
        f"Explanation({str(explained).splitlines()[0]}; chosen order: {chosen} "
        f"multiplications, found by: {explained.found_by}; "
        "when compiled: elimination of scalars)"
    )


def test_chosen_order():
    explained = explain(_fun, X, order="markowitz")
    assert explained.order == MinimalMarkowitz()(explained.graph)
    listed = " ".join(map(str, explained.order))
    assert f"\nchosen order: {listed}\n" in str(explained)


def test_vertices():
    explained = explain(_fun, X)
    lines = _section(str(explained), "vertices:")
    graph = explained.graph
    assert [int(line.split()[0]) for line in lines] == sorted(
        {0, *graph.intermediates, *graph.dependents}
    )
    assert lines[0].split() == ["0", "input"]
    assert re.match(r"\s+1 sin <- 0 \[diagonal\]", lines[1])
    assert sum("(output)" in line for line in lines) == 2


def test_source_lines():
    """Every vertex says which of the user's lines it comes from."""
    _, first = inspect.getsourcelines(_fun)
    name = pathlib.Path(__file__).name
    for line in _section(str(explain(_fun, X)), "vertices:")[1:]:
        (number,) = re.findall(rf"{name}:(\d+)(?::\d+)? \(_fun\)", line)
        assert first < int(number) <= first + 4


@jax.custom_vjp
def _opaque(x):
    return jnp.sin(x)


_opaque.defvjp(lambda x: (jnp.sin(x), x), lambda x, ct: (jnp.clip(ct, -1, 1),))


def _with_opaque(x):
    return 2.0 * _opaque(x)


def _with_while(x):
    return lax.while_loop(lambda v: jnp.sum(v) < 9.0, lambda v: v * v + v, x)


def test_fallbacks():
    explained = explain(_with_opaque, X)
    _, first = inspect.getsourcelines(_with_opaque)
    head = "equations that fell back to a dense block:"
    (line,) = _section(str(explained), head)
    (vertex,) = explained.graph.dense_fallbacks
    assert line.split()[:2] == [str(vertex), "custom_vjp_call"]
    assert f"{pathlib.Path(__file__).name}:{first + 1}" in line


def test_loops_are_no_fallbacks():
    assert not explain(_with_while, X).graph.dense_fallbacks


def test_no_fallback():
    explained = explain(_fun, X)
    assert str(explained).endswith("\n\nno equation fell back to a dense block")
    assert explained.graph.dense_fallbacks == ()


@pytest.mark.parametrize(
    "fun", [lambda x: x, jnp.sin, lambda x: jnp.ones(2), lambda x: x.astype(int)]
)
def test_nothing_to_eliminate(fun):
    explained = explain(fun, X)
    assert explained.order == ()
    assert "chosen order: (nothing to eliminate)" in str(explained)
    assert all(row == [0, 0, 0, 0] for row in _table(str(explained)).values())


def test_structures_are_named():
    def fun(x):
        return jnp.cumsum(x[1:]) @ jnp.ones((2, 4))

    report = str(explain(fun, X))
    for name in ("selection", "dense"):
        assert f"[{name}]" in report


#
# Nothing runs
#


def test_the_function_is_traced_once_and_not_run():
    calls, ran = [], []

    def fun(x):
        calls.append(x)
        jax.debug.callback(lambda: ran.append("debug"))
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        noise = jax.pure_callback(lambda: ran.append("pure"), shape)
        return jnp.sin(x) * noise

    for report in (trace, explain):
        calls.clear()
        graph = report(fun, X).graph
        assert [graph.labels[v] for v in graph.dependents] == ["mul"]
        (x,) = calls
        assert isinstance(x, Tracer)
    jax.effects_barrier()
    assert ran == []


def test_only_shapes_matter():
    """A million inputs, a loop that would not end: no time and no memory."""

    def fun(x):
        return lax.fori_loop(0, 10**9, lambda i, v: jnp.sin(v), x)

    large = np.broadcast_to(np.float64(1.0), (10**6,))
    assert trace(fun, large).graph.edges
    plan = explain(lambda x: jnp.sin(jnp.sin(x)), large).plans["chosen"]
    assert plan.num_multiplications == 10**6


def test_values_do_not_matter():
    assert trace(_fun, X).graph == trace(_fun, jnp.nan * X).graph


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap])
def test_while_tracing(transform):
    reports = []

    @transform
    def run(x):
        reports.append(str(explain(_fun, x)))
        return x

    run(X if transform is jax.jit else X[None])
    assert reports == [str(explain(_fun, X))]


#
# The numbers can be used
#


class _Model(eqx.Module):
    linear: eqx.nn.Linear
    power: float
    index: jax.Array

    def __init__(self):
        self.linear = eqx.nn.Linear(3, 2, key=jr.key(0))
        self.power = 2.0
        self.index = jnp.array([1, 0])

    def __call__(self, x):
        return jnp.tanh(self.linear(x))[self.index] ** self.power


def _by_parameters(model, x, *, scale):
    return {"out": model(x) * scale, "sum": jnp.sum(model.linear.weight)}


def _loops(x):
    y = jnp.sin(x)
    return lax.scan(lambda c, s: (c * s, c + s), y[0], y * x)[1] * x


CASES = {
    "array": (_fun, (X,), {}),
    "model": (_Model(), (X,), {}),
    "parameters": (_by_parameters, (_Model(), X), {"scale": 3.0}),
    "static leaves": (lambda x: jnp.sin(x[0]) * x[1] * x[0], ([X, 2.0],), {}),
    "loop": (_loops, (X,), {}),
    "fallback": (_with_opaque, (X,), {}),
    "jit inside": (lambda x: jnp.sum(jax.nn.relu(jnp.outer(x, x))), (X,), {}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_numbers_are_an_order(name):
    fun, args, kwargs = CASES[name]
    graph = trace(fun, *args, **kwargs).graph
    explained = explain(fun, *args, **kwargs)
    assert explained.graph == graph
    assert sorted(explained.order) == list(graph.intermediates)

    @eqx.filter_jit
    def jacobians(args, kwargs):
        orders = graph.intermediates[::-1], list(explained.order), "markowitz"
        transforms = [eqx_cc.filter_jacobian(fun, order=order) for order in orders]
        return [transform(*args, **kwargs) for transform in transforms]

    first, *others = jacobians(args, kwargs)
    for other in others:
        for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(other), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_sequence_can_be_explained():
    order = trace(_fun, X).graph.intermediates[::-1]
    table = _table(str(explain(_fun, X, order=list(order))))
    assert table["chosen"] == table["reverse"]


def test_counts_are_those_of_the_accumulation():
    """On five inputs and one output, forwards costs more."""

    def fun(x):
        return jnp.sum(jnp.sin(jnp.ones((4, 5)) @ jnp.cos(jnp.ones((5, 5)) @ x)))

    table = _table(str(explain(fun, jnp.ones(5))))
    assert table["reverse"][0] < table["forward"][0]


#
# Bad input
#


@pytest.mark.parametrize("report", [trace, explain])
@pytest.mark.parametrize(
    "x, error, match",
    [
        (3, ValueError, "`x`, the first argument, has no floating-point array"),
        (jnp.arange(3), ValueError, "has no floating-point array"),
        (jnp.ones(3, complex), TypeError, "requires real-valued inputs"),
    ],
    ids=["float", "integers", "complex"],
)
def test_bad_inputs(report, x, error, match):
    with pytest.raises(error, match=match):
        report(lambda x: x, x)


@pytest.mark.parametrize("report", [trace, explain])
@pytest.mark.parametrize("fun", [None, 3, "sin"], ids=str)
def test_bad_functions(report, fun):
    # As it is for users, whose annotations nobody checks.
    with pytest.raises(TypeError, match="`fun` must be callable"):
        inspect.unwrap(report)(fun, X)


@pytest.mark.parametrize("report", [trace, explain])
def test_bad_outputs(report):
    with pytest.raises(TypeError, match=r"`fun\(...\)\[1\]` is 'name'"):
        report(lambda x: (x, "name"), X)


@pytest.mark.parametrize(
    "order, match",
    [
        ("newton", "`order` must be one of 'auto', 'forward', 'reverse'"),
        ([0, 1], "`order` must be a permutation of the .* intermediate vertices"),
    ],
)
def test_bad_orders(order, match):
    with pytest.raises(ValueError, match=match):
        explain(_fun, X, order=order)


def test_orderings_of_users_are_checked():
    class Half(eqx_cc.AbstractOrdering):
        def __call__(self, graph):
            return graph.intermediates[::2]

    with pytest.raises(ValueError, match="`order` must be a permutation"):
        explain(_fun, X, order=Half())


#
# Pictures
#


@pytest.mark.parametrize(
    "fun",
    [_fun, lambda x: x, lambda x: jnp.ones(2), lambda x: jnp.sin(jnp.sin(x))],
    ids=["branches", "nothing to eliminate", "constant", "chain"],
)
def test_plot(fun, tmp_path):
    explained = explain(fun, X)
    figure = explained.plot()
    figure.savefig(tmp_path / "graph.png")
    picture, curves = figure.axes[:2]
    turns = [int(t.get_text()) for t in picture.texts if t.get_text().isdigit()]
    assert turns == list(range(1, len(explained.order) + 1))
    lines = dict(zip(ORDERS, curves.get_lines(), strict=True))
    for name, line in lines.items():
        plan = explained.plans[name]
        assert line.get_label() == f"{name}: {plan.num_multiplications}"
        assert line.get_ydata()[-1] == plan.num_multiplications


def test_plot_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"`plot` needs matplotlib.*eqx_cc\[plot\]"):
        explain(_fun, X).plot()


def test_the_way_that_is_taken():
    """As `filter_jacobian` does it when it is compiled; nothing is measured."""
    wide = jnp.ones((300, 200))

    def dense(x):
        return jnp.ones((3, 300)) @ jnp.tanh(wide @ x)

    small, vector = jnp.ones(3), jnp.ones(200)
    ways = {
        "elimination of scalars": (jnp.sin, small, "auto"),
        "elimination of arrays": (dense, vector, "markowitz"),
        "reverse mode of JAX": (dense, vector, "auto"),
    }
    for way, (fun, x, order) in ways.items():
        report = eqx_cc.explain(fun, x, order=order)
        assert report.way == way
        assert f"when compiled: {way}" in str(report)
    assert eqx_cc.explain(jnp.sin, small, order="measured").way
