"""Searches: as good as brute force, never worse than the simple orders, and bounds that
hold."""

import dataclasses
import functools as ft
import itertools as it
import math
import random
import subprocess
import sys
import time

import eqx_cc
import helpers
import jax.numpy as jnp
import pytest
from benchmarks.cases.tasks import TASKS
from benchmarks.orders import published_graph
from eqx_cc import (
    AbstractSearch,
    Annealing,
    BeamSearch,
    ComputationalGraph,
    Exact,
    Flops,
    Forward,
    MinimalMarkowitz,
    Multiplications,
    Published,
    RandomisedMarkowitz,
    Reverse,
)
from eqx_cc._graph.elimination import plan
from eqx_cc._orders.baseline import order_cost
from eqx_cc._orders.cost import as_cost
from eqx_cc._orders.orderings import check_order, greedy
from eqx_cc._orders.search.annealing import anneal
from eqx_cc._orders.search.beam import beam
from eqx_cc._orders.search.best_first import solve
from eqx_cc._orders.search.bound_partition import find_blocks, take_blocks
from eqx_cc._orders.search.component import Part
from eqx_cc._orders.search.lower_bounds import Cuts, disjoint_paths
from eqx_cc._orders.search.reductions import reduce, Reduced
from eqx_cc._orders.state import (
    BitSpace,
    members,
    NumberSpace,
    PatternSpace,
    space,
    total,
)
from eqx_cc._sparsity.pattern import Pattern
from eqx_cc._sparsity.term import Term


def random_graph(seed: int) -> ComputationalGraph:
    """Up to 12 vertices to eliminate."""
    return helpers.random_graph(seed, inner=12)


def least_cost(graph: ComputationalGraph) -> int:
    """The least cost over all orders: the remaining cost depends on the set alone."""

    @ft.cache
    def least(edges: frozenset, left: frozenset) -> int:
        return min((first(edges, left, v) for v in left), default=0)

    def first(edges, left, vertex) -> int:
        before = [u for u, v in edges if v == vertex]
        after = [v for u, v in edges if u == vertex]
        kept = frozenset(edge for edge in edges if vertex not in edge)
        new = kept | frozenset(it.product(before, after))
        return len(before) * len(after) + least(new, left - {vertex})

    return least(frozenset(graph.edges), frozenset(graph.intermediates))


LEAST = ft.cache(lambda seed: least_cost(random_graph(seed)))
SEEDS = range(60)


def _parts(graph: ComputationalGraph) -> tuple[int, list[Part]]:
    """The cost of the prefix, and the parts."""
    reduced, cuts = reduce(bits := BitSpace(graph, 1)), Cuts(bits)
    parts = [Part(reduced, v, cuts, random.Random(0)) for v in reduced.parts]
    return reduced.cost, parts


def _whole(graph: ComputationalGraph) -> Part:
    """All of a graph as one part, without reductions and bounds."""
    states = space(graph, Published())
    reduced = Reduced(states, (), 0, states.start, (states.inner,))
    return Part(reduced, states.inner, None, random.Random(0))


#
# As good as brute force
#


@pytest.mark.parametrize("reduced", [True, False], ids=["reduced", "whole"])
def test_exact_search_is_exact(reduced):
    for seed in SEEDS:
        graph = random_graph(seed)
        cost, parts = _parts(graph) if reduced else (0, [_whole(graph)])
        for part in parts:
            solve(part)
            assert part.solved, seed
        assert cost + sum(part.cost for part in parts) == LEAST(seed), seed


# These stop when they have found what brute force found, or else after a minute, which
# is a failure: how fast the machine is does not matter.
SEARCHES = {
    "annealing": anneal,
    "beam": lambda part: BeamSearch()._improve(part),
}


@pytest.mark.parametrize("search", SEARCHES)
def test_searches_find_the_least_cost(search):
    for seed in SEEDS:
        part = _whole(random_graph(seed))
        part.lower_bound = LEAST(seed)
        part.deadline = time.monotonic() + 60.0
        if not part.finished:
            SEARCHES[search](part)
        assert part.cost == LEAST(seed), seed
        assert total(part.space, part.start, part.order) == part.cost


