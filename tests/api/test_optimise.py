"""Searching for orders: what is found, kept and used, and what ends a search.

The graphs are so small that every search proves its order optimal in milliseconds,
however slow the machine is.
"""

import copy
import inspect
import io
import itertools as it
import math
import pickle
import sys

import equinox as eqx
import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc import (
    Annealing,
    ComputationalGraph,
    Forward,
    MinimalMarkowitz,
    optimise,
    Order,
    OrderCache,
    Reverse,
)
from eqx_cc._api import optimise as _optimise
from eqx_cc._api.explain import graph_of
from eqx_cc._orders import cache as _cache
from eqx_cc._orders.baseline import baseline, order_cost
from eqx_cc._orders.search import base as _search
from jax import lax


# As it is for users, whose annotations nobody checks.
unchecked = inspect.unwrap(optimise)
MODEL = eqx_cc.Multiplications()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Where orders are kept: nothing outlives a test."""
    monkeypatch.setenv("EQX_CC_CACHE", str(tmp_path))
    return tmp_path


def _core(x):
    """No order that needs no search is the best: neither forward, nor reverse, nor
    Markowitz, nor that of the learned rule."""
    a, b = x
    c = jnp.arctan2(a, b)
    d = c * c
    e, f = jnp.sin(d), jnp.exp(d)
    return [f * jnp.arctan2(e, c), jnp.arctan2(f, e)]


def _scanned(x):
    """The same as the body of a loop, and on its own as well."""
    carry, _ = lax.scan(lambda c, _: (_core(c), None), x, None, length=3)
    return _core(carry)


def _branched(x):
    return lax.cond(x[0] > 0.0, _core, lambda x: [x[1] * x[0], jnp.sin(x[1])], x)


FUNS = [_core, _scanned, _branched]
X = [jnp.array(0.7), jnp.array(-0.4)]
GRAPH = eqx_cc.trace(_core, X).graph
ORDERS = sorted(
    (
        Order(v, cost=order_cost(GRAPH, v, MODEL), cost_model=MODEL.name, found_by="us")
        for v in it.permutations(GRAPH.intermediates)
    ),
    key=lambda order: order.cost,
)
LEAST, MOST = ORDERS[0].cost, ORDERS[-1].cost
assert LEAST < baseline(GRAPH, MODEL).cost < MOST


def _search_quietly(*args, **kwargs):
    return optimise(*args, progress=False, **kwargs)


def _graphs(fun):
    """The graphs of a function and of its loops and branches, the outermost last."""
    collector = _optimise._Collector([])
    graph = graph_of(fun, (X,), {}, collector)
    return [g for g in [*collector.graphs, graph] if len(g.intermediates) > 1]


#
# What is found
#


@pytest.mark.parametrize(
    "search",
    [None, eqx_cc.Exact(), eqx_cc.BeamSearch(), eqx_cc.RandomisedMarkowitz(60.0)],
    ids=lambda search: type(search).__name__,
)
@pytest.mark.parametrize("what", [(_core, X), (GRAPH,)], ids=["function", "graph"])
def test_the_best_order(what, search):
    order = _search_quietly(*what, ordering=search)
    assert isinstance(order, Order) and sorted(order) == list(GRAPH.intermediates)
    assert order.cost == order.lower_bound == LEAST and order.optimal
    assert order.cost == order_cost(GRAPH, order, MODEL)
    assert order.found_by == f"{type(search or Annealing()).__name__}, seed 0"


class _Proposed(eqx_cc.AbstractOrdering):
    """An ordering that proposes the worst order."""

    def __call__(self, graph):
        return tuple(ORDERS[-1])


def test_what_was_proposed_and_what_was_kept(folder):
    known = baseline(GRAPH, MODEL)
    kept = _search_quietly(GRAPH, ordering=_Proposed())
    assert kept == known
    assert kept.found_by == f"{known.found_by} (_Proposed: {MOST})"
    best = _search_quietly(GRAPH)
    again = _search_quietly(GRAPH, ordering=_Proposed())
    assert again == best
    assert again.found_by == f"{best.found_by}, kept ({kept.found_by}: {known.cost})"
    # What is stored keeps its own origin.
    stored = OrderCache(folder).get(GRAPH)
    assert stored is not None and stored.found_by == best.found_by


@pytest.mark.parametrize("fun", FUNS)
def test_loops_and_branches_too(fun, folder):
    _search_quietly(fun, X)
    graphs = _graphs(fun)
    assert GRAPH.fingerprint in {graph.fingerprint for graph in graphs}
    for graph in graphs:
        stored = OrderCache(folder).get(graph)
        assert stored is not None and stored.optimal
        assert eqx_cc.Automatic()(graph).found_by == stored.found_by + " (looked up)"


@pytest.mark.parametrize("fun", FUNS)
def test_the_next_trace_uses_it(fun):
    assert "looked up" not in eqx_cc.explain(fun, X).found_by
    order = _search_quietly(fun, X)
    explained = eqx_cc.explain(fun, X)
    if len(order) > 1:
        assert explained.found_by == order.found_by + " (looked up)"
    assert explained.order == order
    assert explained.plans["chosen"].num_multiplications == order.cost
    if fun is _core:
        assert order.cost < min(
            explained.plans[name].num_multiplications
            for name in ("forward", "reverse", "markowitz")
        )


@pytest.mark.parametrize("fun", FUNS)
def test_the_same_jacobian(fun):
    order = _search_quietly(fun, X)

    @jax.jit
    def jacobians(x):
        by_order = eqx_cc.cc_jacobian(fun, order=order)(x)
        return by_order, eqx_cc.cc_jacobian(fun)(x), jax.jacfwd(fun)(x)

    by_order, looked_up, expected = jacobians(X)
    np.testing.assert_allclose(by_order, expected, 1e-13, 1e-15)
    np.testing.assert_allclose(looked_up, expected, 1e-13, 1e-15)


@pytest.mark.parametrize("model", [eqx_cc.Flops(), eqx_cc.Traffic(4), "published"])
def test_cost_models(model, folder):
    order = _search_quietly(GRAPH, cost=model)
    stored = OrderCache(folder).get(GRAPH, model)
    assert stored is not None and stored == order
    assert stored.cost_model == order.cost_model != MODEL.name
    assert "looked up" not in eqx_cc.explain(_core, X).found_by
    same = _search_quietly(GRAPH, ordering=Annealing(cost=model), cache=OrderCache())
    assert same.cost == order.cost and same.cost_model == order.cost_model


class Squares(eqx_cc.AbstractCost):
    """A model of a user's."""

    def __call__(self, old, left, right):
        return 1 if old is None else 4


