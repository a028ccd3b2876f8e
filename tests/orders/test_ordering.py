"""Elimination orders: permutations, errors, and the greedy rule from scratch."""

import inspect
import itertools as it

import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc import (
    Automatic,
    ComputationalGraph,
    Forward,
    Given,
    MinimalMarkowitz,
    Reverse,
)
from eqx_cc._graph.elimination import Elimination, plan
from eqx_cc._orders import lookup as _automatic
from eqx_cc._orders.orderings import check_order
from eqx_cc._sparsity.pattern import compose
from helpers import random_graph


# As it is for users, whose annotations nobody checks.
as_ordering = inspect.unwrap(_automatic.as_ordering)

NAMED = {
    "auto": Automatic,
    "forward": Forward,
    "reverse": Reverse,
    "markowitz": MinimalMarkowitz,
}
ORDERINGS = [Forward(), Reverse(), MinimalMarkowitz(), Automatic()]


def _fun(x):
    w = jnp.sin(x)
    return w[1:] * w[:-1] + jnp.sum(jnp.exp(w)), x @ w


GRAPH = eqx_cc.trace(_fun, jnp.ones(3)).graph


#
# Orders are permutations
#


@pytest.mark.parametrize("ordering", ORDERINGS, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize(
    "graph",
    [GRAPH, *map(random_graph, range(5))],
    ids=["function", *map(str, range(5))],
)
def test_a_permutation(ordering, graph):
    order = ordering(graph)
    assert isinstance(order, tuple)
    assert sorted(order) == list(graph.intermediates)
    check_order(graph, order)


@pytest.mark.parametrize("ordering", ORDERINGS, ids=lambda o: type(o).__name__)
def test_nothing_to_eliminate(ordering):
    graph = ComputationalGraph.from_edges(2, [0], [1], [(0, 1)])
    assert ordering(graph) == ()


def test_forward_and_reverse():
    assert Forward()(GRAPH) == GRAPH.intermediates
    assert Reverse()(GRAPH) == GRAPH.intermediates[::-1]


#
# The greedy rule
#


def _cost(state: Elimination, vertex: int) -> int:
    pairs = it.product(state.outs[vertex].values(), state.ins[vertex].values())
    return sum(compose(*pair).num_multiplications for pair in pairs)


def _greedy(graph: ComputationalGraph) -> tuple[int, ...]:
    """Every degree anew at every step; ties go to the last vertex."""
    state, left, order = Elimination(graph), set(graph.intermediates), []
    while left:
        vertex = min(left, key=lambda v: (_cost(state, v), -v))
        state.eliminate(vertex)
        left.remove(vertex)
        order.append(vertex)
    return tuple(order)


def test_incremental_degrees_are_those_from_scratch():
    for seed in range(60):
        graph = random_graph(seed)
        assert MinimalMarkowitz()(graph) == _greedy(graph), seed
    assert MinimalMarkowitz()(GRAPH) == _greedy(GRAPH)


def test_the_cost_of_a_vertex_is_that_of_eliminating_it():
    for seed in range(20):
        graph = random_graph(seed)
        for step in plan(graph, MinimalMarkowitz()(graph)).steps:
            assert step.num_multiplications == len(step.updates)
        state = Elimination(graph)
        for vertex in graph.intermediates:
            cost = _cost(state, vertex)
            degree = len(state.ins[vertex]) * len(state.outs[vertex])
            assert cost == degree == state.eliminate(vertex).num_multiplications


def test_ties_go_to_the_last_vertex():
    graph = ComputationalGraph.from_edges(5, [0], [4], [(0, 1), (1, 2), (2, 3), (3, 4)])
    assert MinimalMarkowitz()(graph) == (3, 2, 1)


def test_the_cheapest_first():
    """2 has three successors, 3 one; afterwards 2 has fewer."""
    edges = [(0, 2), (1, 2), (2, 3), (3, 4), (2, 5), (2, 6)]
    graph = ComputationalGraph.from_edges(7, [0, 1], [4, 5, 6], edges)
    assert MinimalMarkowitz()(graph) == (3, 2)


def test_structure_counts():
    """By vertices the two inner ones are alike; the second is a matrix to multiply."""

    def fun(w, x):
        return w @ jnp.sin(jnp.sin(x))

    matrix = jnp.ones((4, 3))
    graph = eqx_cc.trace(lambda x: fun(matrix, x), jnp.ones(3)).graph
    assert MinimalMarkowitz()(graph) == graph.intermediates
    assert plan(graph, graph.intermediates).num_multiplications == 3 + 12


#
# Bad orders
#

SMALL = ComputationalGraph.from_edges(
    6, [0, 1], [4, 5], [(0, 2), (1, 2), (2, 3), (3, 4), (3, 5)]
)


@pytest.mark.parametrize(
    "order, match",
    [
        ((2,), r"2 intermediate vertices \(2, 3\); got 1 numbers, .*missing: 3\."),
        ((), r"got 0 numbers, .*missing: 2, 3\."),
        ((2, 2), r"repeated: 2; missing: 3\."),
        ((2, 3, 3), r"got 3 numbers, .*repeated: 3\."),
        ((0, 2, 3), r"inputs \(there are 2\): 0\."),
        ((2, 3, 5, 4), r"outputs \(there are 2\): 4, 5\."),
        ((2, 3, 9), r"no vertices on a path from an input to an output: 9\."),
        ((-1, 2, 3), r"no vertices on a path from an input to an output: -1\."),
        ((0, 5, 3, 3), r"inputs .*: 0; outputs .*: 5; repeated: 3; missing: 2\."),
    ],
    ids=str,
)
def test_bad_orders(order, match):
    with pytest.raises(ValueError, match=r"`order` must be a permutation.*" + match):
        Given(order)(SMALL)


def test_an_order_where_there_is_nothing_to_eliminate():
    graph = ComputationalGraph.from_edges(2, [0], [1], [(0, 1)])
    assert Given(())(graph) == ()
    with pytest.raises(ValueError, match=r"the 0 intermediate vertices; got 1 numbers"):
        Given([1])(graph)


def test_long_lists_are_cut():
    count = 40
    edges = [(i, i + 1) for i in range(count - 1)]
    graph = ComputationalGraph.from_edges(count, [0], [count - 1], edges)
    with pytest.raises(ValueError, match=r"10, \.\.\. \(38 in all\).*") as e:
        Given([])(graph)
    assert len(str(e.value)) < 400


def test_a_dead_vertex_is_not_to_be_eliminated():
    graph = ComputationalGraph.from_edges(4, [0], [3], [(0, 1), (0, 2), (1, 3)])
    with pytest.raises(ValueError, match="no vertices on a path .*: 2"):
        Given([1, 2])(graph)


@pytest.mark.parametrize("order", [[0], [99], GRAPH.intermediates[1:]], ids=str)
def test_bad_orders_reach_the_user(order):
    with pytest.raises(ValueError, match="`order` must be a permutation"):
        eqx_cc.filter_jacobian(_fun, order=order)(jnp.ones(3))


def test_orderings_of_users_are_checked():
    class Half(eqx_cc.AbstractOrdering):
        def __call__(self, graph):
            return graph.intermediates[::2]

    with pytest.raises(ValueError, match="`order` must be a permutation.*missing"):
        eqx_cc.filter_jacobian(_fun, order=Half())(jnp.ones(3))


#
# What stands for an ordering
#


@pytest.mark.parametrize("name", NAMED)
def test_names(name):
    assert as_ordering(name) == NAMED[name]()


@pytest.mark.parametrize("ordering", ORDERINGS, ids=lambda o: type(o).__name__)
def test_orderings_stand_for_themselves(ordering):
    assert as_ordering(ordering) is ordering


@pytest.mark.parametrize(
    "order",
    [
        [3, 1],
        (3, 1),
        iter([3, 1]),
        np.array([3, 1]),
        jnp.array([3, 1]),
        [np.int32(3), np.uint8(1)],
    ],
    ids=["list", "tuple", "iterator", "numpy", "jax", "scalars"],
)
def test_sequences(order):
    ordering = as_ordering(order)
    assert isinstance(ordering, Given)
    assert ordering.order == (3, 1)
    assert all(type(vertex) is int for vertex in ordering.order)
    assert hash(ordering) == hash(Given([3, 1]))


@pytest.mark.parametrize(
    "order",
    [
        "newton",
        "Forward",
        "",
        None,
        3,
        1.5,
        [1.5],
        [None],
        ["1"],
        {1, 3},
        {1: 3},
        object,
    ],
)
def test_what_is_no_order(order):
    names = "'auto', 'forward', 'reverse', 'markowitz', 'measured'"
    expected = f"`order` must be one of {names}, a sequence"
    with pytest.raises(ValueError, match=expected):
        as_ordering(order)


def test_a_class_is_no_ordering():
    with pytest.raises(ValueError, match=r"Make one: `Forward\(\)`\."):
        as_ordering(Forward)


def test_abstract():
    with pytest.raises(TypeError, match="abstract"):
        eqx_cc.AbstractOrdering()  # pyright: ignore


#
# The same Jacobian
#


def _tiny(v):
    a, b = jnp.sin(v[0]), v[1] * v[0]
    c = a * b
    d = jnp.exp(c)
    return d * a, c / b


def test_every_permutation_gives_the_same_jacobian():
    v = [jnp.array(0.4), jnp.array(-0.7)]
    orders = list(it.permutations(eqx_cc.trace(_tiny, v).graph.intermediates))
    assert len(orders) == 24

    @jax.jit
    def jacobians(v):
        ours = [eqx_cc.cc_jacobian(_tiny, order=order)(v) for order in orders]
        return ours, jax.jacfwd(_tiny)(v)

    ours, expected = jacobians(v)
    for order, jacobian in zip(orders, ours):
        np.testing.assert_allclose(jacobian, expected, 1e-13, 1e-15, err_msg=str(order))