def test_exact_search_with_structure():
    """Patterns differ in size, and in the coefficients that are known."""

    def fun(x, y):
        a = jnp.sin(x) * jnp.sum(y)
        b = jnp.cumsum(a)[1:] - y
        return jnp.exp(b) * 2.0, b @ y

    graph = eqx_cc.trace(lambda xs: fun(*xs), (jnp.ones(4), jnp.ones(3))).graph
    assert 5 <= len(graph.intermediates) <= 7
    for cost in (Published(), Multiplications(), Flops()):
        states = space(graph, cost)
        orders = it.permutations(states.inner)
        least = min(total(states, states.start, order) for order in orders)
        order = Exact(seconds=60.0, cost=cost).search(graph)
        assert order.optimal and order.cost == least


#
# Lower bounds
#


def test_cuts_are_lower_bounds():
    tight = 0
    for seed in SEEDS:
        cost, parts = _parts(random_graph(seed))
        bound = cost + sum(part.lower_bound for part in parts)
        assert bound <= LEAST(seed), seed
        tight += bound == LEAST(seed)
    assert tight > len(SEEDS) / 5


def test_blocks_are_lower_bounds():
    """Blocks of any vertices are never worse than single ones, and the block of all
    vertices is exact."""
    for seed in SEEDS:
        states, rng = space(random_graph(seed), Published()), random.Random(seed)
        assert isinstance(states, BitSpace)
        cuts = Cuts(states)
        single = sum(cuts.cost(v, 0, 0) for v in states.inner)
        shuffled = rng.sample(states.inner, len(states.inner))
        middle = rng.randint(0, len(shuffled))
        halves = shuffled[:middle], shuffled[middle:]
        bound = sum(cuts.table(half)[0] for half in halves)
        assert single <= bound <= LEAST(seed), seed
        if len(shuffled) <= 8:
            assert cuts.table(shuffled)[0] == LEAST(seed), seed


def test_given_blocks_are_lower_bounds():
    """Blocks across parts, and with vertices that are eliminated first."""
    raised = 0
    for seed in SEEDS:
        graph, rng = random_graph(seed), random.Random(seed)
        vertices = rng.sample(graph.intermediates, len(graph.intermediates))
        middle = rng.randint(0, len(vertices))
        blocks = [block for block in (vertices[:middle], vertices[middle:]) if block]
        cost, parts = _parts(graph)
        single = sum(part.lower_bound for part in parts)
        for part in parts:
            assert part.cuts is not None
            take_blocks(part, map(part.cuts.numbers, blocks))
        bound = sum(part.lower_bound for part in parts)
        assert single <= bound <= LEAST(seed) - cost, seed
        raised += bound > single
        for part in parts:
            solve(part)
        assert cost + sum(part.cost for part in parts) == LEAST(seed), seed
    assert raised > 0


@pytest.mark.parametrize(
    "blocks, match",
    [
        (((1, 2), (2, 3)), "`blocks` must be disjoint"),
        (((1, 1),), "`blocks` must be disjoint"),
        ((tuple(range(21)),), "`blocks` must have at most 20 vertices each.*got 21"),
    ],
)
def test_bad_blocks(blocks, match):
    with pytest.raises(ValueError, match=match):
        Exact(blocks=blocks)


def test_blocks_are_found():
    """They prove what single cuts do not, and `solve` uses them."""
    part = max(_parts(published_graph("RoeFlux_1d"))[1], key=lambda part: part.cost)
    part.lower_bound = min(bound := part.lower_bound, part.cost)
    part._improved = lambda: setattr(part, "deadline", 0.0)
    part.deadline = time.monotonic() + 120.0
    find_blocks(part)
    assert part.lower_bound > bound
    assert all(block.bit_count() > 1 for block in part.blocks)
    tables = [part.table(block)[0] for block in part.blocks]
    inside = {v for block in part.blocks for v in members(block)}
    rest = sum(part.bounds[v] for v in part.vertices if v not in inside)
    assert sum(tables) + rest == part.lower_bound