@pytest.mark.parametrize("search", [None, Forward()], ids=["Annealing", "Forward"])
def test_the_model_of_a_user(search, folder):
    order = _search_quietly(_scanned, X, cost=Squares(), ordering=search)
    assert order.cost_model == "Squares()"
    for graph in _graphs(_scanned):
        stored = OrderCache(folder).get(graph, Squares())
        assert stored is not None
        assert stored.cost == order_cost(graph, stored, Squares())
        assert stored.cost <= baseline(graph, Squares()).cost


def test_a_cache_of_ones_own(folder):
    cache = OrderCache()
    order = _search_quietly(_core, X, cache=cache)
    assert cache.get(GRAPH) == order
    assert not list(folder.iterdir())


def test_in_memory(monkeypatch):
    monkeypatch.setenv("EQX_CC_CACHE", "off")
    _cache._cache_in.cache_clear()
    order = _search_quietly(_core, X)
    assert eqx_cc.explain(_core, X).order == order
    _cache._cache_in.cache_clear()
    assert "looked up" not in eqx_cc.explain(_core, X).found_by


def test_arguments_of_the_function():
    def fun(x, y, *, power):
        return [x[0] ** power * x[1] * y, jnp.sin(x[0] * x[1])]

    order = _search_quietly(fun, X, 2.0, power=3)
    assert eqx_cc.explain(fun, X, 2.0, power=3).order == order


@pytest.mark.parametrize("fun", [lambda x: x, lambda x: [2.0], lambda x: []])
def test_nothing_to_eliminate(fun):
    order = _search_quietly(fun, X)
    assert order == () and order.cost == 0 and order.optimal


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))]
)
def test_an_order_can_be_sent(again):
    order = _search_quietly(GRAPH)
    other = again(order)
    assert type(other) is Order and other == order and vars(other) == vars(order)


#
# Never worse than what is known
#


@pytest.mark.parametrize("stored_order", [ORDERS[0], ORDERS[-1]], ids=["best", "worst"])
@pytest.mark.parametrize("search", [None, Forward(), Reverse(), MinimalMarkowitz()])
def test_never_worse_than_what_is_known(stored_order, search, folder):
    OrderCache(folder).put(GRAPH, stored_order)
    order = _search_quietly(GRAPH, ordering=search)
    assert order.cost <= min(stored_order.cost, baseline(GRAPH, MODEL).cost)
    stored = OrderCache(folder).get(GRAPH)
    assert stored is not None and stored.cost == order.cost


def test_a_false_bound_is_refuted(folder):
    """Whoever stored it: what is said to be the best is searched all the same."""
    false = ORDERS[-1]
    claimed = Order(
        false,
        cost=false.cost,
        cost_model=false.cost_model,
        found_by="hearsay",
        lower_bound=false.cost,
    )
    OrderCache(folder).put(GRAPH, claimed)
    assert eqx_cc.Automatic()(GRAPH).cost <= baseline(GRAPH, MODEL).cost
    assert _search_quietly(GRAPH).cost == LEAST < false.cost
    stored = OrderCache(folder).get(GRAPH)
    assert stored is not None and stored.cost == LEAST


class Last(eqx_cc.AbstractOrdering):
    """The dearest of some orders."""

    def __call__(self, graph):
        return max(
            it.islice(it.permutations(graph.intermediates), 200),
            key=lambda order: order_cost(graph, order, MODEL),
        )


@pytest.mark.parametrize("ordering", [Forward(), Reverse(), MinimalMarkowitz(), Last()])
def test_an_ordering_that_does_not_search(ordering, folder):
    """The order of the search is stored if nothing that takes no search is better."""
    order = _search_quietly(_scanned, X, ordering=ordering, seconds=3.0)
    assert order.cost <= baseline(_graphs(_scanned)[-1], MODEL).cost
    for graph in _graphs(_scanned):
        stored = OrderCache(folder).get(graph)
        assert stored is not None and stored.cost <= baseline(graph, MODEL).cost


def test_no_time_at_all():
    order = _search_quietly(_core, X, seconds=0.0)
    assert order.cost <= baseline(GRAPH, MODEL).cost


def test_until_it_is_proved():
    assert _search_quietly(_scanned, X, seconds=math.inf).optimal


#
# Ctrl-C
#


def _interrupting(function, calls, count=1):
    """Is interrupted at its first call, or at that of number `count`."""

    def interrupted(*args):
        calls.append(args)
        if len(calls) == count:
            raise KeyboardInterrupt
        return function(*args)

    return interrupted


@pytest.mark.parametrize("name", ["solve", "Cuts", "space", "reduce"])
@pytest.mark.parametrize("seconds", [60.0, math.inf])
def test_interrupted(monkeypatch, folder, name, seconds):
    """The body of the loop comes first; the rest is not searched any more."""
    calls = []
    whole = _interrupting(getattr(_search, name), calls)
    monkeypatch.setattr(_search, name, whole)
    order = _search_quietly(_scanned, X, seconds=seconds)
    monkeypatch.undo()
    assert name == "space" or len(calls) == 1
    graphs = _graphs(_scanned)
    assert sorted(order) == list(graphs[-1].intermediates)
    for graph in graphs:
        stored = OrderCache(folder).get(graph)
        assert stored is not None and stored.cost <= baseline(graph, MODEL).cost


def _mixed(x):
    """Markowitz is better than what the search of the body begins with."""
    body = lambda c, _: (_core([c[0] * c[1], jnp.arctan2(*c)]), None)  # noqa: E731
    carry, _ = lax.scan(body, x, None, length=3)
    return _core([carry[0], jnp.sin(carry[1])])


@pytest.mark.parametrize(
    "fun, count",
    [
        (_scanned, 1),
        (_scanned, 2),
        (_mixed, 1),  # Here Markowitz is better than what was interrupted.
    ],
)
def test_interrupted_in_one_graph(monkeypatch, fun, count):
    """Orders from before the interrupt stay; the other graphs are not searched."""
    calls = []
    whole = _interrupting(_search.solve, calls, count)
    monkeypatch.setattr(_search, "solve", whole)
    _search_quietly(fun, X)
    assert len(calls) == count
    if count == 2:
        assert eqx_cc.Automatic()(GRAPH).cost == LEAST


def test_interrupted_when_a_better_order_is_known(monkeypatch, folder):
    OrderCache(folder).put(GRAPH, ORDERS[0])
    monkeypatch.setattr(_search, "solve", _interrupting(_search.solve, []))
    assert _search_quietly(GRAPH) == ORDERS[0]


class Interrupting(eqx_cc.AbstractCost):
    """Somebody presses Ctrl-C when the price of a product is asked for."""

    calls: list = eqx.field(static=True)
    count: int

    def __call__(self, old, left, right):
        self.calls.append(None)
        if len(self.calls) == self.count:
            raise KeyboardInterrupt
        return MODEL(old, left, right)

    @property
    def name(self):
        return "interrupting"