def test_the_bound_of_a_vertex():
    """Two disjoint paths lead to 4, though it has three predecessors."""
    edges = [(0, 2), (1, 3), (0, 3), (2, 4), (3, 4), (0, 4), (4, 5), (4, 6), (5, 7)]
    edges += [(6, 7)]
    graph = ComputationalGraph.from_edges(8, [0, 1], [7], edges)
    cuts = Cuts(BitSpace(graph, 1))
    bounds = {v: cuts.cost(v, 0, 0) for v in range(2, 7)}
    assert bounds == {2: 1, 3: 2, 4: 2, 5: 1, 6: 1}


def test_disjoint_paths():
    """The number of paths equals the least cut, over all sets of vertices."""
    rng = random.Random(0)
    for _ in range(300):
        count, ends = rng.randint(2, 7), 0
        adjacent = [0] * count
        for u, v in it.combinations(range(count), 2):
            adjacent[u] |= (rng.random() < 0.5) << v
        for v in range(1, count):
            ends |= (rng.random() < 0.4) << v
        cuts = (c for c in range(0, 1 << count, 2) if _cut(adjacent, ends, c))
        assert disjoint_paths(adjacent, 0, ends) == min(c.bit_count() for c in cuts)


def _cut(adjacent: list[int], ends: int, cut: int) -> bool:
    """True if no end is reached from 0."""
    reached = 1
    for u, near in enumerate(adjacent):
        if reached >> u & 1 and not cut >> u & 1:
            reached |= near
    return not reached & ends & ~cut & ~1


@pytest.mark.parametrize(
    "name, cost",
    [("RobotArm_6DOF", 221), ("HumanHeartDipole", 148), ("PropaneCombustion", 88)],
)
def test_published_graphs_that_are_proved_optimal(name, cost):
    order = Annealing(seconds=60.0, cost="published").search(published_graph(name))
    assert order.optimal
    assert order.cost == order.lower_bound == cost


@pytest.mark.parametrize(
    "name, least, bound",
    [
        ("RoeFlux_1d", 295, 223),
        pytest.param("random_g", 409, 262, marks=pytest.mark.slow),
    ],
)
def test_published_graphs_that_annealing_betters(name, least, bound):
    cost, [part] = _parts(published_graph(name))
    assert cost + part.lower_bound == bound
    part.lower_bound = least - cost
    part.deadline = time.monotonic() + 120.0
    anneal(part)
    assert cost + part.cost == least


#
# What a search returns
#

BUILT_IN = [Annealing, BeamSearch, Exact, RandomisedMarkowitz]


@pytest.mark.parametrize("search", BUILT_IN, ids=lambda s: s.__name__)
@pytest.mark.parametrize("name", ["RoeFlux_1d", "Perceptron"])
@pytest.mark.parametrize("cost", ["published", "multiplications", "flops", "traffic"])
def test_never_worse_than_the_simple_orders(search, name, cost):
    graph = TASKS[name].graph
    order = search(seconds=0.0, cost=cost).search(graph)
    check_order(graph, order)
    model = as_cost(cost)
    assert order.cost == order_cost(graph, order, model)
    assert order.cost_model == cost
    assert order.lower_bound <= order.cost
    for simple in (Forward(), Reverse(), MinimalMarkowitz()):
        assert order.cost <= order_cost(graph, simple(graph), model)


@pytest.mark.parametrize("search", BUILT_IN, ids=lambda s: s.__name__)
@pytest.mark.parametrize("edges", [[(0, 1)], [(0, 2), (2, 1)], []], ids=str)
def test_next_to_nothing_to_do(search, edges):
    edges = [(u, {1: 3}.get(v, v)) for u, v in edges]
    graph = ComputationalGraph.from_edges(4, [0], [3], edges)
    order = search(seconds=0.1).search(graph)
    assert order == graph.intermediates
    assert order.optimal


def test_an_order_is_a_tuple_that_knows_its_cost():
    graph = published_graph("HumanHeartDipole")
    order = Annealing(cost="published").search(graph)
    assert isinstance(order, tuple) and hash(order) == hash(tuple(order))
    assert plan(graph, order).num_multiplications == order.cost == 148
    assert order.seconds >= 0.0
    assert repr(order).startswith("Order(78 vertices, 148 published, optimal, ")
    assert eqx_cc.Given(order)(graph) == order