@pytest.mark.parametrize("count", [1, 2, 3])
def test_interrupted_at_any_time(count):
    model = Interrupting([], count)
    order = _search_quietly(_scanned, X, cost=model)
    assert len(model.calls) > count
    assert order.cost <= baseline(_graphs(_scanned)[-1], MODEL).cost


#
# The progress bar
#


def test_progress(capsys):
    optimise(GRAPH)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("\roptimise [---") and err.endswith("\n")
    assert err.count("\n") == 1
    assert f"s  {LEAST} multiplications (optimal)" in err


def test_progress_without_a_proof(capsys, monkeypatch):
    monkeypatch.setattr(_search, "solve", _interrupting(_search.solve, []))
    order = optimise(GRAPH, cost="flops")
    err = capsys.readouterr().err
    assert f"{order.cost} flops (lower bound 0)" in err and err.endswith("\n")


def test_progress_of_several_graphs(capsys):
    """Entries and arrays have graphs of their own: the bar names both."""
    x = jnp.linspace(0.5, 1.5, 3)
    order = optimise(lambda x: jnp.sin(x) * jnp.sum(x) / jnp.prod(x), x, seconds=0.1)
    err = capsys.readouterr().err
    last = err[err.rindex("\r") :]
    assert "entries: " in last and f"arrays: {order.cost} multiplications (" in last


def test_no_progress(capsys):
    optimise(GRAPH, progress=False)
    optimise(_scanned, X, progress=False)
    assert capsys.readouterr() == ("", "")


def _closed():
    file = io.StringIO()
    file.close()
    return file


@pytest.mark.parametrize("stream", [None, _closed()], ids=["none", "closed"])
def test_nowhere_to_show_it(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    order = optimise(GRAPH)
    monkeypatch.undo()
    assert order.optimal


def test_the_bar_ends_with_an_error(capsys, monkeypatch):
    def fail(part):
        raise RuntimeError("an error")

    monkeypatch.setattr(_search, "solve", fail)
    with pytest.raises(RuntimeError, match="an error"):
        optimise(GRAPH)
    assert capsys.readouterr().err.endswith("\n")


#
# Errors
#


@pytest.mark.parametrize("seconds", [-1.0, -math.inf, math.nan, "1", 1j, [1.0], X[0]])
def test_seconds(seconds):
    with pytest.raises(ValueError, match="`seconds` must be a number that is not"):
        unchecked(GRAPH, seconds=seconds)
    if isinstance(seconds, float):
        with pytest.raises(ValueError, match="`seconds` must be a number that is not"):
            optimise(GRAPH, ordering=Annealing(seconds))


@pytest.mark.parametrize("seconds", [1, np.float32(1.0), np.int64(1), True])
def test_kinds_of_numbers(seconds):
    assert unchecked(GRAPH, seconds=seconds, progress=False).optimal


def test_unknown_cost():
    with pytest.raises(ValueError, match="`cost` must be one of .*; got 'newton'"):
        optimise(GRAPH, cost="newton")


@pytest.mark.parametrize("ordering", ["markowitz", eqx_cc.Exact, (2, 3)])
def test_no_ordering(ordering):
    with pytest.raises(ValueError, match="`ordering` must be an `eqx_cc.Abstract"):
        unchecked(GRAPH, ordering=ordering)


def test_an_ordering_that_leaves_out_vertices():
    class Half(eqx_cc.AbstractOrdering):
        def __call__(self, graph):
            return graph.intermediates[::2]

    with pytest.raises(ValueError, match="`order` must be a permutation.*missing"):
        optimise(_core, X, ordering=Half(), progress=False)


@pytest.mark.parametrize("args, kwargs", [((X,), {}), ((), {"power": 3})])
def test_a_graph_takes_no_arguments(args, kwargs):
    with pytest.raises(TypeError, match="of a graph takes no arguments"):
        optimise(GRAPH, *args, **kwargs)


def test_a_function_takes_arguments():
    with pytest.raises(TypeError, match="of a function needs its arguments"):
        optimise(_core)


@pytest.mark.parametrize("args", [(), (X,)])
def test_no_function(args):
    with pytest.raises(TypeError, match="`fun` must be callable"):
        unchecked(3, *args)


def test_a_graph_without_vertices():
    graph = ComputationalGraph.from_edges(2, [0], [1], [(0, 1)])
    assert _search_quietly(graph) == ()