def test_a_graph_is_searched_once():
    """When tracing, that is; `search` searches anew."""
    graph, search = published_graph("RoeFlux_1d"), Annealing(seconds=0.0, seed=7)
    assert search(graph) is search(graph)
    assert search.search(graph) is not search.search(graph)


def test_ctrl_c_returns_the_best_so_far():
    class Impatient(AbstractSearch):
        seconds: float = 1e6
        seed: int = 0
        cost: eqx_cc.AbstractCost = Published()

        def _improve(self, part):
            part.deadline = time.monotonic() + 1e6
            first.append(part.cost)  # That of the learned rule.
            part._improved = lambda: _interrupt(part.cost < first[0])
            anneal(part)

    first: list[int] = []
    order = Impatient().search(published_graph("RoeFlux_1d"))
    assert order.found_by.endswith("interrupted")


def _interrupt(when: bool) -> None:
    if when:
        raise KeyboardInterrupt


_PRESSED = """
import signal, sys
import eqx_cc
from benchmarks.orders import published_graph

def press(progress):
    if progress.cost < 340:
        signal.raise_signal(signal.SIGINT)

# Ignored where the tests were started in the background of a shell.
signal.signal(signal.SIGINT, signal.default_int_handler)
search = eqx_cc.Annealing(seconds=1e6, cost="published")
order = search.search(published_graph("RoeFlux_1d"), press)
assert order.cost < 340 and order.found_by.endswith("interrupted"), order
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""


def test_a_signal_ends_a_search():
    """The signal raises no exception, which a callback might swallow."""
    subprocess.run([sys.executable, "-c", _PRESSED], check=True, timeout=300)


def test_what_is_no_search():
    for kwargs in ({"seconds": math.nan}, {"seconds": -1.0}):
        for search in BUILT_IN:
            with pytest.raises(ValueError, match="`seconds` must be a number that is"):
                search(**kwargs)
    with pytest.raises(ValueError, match="`width` and `branching` must be at least 1"):
        BeamSearch(width=0)
    with pytest.raises(ValueError, match="`noise` must not be negative"):
        RandomisedMarkowitz(noise=-1.0)
    with pytest.raises(ValueError, match="`itemsize` must be at least 1"):
        eqx_cc.Traffic(itemsize=0)


def test_the_same_seed_gives_the_same_moves():
    def searched(seed):
        part = _whole(random_graph(3))
        part.rng, part.deadline = random.Random(seed), time.monotonic() + 1e6
        better = []
        part._improved = lambda: better.append((part.cost, part.order))
        beam(part, 4, 4)
        return part.order, better

    assert searched(1) == searched(1)


def test_reports_of_progress():
    reports = []
    search = Annealing(seconds=60.0, cost="published")
    order = search.search(published_graph("PropaneCombustion"), reports.append)
    costs = [progress.cost for progress in reports]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] == order.cost
    assert all(progress.lower_bound <= order.cost for progress in reports)


#
# Spaces
#


def test_parts_that_add_to_one_block():
    """Two paths from 0 to 4: whichever comes last adds, so that they are one part."""
    edges = [(0, 1), (1, 4), (0, 2), (2, 4), (0, 3), (3, 5)]
    graph = ComputationalGraph.from_edges(6, [0], [4, 5], edges)
    assert reduce(space(graph, Flops())).parts == ((3,), (1, 2))
    apart = reduce(PatternSpace(graph, Multiplications())).parts
    assert apart == ((1,), (2,), (3,))
    order = Exact(seconds=60.0, cost="flops").search(graph)
    assert order.optimal and order.cost == 4


def test_exact_search_of_sums():
    for seed in range(60):
        graph = random_graph(seed)
        if len(graph.intermediates) <= 5:
            orders = it.permutations(graph.intermediates)
            least = min(order_cost(graph, each, Flops()) for each in orders)
            order = Exact(seconds=60.0, cost="flops").search(graph)
            assert order.optimal and order.cost == least, seed


def test_bits_and_blocks_agree():
    for seed in range(40):
        graph = random_graph(seed)
        bits, blocks = BitSpace(graph, 1), PatternSpace(graph, Published())
        order = random.Random(seed).sample(bits.inner, len(bits.inner))
        steps = plan(graph, tuple(name for v in order for name in bits.names(v)))
        states = bits.start, blocks.start
        for vertex, step in zip(order, steps.steps, strict=True):
            costs = [each.cost(s, vertex) for each, s in zip((bits, blocks), states)]
            spent, states = zip(
                *(each.eliminate(s, vertex) for each, s in zip((bits, blocks), states))
            )
            assert [step.num_multiplications] * 2 == costs == list(spent)


def some_known(seed: int) -> ComputationalGraph:
    """A random graph of scalars of which a third are known to be 1, -1 or 2."""
    graph, draw = random_graph(seed), random.Random(seed)
    constants = [
        Pattern((), (), (Term((), (), (), None, scale=scale),)) for scale in (1, -1, 2)
    ]
    blocks = tuple(
        (ends, draw.choice(constants) if draw.random() < 0.3 else block)
        for ends, block in graph.blocks
    )
    return dataclasses.replace(graph, blocks=blocks)


def test_numbers_and_blocks_agree():
    """Known coefficients, with and without cancellation."""
    for seed in range(60):
        graph = some_known(seed)
        spaces = NumberSpace(graph), PatternSpace(graph, Multiplications())
        order = random.Random(seed).sample(spaces[0].inner, len(spaces[0].inner))
        steps = plan(graph, tuple(name for v in order for name in spaces[0].names(v)))
        states = [each.start for each in spaces]
        for vertex, step in zip(order, steps.steps, strict=True):
            costs = [each.cost(s, vertex) for each, s in zip(spaces, states)]
            spent, states = zip(
                *(each.eliminate(s, vertex) for each, s in zip(spaces, states))
            )
            assert [step.num_multiplications] * 2 == costs == list(spent), seed
        ends = [{v: set(into) for v, into in enumerate(s) if into} for s in states]
        assert ends[0] == ends[1], seed
    assert isinstance(space(some_known(5), Multiplications()), NumberSpace)


def test_states_are_left_as_they_were():
    graph = random_graph(5)
    for states in (
        BitSpace(graph, 1),
        NumberSpace(graph),
        PatternSpace(graph, Published()),
    ):
        before = states.key(states.start)
        total(states, states.start, states.inner)
        assert states.key(states.start) == before


def test_cancellation():
    """x - x: the edge is gone, and so is what it would have cost."""

    def fun(x):
        y = jnp.sin(x)
        return jnp.exp(2.0 * y - (y + y)) * x

    graph = eqx_cc.trace(fun, jnp.ones(3)).graph
    for ordering in (Forward(), Reverse(), MinimalMarkowitz()):
        order = ordering(graph)
        done = plan(graph, order).num_multiplications
        assert order_cost(graph, order, Multiplications()) == done


def test_false_twins_are_one():
    edges = [(0, 2), (1, 2), (0, 3), (1, 3), (2, 4), (2, 5), (3, 4), (3, 5)]
    edges += [(0, 4), (0, 5)]
    graph = ComputationalGraph.from_edges(6, [0, 1], [4, 5], edges)
    twins = reduce(space(graph, Published()))
    assert twins.space.group(2) == (2, 3)
    assert twins.space.named((2,)) == (2, 3)
    assert twins.space.cost(twins.start, 2) == 8 == least_cost(graph)


def test_markowitz_ties_of_a_greedy_start():
    """The greedy order of a space is that of `MinimalMarkowitz`."""
    for seed in range(60):
        graph = random_graph(seed)
        states = space(graph, Published())
        order = greedy(states, states.start, states.inner)
        names = tuple(name for v in order for name in states.names(v))
        assert names == MinimalMarkowitz()(graph), seed


def test_every_vertex_of_a_space_has_its_name():
    """Inputs and outputs too, which no search eliminates."""
    graph = random_graph(5)
    for states in (BitSpace(graph, 1), NumberSpace(graph)):
        names = [states.names(v) for v in range(len(states.numbers))]
        assert names == [(name,) for name in sorted(states.numbers)]
